"""Measure fits against scikit-learn, scikit-learn-intelex and faiss, in one interleaved run.

    make bench
    make bench BENCH="--rows 'W4 gauss' 'W7 blobs' --tables ten whole --budget 1800"

Each contender runs in its own process, with two threads, from the same initial centroids; each
round runs all in turn, so that they share other load of the machine. The tables:

- ten: ten iterations of each row;
- whole: to convergence, tol 1e-4, at most 300 iterations; faiss, which has no tolerance, does as
  many iterations as scikit-learn needed; ratios of the time per iteration are added, because
  contenders may stop after different numbers of iterations;
- memory: the memory of a fit of W2 above that of the process with loaded data, after a fit of
  2,000 rows, and of a second fit;
- growth: time per row and iteration of tfkmeans from 1e4 to 1e7 rows;
- seeding: greedy k-means++ and k-means||; and the final inertia of fits from both;
- served: the exported ``assign`` and ``score`` against scikit-learn's ``predict``.

In ten and whole, the first fit of a process has separate columns: the same fit with tracing and
compilation, in ``--starts`` fresh processes of each contender; without imports. The other fits
follow in the same process, warm, with the kernels of a long fit.

The warm rounds and the starts of a row each end after ``--budget`` seconds; every table gives the
number of rounds. Rows that are not selected keep their previous results. ``--scale`` shortens the
data, to test the benchmark itself.

    python -m benchmarks.fit --device gpu --rows 'G1 gauss' --tables ten --budget 600

On a GPU the peers are PyTorch (a product and a scatter) and cuML, if they can be imported; missing
ones are reported. The results are in a separate folder, without a picture.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.fit_contender import GPU_SHAPES, SHAPES, THREADS
from benchmarks.fit_report import report

OURS: Final = "tfkmeans"
PEERS: Final = ("lloyd", "elkan", "intelex", "faiss")
GPU_PEERS: Final = ("torch", "cuml")
TABLES: Final = ("ten", "whole", "memory", "growth", "seeding", "served")
#: These tables keep the previous results of rows that are not selected.
_BY_ROW: Final = ("ten", "whole", "seeding")
ROWS: Final = tuple(
    f"{row} {form}"
    for row in SHAPES
    for form in (("pixels",) if row == "W6" else ("gauss", "blobs"))
)
GPU_ROWS: Final = tuple(f"{row} {form}" for row in GPU_SHAPES for form in ("gauss", "blobs"))
_SEEDS: Final = 10


class Process:
    """A process of a contender that answers commands."""

    def __init__(self, name: str, python: str, device: str = "cpu") -> None:
        environment = {
            # These variables would keep a current OpenBLAS from its best kernel.
            key: value
            for key, value in os.environ.items()
            if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
        } | {"OMP_NUM_THREADS": str(THREADS), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("fit_contender.py")), name, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.name = name

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command, and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended while it was asked to {do}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Bench:
    """A run: its options and its data files."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self._directory = directory

    @contextmanager
    def contenders(self, *names: str) -> Iterator[dict[str, Process]]:
        """Start a process for each name."""
        with ExitStack() as stack:
            processes = {}
            for name in names:
                python = sys.executable if name == OURS else self.options.peers
                processes[name] = Process(name, python, self.options.device)
                stack.callback(processes[name].end)
            yield processes

    def data(self, label: str, *, scale: float = 1.0) -> str:
        """Return the path of the data of a row, written at its first use."""
        row, form = label.split()
        path = self._directory / f"{row}-{form}-{scale}"
        if not path.with_suffix(f"{path.suffix}.init.npy").exists():
            with self.contenders("lloyd") as processes:
                processes["lloyd"].ask(
                    "data", path=str(path), row=row, form=form, scale=scale * self.options.scale
                )
        return str(path)

    def table(self, name: str) -> list[dict[str, Any]]:
        """Measure a table."""
        if name in ("ten", "whole"):
            most = (10, 0.0) if name == "ten" else (300, 1e-4)
            return [self._row(label, *most) for label in self.options.rows]
        lines: list[dict[str, Any]] = getattr(self, name)()
        return lines

    def _row(self, label: str, max_iter: int, tol: float) -> dict[str, Any]:
        _say(f"{label}, at most {max_iter} iterations")
        first, found = [], []
        with self._loaded(label) as processes:
            first.append(_fit_each(processes, max_iter, tol))
            processes[OURS].ask("compile")
            for _ in self._rounds(self.options.rounds):
                found.append(_fit_each(processes, max_iter, tol))
        for _ in self._rounds(self.options.starts - 1):
            with self._loaded(label) as processes:
                first.append(_fit_each(processes, max_iter, tol))
        return _summary(label, found, first)

    @contextmanager
    def _loaded(self, label: str) -> Iterator[dict[str, Process]]:
        """Start fresh processes of all contenders, with the data of a row loaded."""
        path = self.data(label)
        with self.contenders(OURS, *self.options.contenders) as processes:
            for process in processes.values():
                process.ask("load", path=path)
            yield processes

    def _rounds(self, most: int) -> Iterator[int]:
        """Yield the numbers of rounds until another one would exceed the budget."""
        began = time.perf_counter()
        for number in range(most):
            yield number
            spent = time.perf_counter() - began
            if spent * (number + 2) / (number + 1) > self.options.budget:
                return

    def memory(self) -> list[dict[str, Any]]:
        """Measure the memory of a fit of W2 after a fit of 2,000 rows, and of a second fit."""
        path = self.data("W2 gauss")
        results = []
        for name in (OURS, *self.options.contenders):
            with self.contenders(name) as processes:
                process = processes[name]
                process.ask("load", path=path, scale=2000)
                process.ask("fit", max_iter=2, tol=0, seed=0)
                process.ask("load", path=path)
                first, second = (process.ask("fit", max_iter=3, tol=0, seed=0) for _ in range(2))
                results.append(
                    {"contender": name, "mib": first["mib"], "second_mib": second["mib"]}
                )
        return results

    def growth(self) -> list[dict[str, Any]]:
        """Measure the time per row and iteration at d = 16, k = 64."""
        results = []
        for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
            path = self.data("W1 gauss", scale=n / SHAPES["W1"][0])
            with self.contenders(OURS) as processes:
                process = processes[OURS]
                process.ask("load", path=path)
                process.ask("compile")
                seconds = {
                    iterations: min(
                        process.ask("fit", max_iter=iterations, tol=0, seed=0)["seconds"]
                        for _ in range(self.options.rounds)
                    )
                    for iterations in (5, 15)
                }
            each = (seconds[15] - seconds[5]) / 10 / (n * self.options.scale)
            results.append({"n": n, "nanoseconds": each * 1e9})
        return results

    def seeding(self) -> list[dict[str, Any]]:
        """Measure the time of each initialization, and the final inertia of a fit from it."""
        results = []
        for label in (label for label in self.options.rows if label[:2] in ("W2", "W3")):
            _say(f"{label}, seeding")
            ways = (
                ("lloyd", "k-means++"),
                (OURS, "k-means++"),
                (OURS, "k-means||"),
            )
            with self.contenders(OURS, "lloyd") as processes:
                path, small = self.data(label), self.data(label, scale=0.1)
                for process in processes.values():
                    process.ask("load", path=small)
                # Warm, and on a tenth of the rows, because ten complete fits of each would take
                # hours.
                inertia: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
                for seed in range(_SEEDS):
                    for name, init in ways:
                        answer = processes[name].ask(
                            "fit", init=init, max_iter=300, tol=1e-4, seed=seed
                        )
                        inertia[name, init].append(answer["inertia"])
                for process in processes.values():
                    process.ask("load", path=path)
                spent: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
                began = time.perf_counter()
                for number in range(self.options.rounds):
                    for name, init in ways:
                        answer = processes[name].ask("seed", init=init, seed=number)
                        spent[name, init].append(answer["seconds"])
                        _say(f"  {name} {init} {answer['seconds']:.2f} s")
                    if time.perf_counter() - began > self.options.budget / 2:
                        break
            results += [
                {
                    "row": label,
                    "contender": name,
                    "init": init,
                    "rounds": len(spent[name, init]),
                    "seconds": statistics.median(spent[name, init]),
                    "inertia_of_a_tenth": statistics.median(inertia[name, init]),
                }
                for name, init in ways
            ]
        return results

    def served(self) -> list[dict[str, Any]]:
        """Measure the milliseconds of a call, for the d and k of W1 to W5."""
        results = []
        for row in ("W1", "W2", "W3", "W4", "W5"):
            path = self.data(f"{row} gauss", scale=max(0.02, 100_000 / SHAPES[row][0]))
            with self.contenders(OURS, "lloyd") as processes:
                for process in processes.values():
                    process.ask("load", path=path)
                    process.ask("serve")
                for rows in (1024, 100_000):
                    asked = {
                        "assign": (OURS, "assign"),
                        "score": (OURS, "score"),
                        "predict": ("lloyd", "assign"),
                    }
                    spent: dict[str, list[float]] = {label: [] for label in asked}
                    for number in range(4 * self.options.rounds + 1):
                        for label, (name, signature) in asked.items():
                            answer = processes[name].ask(
                                "ask",
                                signature=signature,
                                rows=rows,
                                calls=20 if rows == 1024 else 1,
                            )
                            if number:  # the first call is a warm-up
                                spent[label].append(answer["seconds"] * 1e3)
                    medians = {label: statistics.median(each) for label, each in spent.items()}
                    results.append({"row": row, "rows": rows, **medians})
        return results


