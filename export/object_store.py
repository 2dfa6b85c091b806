"""Publish to where only ``tf.io.gfile`` reaches: ``gs://``, ``s3://``, ``ram://``.

Such a store has no rename and no lock, so that less is promised than of a folder: one publisher at
a time; ``saved_model.pb`` is written last, so that a server that looks meanwhile finds no model.
There is no ``models.config``. While version 3 is being written, the file ``.incoming-3`` lies
beside it: by that the next publisher knows what one that died has left, and removes it.
"""

import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import tensorflow as tf

from .comparison import Comparison, Thresholds
from .errors import PublishFailed
from .repository import Gate, check_candidate, record_force

_SAVED_MODEL: Final = "saved_model.pb"
_INCOMING: Final = ".incoming-"
_HIGHEST_VERSION: Final = 2**63 - 1


def publish_to_store(
    candidate: Path,
    base: str,
    *,
    timeout: float = 600.0,
    thresholds: Thresholds | None = None,
    holdout: Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    on_comparison: Callable[[Comparison], None] | None = None,
) -> tuple[int, tuple[str, ...]]:
    """Publish a copy of a candidate as the next version in a store.

    Args as those of ``export.publish``; ``base`` is an address that ``tf.io.gfile`` takes. The live
    version is the highest.

    Returns:
      The number of the new version, and what the gate found and was told to pass over.

    Raises:
      InvalidCandidate, PublishRefused: as ``export.publish``.
      PublishFailed: the store does not take it.
    """
    gate = Gate(str(candidate), timeout, thresholds or Thresholds(), holdout, force, on_comparison)
    check_candidate(candidate)
    base = base.rstrip("/")  # to a store, m//1 is another place than m/1
    try:
        numbers = _numbers(base)
        whole = [n for n in numbers if tf.io.gfile.exists(f"{base}/{n}/{_SAVED_MODEL}")]
        with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
            version = Path(shutil.copytree(candidate, Path(scratch) / "candidate"))
            live = None
            if whole:
                # Compared where it can be loaded by a process of its own: ram:// is this one's.
                live = Path(scratch) / str(max(whole))
                _copy(f"{base}/{max(whole)}", str(live))
            passed_over = tuple(gate.pass_through(version, live))
            number = 1 + max(numbers, default=0)
            if number > _HIGHEST_VERSION:
                raise PublishFailed(
                    f"{base}: version {number - 1} is the highest that there can be"
                )
            if not dry_run:
                if passed_over:
                    record_force(version, passed_over)
                _remove_leftovers(base)
                with _marked(base, number):
                    _copy(str(version), f"{base}/{number}")
    except (tf.errors.OpError, OSError) as error:
        said = " ".join(str(error).split())
        raise PublishFailed(f"{base}: cannot publish: {said}") from error
    return number, passed_over


def _names(base: str) -> list[str]:
    if not tf.io.gfile.isdir(base):
        return []
    return [name.rstrip("/") for name in tf.io.gfile.listdir(base)]


def _numbers(base: str) -> list[int]:
    """The numbers that are taken in the store, by whole versions and by whatever else."""
    return sorted(int(name) for name in _names(base) if _is_number(name))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name


@contextmanager
def _marked(base: str, number: int) -> Iterator[None]:
    """Mark a version as being written while the block runs; the mark stays when that fails."""
    marker = f"{base}/{_INCOMING}{number}"
    tf.io.gfile.makedirs(base)
    with tf.io.gfile.GFile(marker, "w") as file:
        file.write("tfkmeans is writing this version, or died of it\n")
    yield
    # The version is whole: a mark that does not go now is removed by the next publisher.
    with suppress(tf.errors.OpError):
        tf.io.gfile.remove(marker)


def _remove_leftovers(base: str) -> None:
    """Remove what publishers that died have left, and nothing that others put there."""
    for name in _names(base):
        number = name.removeprefix(_INCOMING)
        if name == number or not _is_number(number):
            continue
        left = f"{base}/{number}"
        if tf.io.gfile.isdir(left) and not tf.io.gfile.exists(f"{left}/{_SAVED_MODEL}"):
            tf.io.gfile.rmtree(left)
        tf.io.gfile.remove(f"{base}/{name}")


def _copy(source: str, target: str) -> None:
    """Copy a tree; ``saved_model.pb`` comes last."""
    last: list[tuple[str, str]] = []
    for folder, _, files in tf.io.gfile.walk(source):
        inside = folder[len(source) :].strip("/")
        if not files:  # a store has no empty folders, and ram:// takes them for files
            continue
        tf.io.gfile.makedirs(posixpath.join(target, inside).rstrip("/"))
        for name in files:
            pair = (posixpath.join(folder, name), posixpath.join(target, inside, name))
            if name == _SAVED_MODEL:
                last.append(pair)
            else:
                tf.io.gfile.copy(*pair)
    for pair in last:
        tf.io.gfile.copy(*pair)
