"""A fit that was stopped anywhere goes on to the same bytes."""

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from kmeans_module import CheckpointMismatch, Progress, RowSource, UnusableCheckpoint, fit

from .fit_bits import digest, digest_without_rows
from .problems import assignments
from .stopped_fits import FITS, Points, _points

FILE: Final = "fit.npz"

#: Each point, and more processes; else a tenth.
SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"


class Killed(BaseException):
    """Nothing of the package catches it."""


def _kill() -> None:
    raise Killed


@pytest.fixture(scope="module")
def points() -> Points:
    return Points()


@pytest.mark.parametrize("kind", FITS)
def test_a_fit_that_dies_at_any_point_goes_on_to_the_same_bytes(
    kind: str, points: Points, tmp_path: Path
) -> None:
    whole = FITS[kind](None)
    with points.dying(tmp_path / "counted", 0, _kill):
        found = FITS[kind](tmp_path / "counted")
    assert digest_without_rows(found) == digest_without_rows(whole)
    count = points.passed
    assert count >= 5 * len(whole.history)
    assert not list((tmp_path / "counted").iterdir())
    step = 1 if SOAK else 10
    first = random.Random(count).randrange(step)
    for dies_at in [*range(1 + first, count - 4, step), *range(count - 4, count + 1)]:
        folder = tmp_path / f"at{dies_at}"
        with points.dying(folder, dies_at, _kill), pytest.raises(Killed):
            FITS[kind](folder)
        again = FITS[kind](folder)
        assert digest_without_rows(again) == digest_without_rows(whole), dies_at
        if whole.assignments is not None:
            np.testing.assert_array_equal(assignments(again), whole.assignments)


def test_what_was_done_is_not_done_again(tmp_path: Path) -> None:
    whole = FITS["three starts in memory"](None)

    def stop(now: Progress) -> None:
        if (now.start, now.iteration) == (2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FITS["three starts in memory"](tmp_path, on_iteration=stop)
    seen: list[tuple[int, int]] = []
    again = FITS["three starts in memory"](
        tmp_path, on_iteration=lambda now: seen.append((now.start, now.iteration))
    )
    assert seen[0] == (2, 4)
    assert digest(again) == digest(whole)


def test_a_source_goes_on_where_an_array_of_its_rows_was_stopped(tmp_path: Path) -> None:
    def stop(now: Progress) -> None:
        if now.iteration == 2:
            raise KeyboardInterrupt

    whole = FITS["source"](None)
    assert len(whole.history) > 3
    with pytest.raises(KeyboardInterrupt):
        FITS["array as a source"](tmp_path, on_iteration=stop)
    seen: list[int] = []
    again = FITS["source"](tmp_path, on_iteration=lambda now: seen.append(now.iteration))
    assert seen[0] == 3
    assert digest_without_rows(again) == digest_without_rows(whole)


def _stopped(folder: Path, **options: Any) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(_points(), 6, checkpoint=folder, on_iteration=stop, **options)


def _moved_row() -> Any:
    points = _points()
    points[391, 2] = np.nextafter(points[391, 2], np.float32(9))
    return points


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n_clusters": 5}, "n_clusters is 6 there and 5 here"),
        ({"seed": 1, "tol": 0.5}, "seed is 0 there and 1 here; tol is 0.0001 there and 0.5 here"),
        ({"standardize": True}, "standardize is False there and True here"),
        ({"init": _points()[:6]}, r"init is k-means\+\+ there and [0-9a-f]{40} here"),
        ({"seeding": "sample"}, "sample_rows is None there and 400 here; seeding is all there"),
        ({"points": _points()[:399]}, "rows is 400 there and 399 here"),
        ({"points": _moved_row()}, "another fit: its rows differ, or are in another order. Give"),
        ({"sample_weight": np.arange(400)}, "another fit: its rows differ"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused_with_what_differs(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    _stopped(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    options = {"points": _points(), "n_clusters": 6} | change
    with pytest.raises(CheckpointMismatch, match=said):
        fit(**options, checkpoint=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_damaged_checkpoint_is_refused_with_the_mend(size: int, tmp_path: Path) -> None:
    _stopped(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    spoiled = bytearray(content)
    spoiled[len(content) // 2] ^= 1
    (tmp_path / FILE).write_bytes(spoiled if size < 0 else content[:size])
    with pytest.raises(UnusableCheckpoint, match=r"fit\.npz: is damaged; remove it"):
        fit(_points(), 6, checkpoint=tmp_path)


def test_a_checkpoint_that_finds_no_place_is_told_and_the_last_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableCheckpoint, match=r"file: the checkpoint cannot be used: .* exists"):
        fit(_points(), 6, checkpoint=tmp_path / "file")
    _stopped(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UnusableCheckpoint, match="cannot be written: No space left on device"):
            fit(_points(), 6, checkpoint=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert digest(fit(_points(), 6, checkpoint=tmp_path)) == digest(fit(_points(), 6))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_the_call_of_a_killed_process_made_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    kind = "source"

    def run(dies_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.kmeans_module.stopped_fits", kind, str(tmp_path)]
        return subprocess.run([*command, str(dies_at)], capture_output=True, text=True, check=False)

    drawn = random.Random(0)
    # A checkpoint is written at every fifth point.
    for dies_at in [drawn.randint(6, 14) for _ in range(4 if SOAK else 1)]:
        assert run(dies_at).returncode == -signal.SIGKILL
        assert (tmp_path / FILE).exists()
    assert run(0).stdout == digest_without_rows(FITS[kind](None))


def test_a_source_of_rows_that_changed_is_refused(tmp_path: Path) -> None:
    _stopped(tmp_path, seeding="sample")
    rows = _points()
    rows[[3, 7]] = rows[[7, 3]]
    with pytest.raises(CheckpointMismatch, match="another fit: its rows differ"):
        fit(RowSource.from_array(rows), 6, checkpoint=tmp_path)
