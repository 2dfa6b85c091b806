"""Publish to where only ``tf.io.gfile`` reaches: ``gs://``, ``s3://``, ``ram://``.

Such a store has no rename and no lock, so that less is promised than of a folder: one publisher at
a time; ``saved_model.pb`` is written last, so that a server that looks meanwhile finds no model;
what a publisher that died has left is removed by the next one. There is no ``models.config``.
"""

import posixpath
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tensorflow as tf

from .comparison import Comparison, Thresholds
from .errors import PublishFailed
from .repository import Gate, check_candidate, record_force

_SAVED_MODEL: Final = "saved_model.pb"
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
                _copy(str(version), f"{base}/{number}")
                for left in set(numbers) - set(whole):
                    tf.io.gfile.rmtree(f"{base}/{left}")
    except (tf.errors.OpError, OSError) as error:
        said = " ".join(str(error).split())
        raise PublishFailed(f"{base}: cannot publish: {said}") from error
    return number, passed_over


def _numbers(base: str) -> list[int]:
    """The numbers that folders in the store have, whole versions and others."""
    if not tf.io.gfile.isdir(base):
        return []
    names = [name.rstrip("/") for name in tf.io.gfile.listdir(base)]
    return sorted(
        int(name) for name in names if name.isascii() and name.isdigit() and str(int(name)) == name
    )


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
