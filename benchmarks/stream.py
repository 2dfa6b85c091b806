"""Measure fits of more rows than memory: memory, passes, the cache, approximate fits, peers.

::

    python -m benchmarks.stream [--only PART ...] [--folder DIR] [--help]

Each part prints lines of a table. Times are processor time of all threads, which is meaningful on a
shared machine too; with several rounds, the fastest counts.

- ``memory``: the anonymous memory of a fit of a raw file, in its own process.
- ``pass``: a step over a source and one in memory, warm; with ``--cold`` also from the disk.
- ``cache``: from Parquet to the raw cache, with moments and sample.
- ``approximate``: one pass after the fit of a sample, the whole fit, and MiniBatchKMeans.
- ``peers``: MiniBatchKMeans.partial_fit over batches of Parquet, and faiss with its subsampling, in
  the environment of the peers that ``make bench`` sets up.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.fit import Process

Float32 = NDArray[np.float32]

#: Rows per written block.
_PART_ROWS: Final = 2**20

#: Measured steps of a pass: in memory a step is faster if fewer rows change.
_STEPS: Final = 8


def _cloud(rng: np.random.Generator, n: int, d: int, k: int) -> Float32:
    return rng.standard_normal((n, d), np.float32)


def _blobs(rng: np.random.Generator, n: int, d: int, k: int) -> Float32:
    centers = np.random.default_rng(1).uniform(-4, 4, (k, d)).astype(np.float32)
    return centers[rng.integers(k, size=n)] + rng.standard_normal((n, d), np.float32)


def _unequal(rng: np.random.Generator, n: int, d: int, k: int) -> Float32:
    """Draw clouds with sizes 1, 1/2, 1/3, ... and different spreads."""
    share = 1 / np.arange(1, k + 1)
    centers = np.random.default_rng(2).uniform(-4, 4, (k, d)).astype(np.float32)
    spread = np.random.default_rng(3).uniform(0.2, 1.5, k).astype(np.float32)
    index = rng.choice(k, n, p=share / share.sum())
    return centers[index] + spread[index, None] * rng.standard_normal((n, d), np.float32)


def _heavy(rng: np.random.Generator, n: int, d: int, k: int) -> Float32:
    """Draw correlated columns with heavy tails: mixed Student's t with 5 degrees of freedom."""
    mix = np.random.default_rng(4).normal(size=(d, d)) / d**0.5
    rows: Float32 = (rng.standard_t(5, (n, d)) @ mix).astype(np.float32)
    return rows


KINDS: Final[dict[str, Callable[[np.random.Generator, int, int, int], Float32]]] = {
    "one normal cloud": _cloud,
    "as many clouds as clusters": _blobs,
    "unequal clouds": _unequal,
    "heavy tails": _heavy,
}


def draw(kind: str, n: int, d: int, k: int) -> Iterator[Float32]:
    """Yield rows of a kind in parts; a longer sequence begins with the same rows."""
    for number, first in enumerate(range(0, n, _PART_ROWS)):
        rng = np.random.default_rng([7, number])
        yield KINDS[kind](rng, _PART_ROWS, d, k)[: n - first]


def write_rows(path: Path, n: int, d: int, k: int) -> None:
    """Write a raw file of float32 in row-major order."""
    with path.open("wb") as file:
        for part in draw("as many clouds as clusters", n, d, k):
            part.tofile(file)


