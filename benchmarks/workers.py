"""Measure the speedup by a second worker, the time of a reduction, and of noticing a lost worker.

::

    python -m benchmarks.workers [--rows N] [--rounds N] [--help]

Each worker is a process with one thread on its own core, over loopback. A pass is one iteration
over all rows of a raw file. One worker and two are measured in turn; the minimum of the rounds
counts, because other programs only add time. A model of the cost of a pass is fitted to these two
and to the reductions; its values for more than two workers are extrapolated, and are printed as
such.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

#: Numbers per reduction: the sums of 64 clusters of 16 columns with their weights, and a large one.
REDUCTIONS: Final = (1040, 10**6)
WORKERS: Final = (1, 2, 4, 8, 16, 32, 64)
MOST_ROWS: Final = 10**10


class Process:
    """A process of a worker, on one core."""

    def __init__(self, job: Sequence[str], number: int, task: dict[str, Any]) -> None:
        cluster = {"worker": list(job)}
        place, cores = {"type": "worker", "index": number}, sorted(os.sched_getaffinity(0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.workers", "--task", json.dumps(task)],
            env={
                **os.environ,
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": place}),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "WORKER_CORE": str(cores[number % len(cores)]),
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> Any:
        """Return its next message."""
        line = self._stdout.readline()
        if not line:
            raise SystemExit("a worker ended without results; see its output above")
        return json.loads(line)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._stdout.close()

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout


def run(count: int, task: dict[str, Any]) -> Any:
    """Run a task on ``count`` workers; return the result of the first."""
    with ExitStack() as stack:
        workers = start(stack, count, task)
        return workers[0].read()


def start(stack: ExitStack, count: int, task: dict[str, Any]) -> list[Process]:
    job = addresses(count)
    return [stack.enter_context(Process(job, number, task)) for number in range(count)]


def addresses(count: int) -> list[str]:
    """Return free ports of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def notice(number: signal.Signals) -> float:
    """Return the seconds from a signal to a worker until a waiting one has ended."""
    with ExitStack() as stack:
        first, second = start(stack, 2, {"kind": "lose"})
        first.read()
        second.read()
        begin = time.time()
        second.send(number)
        return float(first.read()) - begin


def work(task: dict[str, Any]) -> None:
    """Run as one of the workers."""
    os.sched_setaffinity(0, {int(os.environ["WORKER_CORE"])})
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from kmeans_module import Reducer, RowSource, WorkerLost, connect_workers, fit

    def passes(reducer: Reducer) -> list[float]:
        n, d, k = task["rows"], task["features"], task["clusters"]
        start, stop = n * reducer.worker // reducer.workers, n * (reducer.worker + 1)
        stop //= reducer.workers
        source = RowSource.from_file(task["file"], d, offset=4 * d * start, n_rows=stop - start)
        ends: list[tuple[float, float]] = []
        fit(
            source,
            k,
            init=RowSource.from_file(task["file"], d)[:k],
            tol=0,
            max_iter=task["rounds"] + 1,
            on_iteration=lambda _: ends.append((time.perf_counter(), time.process_time())),
            reducer=reducer,
        )
        # The first pass traces and compiles.
        least: list[float] = np.diff(ends, axis=0).min(axis=0).tolist()
        return least

    def reductions(reducer: Reducer) -> list[float]:
        found = []
        for size in REDUCTIONS:
            numbers, times = np.ones(size, np.int64), []
            for _ in range(task["rounds"] * 5):
                begin = time.perf_counter()
                reducer.sum(numbers)
                times.append(time.perf_counter() - begin)
            found.append(min(times))
        return found

    def lose(reducer: Reducer) -> None:
        reducer.sum([1])
        print("0", flush=True)
        if reducer.worker == 1:
            signal.pause()
        reducer.sum([1])

    kinds = {"passes": passes, "reductions": reductions, "lose": lose}
    try:
        with connect_workers() as reducer:
            print(json.dumps(kinds[task["kind"]](reducer)), flush=True)
    except WorkerLost:
        print(time.time(), flush=True)
    # The end of the interpreter is not measured.
    os._exit(0)


def main() -> None:
    """Measure, or run as a worker."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--clusters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="iterations of a timed fit")
    parser.add_argument("--turns", type=int, default=2, help="fits of one worker, and of two")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        work(json.loads(given.task))
        return
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.f32"
        random = np.random.default_rng(0)
        centers = random.uniform(-4, 4, (given.clusters, given.features))
        with file.open("wb") as rows:
            for first in range(0, given.rows, 100_000):
                m = min(100_000, given.rows - first)
                noise = random.standard_normal((m, given.features))
                (centers[random.integers(given.clusters, size=m)] + 2 * noise).astype("f4").tofile(
                    rows
                )
        task = {"kind": "passes", "file": str(file), **vars(given)}
        seconds = {count: np.full(2, np.inf) for count in (1, 2)}
        for _ in range(given.turns):
            seconds = {
                count: np.minimum(least, run(count, task)) for count, least in seconds.items()
            }
    shape = f"{given.rows:,} x {given.features}, k = {given.clusters}"
    for count, (wall, processor) in seconds.items():
        print(
            f"a pass over {shape}, {count} worker(s) of one thread: {wall:.3f} s, of which the "
            f"first worker computes {processor:.3f} s"
        )
    ratios = seconds[1] / seconds[2]
    print(
        f"two workers are {ratios[0]:.2f} times as fast as one, and by the processor time of the "
        f"first {ratios[1]:.2f} times"
    )
    costs = run(2, {"kind": "reductions", "rounds": given.rounds})
    for size, cost in zip(REDUCTIONS, costs, strict=True):
        print(f"a reduction of {size:,} numbers by two workers: {1000 * cost:.1f} ms")
    for number in (signal.SIGKILL, signal.SIGSTOP):
        print(f"after {number.name} of a worker the other ends in {notice(number):.1f} s")
    model(seconds[1][1] / given.rows, costs, given.clusters * (given.features + 1))


def model(row: float, costs: Sequence[float], numbers: int) -> None:
    """Print the modelled time of a pass: the rows of a worker plus a reduction.

    In a ring each worker sends 2 (w - 1) / w of the numbers, in 2 (w - 1) messages.
    """
    small, large = costs
    number = (large - small) / (REDUCTIONS[1] - REDUCTIONS[0])
    message = max(small - REDUCTIONS[0] * number, 0) / 2
    print(
        "\nA model, not a measurement: rows / workers x the time of a row, and a ring's messages."
    )
    print(f"workers  {MOST_ROWS:.0e} rows, a pass  of which the reduction")
    for count in WORKERS:
        links = 2 * (count - 1)
        reduction = links * message + (links / count) * numbers * number
        total = MOST_ROWS / count * row + reduction
        print(f"{count:7}  {total:15,.0f} s  {1000 * reduction:16,.1f} ms")


if __name__ == "__main__":
    main()