#: The answers of the contenders in one round.
_Round = dict[str, dict[str, Any]]


def _fit_each(processes: Mapping[str, Process], max_iter: int, tol: float) -> _Round:
    """Fit with each contender in turn."""
    answers: _Round = {}
    for name, process in processes.items():
        # faiss, which has no tolerance, runs after lloyd.
        is_told = name == "faiss" and "lloyd" in answers
        most = answers["lloyd"]["iterations"] if is_told else max_iter
        answers[name] = process.ask("fit", max_iter=most, tol=tol, seed=0)
        _say(f"  {name} {answers[name]['seconds']:.2f} s")
    return answers


def _summary(label: str, found: Sequence[_Round], first: Sequence[_Round]) -> dict[str, Any]:
    """Return the entries of a row, from its warm rounds and the first fits of processes."""
    inertia = found[0]["lloyd" if "lloyd" in found[0] else OURS]["inertia"]
    contenders = {}
    for name in found[0]:
        seconds = [answers[name]["seconds"] for answers in found]
        contenders[name] = {
            "seconds": statistics.median(seconds),
            "least": min(seconds),
            "most": max(seconds),
            "first_fit_seconds": statistics.median(each[name]["seconds"] for each in first),
            "iterations": found[0][name]["iterations"],
            "inertia_difference": found[0][name]["inertia"] / inertia - 1,
            "mib": max(answers[name]["mib"] for answers in found),
        }
    peers = {name: each["seconds"] for name, each in contenders.items() if name != OURS}
    alone = {"row": label, "rounds": len(found), "starts": len(first), "contenders": contenders}
    if not peers:
        return alone
    return alone | {
        "best_peer": min(peers, key=lambda name: peers[name]),
        "ratio": _ratio(found, lambda answer: answer["seconds"]),
        "iteration_ratio": _ratio(found, lambda answer: answer["seconds"] / answer["iterations"]),
        "first_ratio": _ratio(first, lambda answer: answer["seconds"]),
    }


