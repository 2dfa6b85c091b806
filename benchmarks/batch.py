"""Measure rows per second and memory of batch scoring against pyarrow, scikit-learn and Beam.

::

    python -m benchmarks.batch [--rows 10000000] [--rounds 3] [--out FOLDER] [--only NAME ...]

It writes a Parquet file of random float32 rows and one with a tenth of them, publishes a model of
random centroids, and runs five contestants on the file, interleaved, each time in a new process:

- pyarrow: read the file and write two precomputed output columns; no answer is computed;
- tfkmeans: ``score_files``, the function behind ``tfkmeans batch-score``;
- scikit-learn: ``KMeans.predict`` and the distance over pyarrow's batches, with one output file;
- beam rows: ``RunInference`` with Beam's own TensorFlow handler over rows, as in its documentation;
  on a two-hundredth of the rows, because it is far slower;
- beam ours: ``tfkmeans batch-score --runner beam``, with Beam's runner of one process.

``--only`` selects contestants besides pyarrow. The time is from the first read byte to the last
closed file, without imports, loading the model and compilation. Memory is the peak of a process
minus its memory at the start of the clock. It prints a table and writes it as Markdown and JSON to
``benchmarks/results``.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

FEATURES: Final = 16
CLUSTERS: Final = 64
RESULTS: Final = Path(__file__).parent / "results"
NAMES: Final = tuple(f"x{index}" for index in range(FEATURES))
#: Rows per row group of the file, and per batch.
_GROUP: Final = 2**20
_BATCH: Final = 2**16
_SAMPLE: Final = 200

#: Variables that the command sets before it begins.
_ENVIRONMENT: Final = {"tfkmeans": {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc"}}

CONTESTANTS: Final = ("pyarrow", "tfkmeans", "scikit-learn", "beam rows", "beam ours")


@dataclass(frozen=True)
class Place:
    """The paths of the rows, the model and the output of a contestant."""

    rows: Path
    version: Path
    output: Path


def make_rows(path: Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _GROUP):
            count = min(_GROUP, rows - start)
            columns = [rng.normal(size=count).astype(np.float32) for _ in NAMES]
            writer.write_table(pa.table(columns, schema=schema))


def make_model(base: Path) -> Path:
    """Publish a version with random centroids."""
    from export import publish_fit
    from kmeans_module import fit

    rng = np.random.default_rng(1)
    points = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    result = fit(points, CLUSTERS, init="random", n_init=1, max_iter=2, tol=0.0)
    return Path(publish_fit(result, points, base, feature_names=NAMES).directory)


# The contestants. Each returns the function to time.


def _pyarrow(place: Place) -> Callable[[], int]:
    import pyarrow as pa

    rng = np.random.default_rng(2)
    answer = pa.record_batch(
        {
            "cluster_index": rng.integers(0, CLUSTERS, _GROUP).astype(np.int32),
            "distance": rng.random(_GROUP).astype(np.float32),
        }
    )

    def run() -> int:
        rows = 0
        with _opened(place) as file, _writer(place, answer.schema) as writer:
            for batch in file.iter_batches(_BATCH):
                rows += len(batch)
                if rows % _GROUP == 0:
                    writer.write_batch(answer)
            if rows % _GROUP:
                writer.write_batch(answer.slice(0, rows % _GROUP))
        return rows

    return run


def _opened(place: Place) -> Any:
    """Open the file for the fastest reading in bounded memory."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(place.rows, pre_buffer=False, buffer_size=2**20)


def _output_schema() -> Any:
    import pyarrow as pa

    fields: list[tuple[str, pa.DataType]] = [
        ("cluster_index", pa.int32()),
        ("distance", pa.float32()),
    ]
    return pa.schema(fields)


def _writer(place: Place, schema: Any) -> Any:
    import pyarrow.parquet as pq

    place.output.mkdir(parents=True)
    repeated: Any = ["cluster_index"]
    return pq.ParquetWriter(place.output / "out.parquet", schema, use_dictionary=repeated)