def processor_time(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of processor time of all threads, and the result."""
    before = time.process_time()
    result = function()
    return time.process_time() - before, result


def anonymous_bytes() -> int:
    """Return the anonymous memory of this process."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


class AnonymousPeak:
    """Watches the anonymous memory of this process every 10 ms."""

    def __enter__(self) -> "AnonymousPeak":
        self.bytes, self._ends = anonymous_bytes(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ends.wait(0.01):
            self.bytes = max(self.bytes, anonymous_bytes())


def measure_memory(given: argparse.Namespace) -> None:
    """Fit a raw file of each size in its own process, with a limit if cgroups allow it."""
    for n in given.memory_rows:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            path = Path(folder, "rows.f32")
            write_rows(path, n, given.features, given.clusters)
            command = [sys.executable, "-m", "benchmarks.stream", "--fit", str(path)]
            command += ["--features", str(given.features), "--clusters", str(given.clusters)]
            command += ["--passes", str(given.passes)]
            with _Limit(given.limit) as limit:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, preexec_fn=limit.enter
                )
            said = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
            print(f"memory | {n:,} x {given.features} | {limit.said} | {said}", flush=True)


class _Limit:
    """A cgroup with a limit of bytes, if it can be created."""

    def __init__(self, size: int) -> None:
        root = Path("/sys/fs/cgroup")
        is_unified = (root / "cgroup.controllers").exists()
        self._folder = (root if is_unified else root / "memory") / f"tfkmeans-{os.getpid()}"
        self._is_made, self.said = False, "a cgroup cannot be created here"
        if not self._folder.parent.is_dir():
            return
        try:
            self._folder.mkdir()
            self._is_made = True
            name = "memory.max" if is_unified else "memory.limit_in_bytes"
            (self._folder / name).write_text(str(size))
            self.said = f"in a cgroup of {size / 1e9:g} GB"
        except OSError as error:
            self.said += f": {error.strerror}"

    def __enter__(self) -> "_Limit":
        return self

    def enter(self) -> None:
        """Move this process into the cgroup."""
        if self._is_made:
            (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def __exit__(self, *_: object) -> None:
        if self._is_made:
            self._folder.rmdir()


def fit_file(given: argparse.Namespace) -> None:
    """The work of a process of `measure_memory`; TensorFlow is imported as in the command."""
    from kmeans_module.quiet_import import program_start

    with program_start():
        import kmeans_module.quiet_tensorflow  # noqa: F401
    from kmeans_module import RowSource, fit

    source = RowSource.from_file(given.fit, given.features)
    loaded, started = anonymous_bytes(), time.perf_counter()
    with AnonymousPeak() as peak:
        took, result = processor_time(
            lambda: fit(source, given.clusters, seed=0, passes=given.passes)
        )
    print(
        f"anonymous {peak.bytes / 1e6:.0f} MB, of which {loaded / 1e6:.0f} before the fit | "
        f"{result.n_iter} iterations, {took:.1f} s of processor time, "
        f"{time.perf_counter() - started:.1f} s"
    )


def measure_pass(given: argparse.Namespace) -> None:
    """Measure steps from the same start, in memory and with a source."""
    from kmeans_module import RowSource
    from kmeans_module.engines.choice import new_engine
    from kmeans_module.model_space import enter
    from kmeans_module.source_rows import SourceRows
    from kmeans_module.weighted_rows import weigh

    n, d, k = given.rows, given.features, given.clusters
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder, "rows.f32")
        write_rows(path, n, d, k)
        array = np.fromfile(path, np.float32).reshape(n, d)
        weight, options = np.ones(n, np.float32), {"standardize": False, "distance": "euclidean"}
        space = enter(array, weight, **options)  # type: ignore[arg-type]
        start = ((array[:k] - space.shift) / space.scale).astype(np.float32)
        entered: dict[str, Any] = {
            "in memory": weigh(space.rows, weight, space.largest),
            "of a source, warm": SourceRows.enter(
                RowSource.from_file(path, d),
                **options,  # type: ignore[arg-type]
            ),
        }

        def run(name: str, *, is_cold: bool = False) -> float:
            """Return the nanoseconds per row and step."""
            engine, centroids, took = new_engine("matmul", entered[name], k), start, 0.0
            for _ in range(_STEPS):
                if is_cold:
                    with path.open("rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                before = time.process_time()
                step = engine.step(centroids)
                took += time.process_time() - before
                sums, mass = step.clusters.points.value, step.clusters.weight.value
                centroids = np.where(mass > 0, sums / np.maximum(mass, 1e-9), centroids)
                centroids = centroids.astype(np.float32)
            return float(took / _STEPS / n * 1e9)

        for name in entered:
            run(name)
        found = {name: min(run(name) for _ in range(given.rounds)) for name in entered}
        if given.cold:
            found["of a source, cold"] = run("of a source, warm", is_cold=True)
    for name, each in found.items():
        ratio = each / found["in memory"]
        print(
            f"pass | {n:,} x {d}, k = {k} | {name} | {each:.1f} ns a row | {ratio:.2f}", flush=True
        )


def measure_approximate(given: argparse.Namespace) -> None:
    """Compare one pass after the sample, one start of the whole fit, and MiniBatchKMeans."""
    from kmeans_module import fit

    n, k = given.rows, given.clusters
    for kind in given.kinds:
        points = np.concatenate(list(draw(kind, n, given.features, k)))
        # Compilation, once for both.
        fit(points[: n // 20], k, n_init=1, max_iter=2)
        fit(points[: n // 20], k, seeding="sample", passes=1)
        for seed in given.seeds:
            compared = _compare(points, k, given.passes, seed)
            print(f"approximate | {kind}, seed {seed} | {compared}", flush=True)


def _compare(points: Float32, k: int, passes: int, seed: int) -> str:
    from sklearn.cluster import MiniBatchKMeans

    from kmeans_module import fit

    whole_time, whole = processor_time(lambda: fit(points, k, n_init=1, seed=seed))
    near_time, near = processor_time(
        lambda: fit(points, k, seeding="sample", passes=passes, seed=seed)
    )
    theirs = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096)
    their_time, _ = processor_time(lambda: theirs.fit(points))
    their_inertia = _inertia(points, theirs.cluster_centers_)
    return (
        f"whole {whole_time:.1f} s | {near_time:.1f} s, {near_time / whole_time:.2f} of it, "
        f"inertia {near.inertia / whole.inertia - 1:+.2%} | "
        f"MiniBatchKMeans {their_time:.1f} s, inertia {their_inertia / whole.inertia - 1:+.2%}"
    )


def _inertia(points: Float32, centroids: NDArray[np.floating[Any]]) -> float:
    import tensorflow as tf

    from kmeans_module.assignment import nearest

    places, total = tf.constant(centroids.astype(np.float32)), 0.0
    for first in range(0, len(points), _PART_ROWS):
        _, squared = nearest(tf.constant(points[first : first + _PART_ROWS]), places)
        total += float(squared.numpy().sum(dtype=np.float64))
    return total


def write_parquet(path: Path, n: int, d: int, k: int) -> list[str]:
    """Write the rows as a table of d columns; return their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"c{column}" for column in range(d)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=False) as writer:
        for part in draw("as many clouds as clusters", n, d, k):
            columns = [np.ascontiguousarray(part[:, column]) for column in range(d)]
            writer.write_table(pa.table(columns, names=names))
    return names


def measure_cache(given: argparse.Namespace) -> None:
    """Measure the conversion of Parquet to the raw cache."""
    from serving.tables import open_table
    from serving.tables.row_cache import CacheRequest, open_cache

    n, d = given.rows, given.features
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder, "rows.parquet")
        names = write_parquet(path, n, d, given.clusters)

        def write(number: int) -> float:
            request = CacheRequest([open_table(path)], [path], names)
            place = Path(folder, f"cache-{number}")
            took, _ = processor_time(
                lambda: open_cache(request, place, is_kept=True, tell=lambda _: None)
            )
            return took

        best = min(write(number) for number in range(given.rounds))
    print(f"cache | {n:,} x {d} from Parquet | {best / n * 1e6:.2f} us a row", flush=True)


def measure_peers(given: argparse.Namespace) -> None:
    """Measure the usual methods for a file that does not fit in memory."""
    import pyarrow.parquet as pq
    from sklearn.cluster import MiniBatchKMeans

    n, d, k = given.rows, given.features, given.clusters
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder, "rows.parquet")
        write_parquet(path, n, d, k)

        def batches() -> Iterator[Float32]:
            for batch in pq.ParquetFile(path).iter_batches(4096):
                yield np.stack([column.to_numpy() for column in batch.columns], axis=1)

        def partial_fit() -> Any:
            model = MiniBatchKMeans(k, random_state=0, n_init=3)
            for batch in batches():
                model.partial_fit(batch)
            return model.cluster_centers_

        points = np.concatenate(list(draw("as many clouds as clusters", n, d, k)))
        from kmeans_module import fit

        fit(points[: n // 20], k, seeding="sample", passes=1)  # compilation, once
        ours_time, ours = processor_time(lambda: fit(points, k, seeding="sample", passes=1, seed=0))
        print(f"peers | --approximate, in memory | {ours_time:.1f} s | inertia {ours.inertia:.6g}")

        def tell(name: str, took: float, centroids: Any) -> None:
            inertia = _inertia(points, centroids)
            print(f"peers | {name} | {took:.1f} s | {inertia / ours.inertia - 1:+.2%}", flush=True)

        tell("partial_fit", *processor_time(partial_fit))
        if Path(given.peers).exists():
            tell("faiss, its sample", *_fit_by_faiss(points, k, given.peers, Path(folder, "rows")))
        else:
            print(f"peers | faiss | no {given.peers}: make bench sets it up")


def _fit_by_faiss(points: Float32, k: int, python: str, path: Path) -> tuple[float, Any]:
    """Return the seconds of processor time, and the centroids of faiss's own sample."""
    np.save(f"{path}.points.npy", points)
    np.save(f"{path}.init.npy", points[:k])
    faiss = Process("faiss", python, "cpu")
    faiss.ask("load", path=str(path))
    faiss.ask("fit_sample", seed=0)
    answer = faiss.ask("fit_sample", seed=0)
    faiss.end()
    return answer["processor_seconds"], np.array(answer["centroids"])


PARTS: Final = {
    "memory": measure_memory,
    "pass": measure_pass,
    "cache": measure_cache,
    "approximate": measure_approximate,
    "peers": measure_peers,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", help="folder for the rows; by default a temporary one")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--clusters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="pass: read from the disk as well")
    parser.add_argument("--passes", type=int, default=1, help="memory and approximate")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--memory-rows", nargs="+", type=int, default=[10**7, 10**8])
    parser.add_argument("--limit", type=int, default=10**9, help="memory: bytes of the cgroup")
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="the peers' Python")
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fit:
        fit_file(given)
        return
    for part in given.only:
        PARTS[part](given)


if __name__ == "__main__":
    main()
