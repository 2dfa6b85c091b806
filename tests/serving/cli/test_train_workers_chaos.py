"""Workers that are lost at any stage of ``train --workers``: the job that is started again ends in
the bytes of one that lost nobody, and has published once."""

import json
import os
import random
import signal
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import load, versions
from tests.kmeans_module.worker_processes import wait_until_listens

from .worker_commands import STAGES, Command, Commands, Ended

pytestmark = pytest.mark.slow

SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"

CASES: Final = [*product((signal.SIGKILL, signal.SIGSTOP), STAGES, (0, 1))]
#: All, or a tenth that is drawn with a seed, one of each signal.
DRAWN: Final = (
    CASES
    if SOAK
    else [
        random.Random(3 + number).choice([case for case in CASES if case[0] == number])
        for number in (signal.SIGKILL, signal.SIGSTOP)
    ]
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(6000, 3)) + rng.integers(0, 5, (6000, 1)) * 2).astype("f4")
    columns = dict(zip("xyz", points.T, strict=True))
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=1000)
    return folder / "rows.parquet"


def _command(rows: Path, place: Path, **options: Any) -> Command:
    fit = ["--clusters", "4", "--seed", "3", "--tol", "0", "--max-iter", "4", "--json"]
    workers = ["--workers", "tf-config", "--start-timeout", "100"]
    kept = ["--checkpoint", str(place / "kept"), "--cache", str(place / "cache")]
    told = ["--model", str(place / "model"), "--tensorboard", str(place / "log")]
    arguments = [str(rows), *fit, *workers, *kept, *told]
    return Command(arguments, rows.parent, is_written=True, **options)


def _found(place: Path) -> dict[str, Any]:
    """What is published, which must be one version."""
    assert versions(place / "model") == (1,)
    version = load(place / "model")
    history = [(each.inertia, each.shift) for each in version.card.history]
    return {"centroids": version.decode().centroid.tobytes(), "history": history} | {
        name: getattr(version.card, name) for name in ("data", "clusters", "inertia", "shift")
    }


@pytest.fixture(scope="module")
def expected(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What workers publish of whom none is lost, though the second comes late."""
    place = tmp_path_factory.mktemp("whole")
    with Commands() as workers:
        first = workers.start(0, _command(rows, place))
        wait_until_listens(workers.addresses[0])
        second = workers.start(1, _command(rows, place))
        _require_done(first.hear(), second.hear())
    return _found(place)


def _require_done(*ended: Ended) -> None:
    assert [each.code for each in ended] == [0] * len(ended), [each.err for each in ended]


@pytest.mark.parametrize(("number", "stage", "victim"), DRAWN)
def test_a_job_that_lost_a_worker_ends_in_the_same_bytes_when_it_is_started_again(
    number: signal.Signals,
    stage: str,
    victim: int,
    rows: Path,
    expected: dict[str, Any],
    tmp_path: Path,
) -> None:
    with Commands() as workers:
        commands = [_command(rows, tmp_path)] * 2
        commands[victim] = _command(rows, tmp_path, fails=(number, stage))
        started = [workers.start(place, command) for place, command in enumerate(commands)]
        ended = started[1 - victim].hear()
        assert ended.code == 143, ended.err
        lost = f"error: lost worker {victim} ({workers.addresses[victim]})"
        assert ended.err.splitlines()[-1].startswith(lost)
    is_written = (tmp_path / "model" / "1").exists()
    assert is_written == (stage == "end")
    with Commands() as workers:
        first, second = workers.run(*[_command(rows, tmp_path)] * 2)
    _require_done(first, second)
    assert ("already written before a worker was lost" in first.err) == is_written
    said = json.loads(first.out)
    assert (said["version"], second.out) == (1, "")
    assert _found(tmp_path) == expected
    assert not list((tmp_path / "kept").iterdir())