def _tfkmeans(place: Place) -> Callable[[], int]:
    import pyarrow.parquet as pq

    from serving.batch import LocalScorer, score_files
    from serving.tables import open_table

    job, rows = _job(place), pq.read_metadata(place.rows).num_rows
    scorer = LocalScorer(place.version, rows)
    return lambda: int(score_files(job, [open_table(place.rows)], scorer)["rows"])


def _job(place: Place) -> Any:
    from export import ModelCard
    from serving.batch import ScoredModel, plan_job
    from serving.tables import open_table

    model = ScoredModel("benchmark", 1, "0" * 64)
    card = ModelCard.read(place.version)
    return plan_job([open_table(place.rows)], place.output, model, card)


def _scikit_learn(place: Place) -> Callable[[], int]:
    import pyarrow as pa
    import tensorflow as tf
    from sklearn.cluster import KMeans

    decode = tf.saved_model.load(str(place.version)).signatures["decode"]
    centroids = decode(cluster_index=tf.range(CLUSTERS))["centroid"].numpy()
    model = KMeans(CLUSTERS, init=centroids, n_init=1, max_iter=1).fit(centroids)
    schema = _output_schema()

    def run() -> int:
        rows, waiting = 0, []
        with _opened(place) as file, _writer(place, schema) as writer:
            for batch in file.iter_batches(_BATCH):
                points = batch.to_tensor(row_major=True).to_numpy()
                index = model.predict(points)
                distance = np.linalg.norm(points - model.cluster_centers_[index], axis=1)
                waiting.append(pa.record_batch([index, distance], schema=schema))
                rows += len(batch)
                if len(waiting) == _GROUP // _BATCH:
                    writer.write_table(pa.Table.from_batches(waiting))
                    waiting.clear()
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting))
        return rows

    return run


class _SavedModel:
    """A SavedModel that Beam's handler can load; its default loader, Keras, cannot load it."""

    def load_weights(self, path: str) -> None:
        import tensorflow as tf

        self._model = tf.saved_model.load(path)

    def __call__(self, points: Any) -> Any:
        return self._model.signatures["assign"](points=points)


def _beam_rows(place: Place) -> Callable[[], int]:
    # The handler imports it for models of TensorFlow Hub, which are not used here.
    sys.modules.setdefault("tensorflow_hub", types.ModuleType("tensorflow_hub"))
    import apache_beam as beam
    import pyarrow as pa
    import pyarrow.parquet as pq
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.ml.inference.tensorflow_inference import ModelType, TFModelHandlerNumpy

    handler = TFModelHandlerNumpy(str(place.version), ModelType.SAVED_WEIGHTS, _SavedModel)
    schema = _output_schema()
    few = place.output.parent / "few.parquet"
    with pq.ParquetFile(place.rows) as file:
        pq.write_table(pa.Table.from_batches([next(file.iter_batches(_few(place)))]), few)

    def row(columns: dict[str, Any]) -> Any:
        return np.array([columns[name] for name in NAMES], np.float32)

    def said(result: Any) -> dict[str, Any]:
        inference = result.inference
        return {
            "cluster_index": int(inference["cluster_index"]),
            "distance": float(inference["distance"]),
        }

    def run() -> int:
        with beam.Pipeline() as pipeline:
            _ = (
                pipeline
                | beam.io.ReadFromParquet(str(few))
                | beam.Map(row)
                | RunInference(handler)
                | beam.Map(said)
                | beam.io.WriteToParquet(str(place.output / "out"), schema)
            )
        return _few(place)

    return run


