"""Run a job in forks of one warm process, each killed at another step and then resumed.

Usage: python -m tests.serving.batch.killed_runs INPUTS WORK [POINT ...]. Without points it prints
how many steps an undisturbed run takes, which it leaves in WORK/undisturbed. With points, for each
it leaves WORK/at<POINT>, and prints a line of JSON.
"""

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from serving.batch import assignments, score_files
from serving.batch.job import Format
from serving.batch.scorer import Rows
from serving.clients.results import Assignment

from .scorers import NumpyScorer, job_of

#: What counts as a step: a change of the file system by the thread that writes, and each batch.
EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "fcntl.flock"}


class Steps:
    """Counts steps once it is armed, and kills this process, as kill -9 does, at one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.last = 0
        self.armed = False
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self.taken += 1
            if self.taken == self.last:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, event: str, _arguments: Any) -> None:
        is_writer = threading.current_thread() is threading.main_thread()
        if self.armed and is_writer and event in EVENTS:
            self.step()


class CountedScorer(NumpyScorer):
    def assign(self, points: Rows, /) -> Assignment:
        STEPS.step()
        return super().assign(points)


STEPS = Steps()


def forked(inputs: Path, output: Path, last: int) -> tuple[int, dict[str, Any]]:
    """The wait status of a run in a fork, and what it said before it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            job, tables = job_of([inputs], output, part_rows=70, keep=["id"], form=Format.CSV)
            scorer = CountedScorer()
            STEPS.last, STEPS.armed = last, True
            summary = score_files(job, tables, scorer, at_a_time=2)
            STEPS.armed = False
            said = {"steps": STEPS.taken, "asked": sum(scorer.sizes), "rows": summary["rows"]}
            os.write(writing, json.dumps(said).encode())
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a fork must not go on as its parent would
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return status, json.loads(text or "{}")


def parts_done(output: Path) -> dict[str, int]:
    """The parts that count as done, and which file on the disk each of them is."""
    return {
        record.stem: (output / "scored" / f"{record.stem}.csv").stat().st_ino
        for record in sorted((output / "manifest").glob("part-*.json"))
    }


def main(inputs: Path, work: Path, points: list[int]) -> None:
    assignments._BATCH_ROWS = 32  # type: ignore[misc]
    sys.addaudithook(STEPS.watch)
    if not points:
        status, said = forked(inputs, work / "undisturbed", 0)
        tell({"status": status, **said})
    for point in points:
        output = work / f"at{point}"
        killed, _ = forked(inputs, output, point)
        before = parts_done(output)
        resumed, said = forked(inputs, output, 0)
        after = parts_done(output)
        tell(
            {
                "killed_by": os.WTERMSIG(killed),
                "resumed": resumed,
                "done": list(before),
                "made_again": [name for name in before if after[name] != before[name]],
                **said,
            }
        )


def tell(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [int(point) for point in sys.argv[3:]])