def _ratio(rounds: Sequence[_Round], measure: Callable[[dict[str, Any]], float]) -> float:
    """Return the median over rounds of the best peer's measure over ours; load affects both."""
    return statistics.median(
        min(measure(answers[name]) for name in answers if name != OURS) / measure(answers[OURS])
        for answers in rounds
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _machine() -> dict[str, str | int | None]:
    name = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"processor": name, "cores": os.cpu_count(), "threads": THREADS}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument(
        "--starts", type=int, default=3, help="processes for first fits of each contender"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=3600,
        help="most seconds for the rounds of a row, and for its starts",
    )
    rows, peers = (*ROWS, *GPU_ROWS), (*PEERS, *GPU_PEERS)
    parser.add_argument(
        "--rows", nargs="+", choices=rows, metavar="ROW", help="by default W1 to W7"
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, help="by default all")
    parser.add_argument("--contenders", nargs="+", choices=peers, help="by default all there are")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows to use")
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="the peers' Python")
    parser.add_argument("--out", type=Path, help="by default benchmarks/results, or gpu in it")
    options = parser.parse_args()
    results = Path("benchmarks/results")
    is_gpu = options.device == "gpu"
    if is_gpu:
        from kmeans_module.devices import has_gpu

        if not has_gpu():
            parser.error("--device gpu: TensorFlow sees no GPU here")
    options.rows = options.rows or (GPU_ROWS[:1] if is_gpu else ROWS)
    options.tables = options.tables or (("ten",) if is_gpu else TABLES)
    if is_gpu and not Path(options.peers).exists():
        options.peers = sys.executable
    options.out = options.out or (results / "gpu" if is_gpu else results)
    asked = options.contenders or (GPU_PEERS if is_gpu else PEERS)
    options.contenders = [name for name in asked if _is_there(name, options.peers)]
    return options


def _is_there(name: str, python: str) -> bool:
    """Whether a peer for GPUs can be imported; the environment of the peers has the others."""
    if name not in GPU_PEERS:
        return True
    tried = subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False)
    if tried.returncode:
        _say(f"{name} cannot be imported by {python}, and is left out")
    return tried.returncode == 0


def main() -> None:
    """Measure the selected tables; print and write them with the previous results."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / "fit.json"
    results: dict[str, Any] = json.loads(written.read_text()) if written.exists() else {}
    results["machine"] = _machine()
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options, Path(directory))
        for table in options.tables:
            measured = bench.table(table)
            if table in _BY_ROW:
                anew = {row["row"] for row in measured}
                held = [row for row in results.get(table, []) if row["row"] not in anew]
                every = (*ROWS, *GPU_ROWS)
                measured = sorted(held + measured, key=lambda row: every.index(row["row"]))
            results[table] = measured
            written.write_text(json.dumps(results, indent=2) + "\n")
    is_drawn = options.device == "cpu" and ("ten" in results or "whole" in results)
    text = report(results, "fit.png" if is_drawn else None)
    (options.out / "fit.md").write_text(text)
    if is_drawn:
        script = Path(__file__).with_name("fit_report.py")
        picture = options.out / "fit.png"
        subprocess.run([options.peers, str(script), str(written), str(picture)], check=True)
    print(text)


if __name__ == "__main__":
    main()