def _few(place: Place) -> int:
    import pyarrow.parquet as pq

    return max(1, int(pq.read_metadata(place.rows).num_rows) // _SAMPLE)


def _beam_ours(place: Place) -> Callable[[], int]:
    from serving.batch.beam_runner import score_by_beam
    from serving.tables import open_table

    job = _job(place)
    return lambda: int(score_by_beam(job, [open_table(place.rows)], place.version, ())["rows"])


_RUNS: Final[dict[str, Callable[[Place], Callable[[], int]]]] = {
    "pyarrow": _pyarrow,
    "tfkmeans": _tfkmeans,
    "scikit-learn": _scikit_learn,
    "beam rows": _beam_rows,
    "beam ours": _beam_ours,
}


# One contestant in its process, and the evaluation of all in the parent.


def compete(name: str, place: Place) -> None:
    """Run one contestant, and print the measurements."""
    run = _RUNS[name](place)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _memory("VmRSS")
    began = time.perf_counter()
    spent = time.process_time()
    rows = run()
    seconds = time.perf_counter() - began
    measured = {
        "rows": rows,
        "rows_per_second": rows / seconds,
        "cpu_seconds": time.process_time() - spent,
        "mebibytes": (_memory("VmHWM") - before) / 1024,
    }
    print(json.dumps(measured))


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measured(name: str, rows: Path, version: Path, scratch: Path) -> dict[str, float]:
    output = scratch / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = ["--contestant", name, "--place", rows, version, output]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.batch", *map(str, words)],
        capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"} | _ENVIRONMENT.get(name, {}),
        text=True,
        check=False,
    )
    if process.returncode:
        raise SystemExit(process.stderr)
    answer: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return answer


def main(rows: int, rounds: int, folder: Path, names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        scratch = Path(directory)
        large, small = scratch / "rows.parquet", scratch / "tenth.parquet"
        make_rows(large, rows)
        make_rows(small, rows // 10)
        version = make_model(scratch / "models" / "benchmark")
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(rounds):
            for name in names:
                runs[name].append(measured(name, large, version, scratch))
                print(turn + 1, name, runs[name][-1], file=sys.stderr)
        tenth = measured("tfkmeans", small, version, scratch)
    report = _report(rows, rounds, runs, tenth)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "batch.json").write_text(json.dumps({"runs": runs, "tenth": tenth}, indent=1) + "\n")
    (RESULTS / "batch.md").write_text(report)
    print(report)


def _report(
    rows: int, rounds: int, runs: dict[str, list[dict[str, float]]], tenth: dict[str, float]
) -> str:
    def median(name: str, field: str) -> float:
        return statistics.median(run[field] for run in runs[name])

    def ratio(name: str) -> float:
        """The median of ratios per round, because other load is similar within a round."""
        pairs = zip(runs[name], runs["pyarrow"], strict=True)
        return statistics.median(a["rows_per_second"] / b["rows_per_second"] for a, b in pairs)

    lines = [
        f"# Batch scoring, {rows:,} rows x {FEATURES} float32, k = {CLUSTERS}",
        "",
        f"`python -m benchmarks.batch --rows {rows} --rounds {rounds}`: medians of {rounds} "
        f"interleaved rounds on {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}.",
        "",
        "| | rows | rows a second | of pyarrow's | CPU seconds | peak MiB above imports |",
        "|---|---|---|---|---|---|",
    ]
    for name in runs:
        lines.append(
            f"| {name} | {median(name, 'rows'):,.0f} | {median(name, 'rows_per_second'):,.0f} | "
            f"{ratio(name):.1%} | {median(name, 'cpu_seconds'):.2f} | "
            f"{median(name, 'mebibytes'):.0f} |"
        )
    lines += [
        f"| tfkmeans, a tenth of the file | {tenth['rows']:,.0f} | "
        f"{tenth['rows_per_second']:,.0f} | | {tenth['cpu_seconds']:.2f} | "
        f"{tenth['mebibytes']:.0f} |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        compete(given.contestant, Place(*given.place))
    else:
        names = [name for name in CONTESTANTS if name in {"pyarrow", *given.only}]
        main(given.rows, given.rounds, given.out, names)
