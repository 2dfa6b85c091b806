"""A scorer without TensorFlow, and jobs for it."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from serving.batch import Format, Job, ScoredModel, plan_job
from serving.batch.scorer import Rows
from serving.clients.results import Assignment, Distances, Score
from serving.tables import Table, input_files, open_table
from serving.tables.columns import to_float32
from tests.serving.fake_servers import NumpyModel

MODEL = ScoredModel("customers", 2, "ab" * 32)
#: What a job asks of a card; the model is that of ``NumpyModel``.
CARD: Any = SimpleNamespace(
    feature_names=("x", "y"), n_features=2, n_clusters=3, encoder=None, column_signatures={}
)


class NumpyScorer:
    """Answers as the contract says, in plain NumPy, and remembers how many rows it was asked."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._model = NumpyModel()

    def assign(self, rows: Rows, /) -> Assignment:
        assert np.asarray(rows).dtype == np.float32
        self.sizes.append(len(np.asarray(rows)))
        return Assignment(**self._answer("assign", rows), version=2)

    def score(self, rows: Rows, /) -> Score:
        return Score(**self._answer("score", rows), version=2)

    def transform(self, rows: Rows, /) -> Distances:
        return Distances(**self._answer("transform", rows), version=2)

    def confirm(self) -> None:
        pass

    def _answer(self, signature: str, rows: Rows) -> Any:
        return self._model.answer(signature, {"points": np.asarray(rows)})


def job_of(inputs: Sequence[Path], output: Path, **wishes: Any) -> tuple[Job, list[Table]]:
    tables = [open_table(path) for path in input_files(inputs)]
    return plan_job(tables, output, MODEL, CARD, **wishes), tables


def read_output(folder: Path, form: Format) -> pa.Table:
    """All rows of the files of a folder, in the order of their names, by means of pyarrow alone."""
    parts = [_read_part(path, form) for path in sorted(folder.iterdir())]
    return pa.concat_tables(parts, promote_options="permissive") if parts else pa.table({})


def _read_part(path: Path, form: Format) -> pa.Table:
    if form is Format.PARQUET:
        return pq.read_table(path)
    if form is Format.ARROW:
        return pa.ipc.open_file(str(path)).read_all()
    if form is Format.CSV:
        # What is kept is text.
        kept = pa.csv.ConvertOptions(column_types={"id": pa.string(), "distance": pa.float32()})
        return pa.csv.read_csv(path, convert_options=kept)
    import tensorflow as tf

    rows = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        row: dict[str, Any] = {}
        for name, feature in features.items():
            values = list(getattr(feature, feature.WhichOneof("kind")).value)
            row[name] = values if len(values) > 1 else values[0] if values else None
            if isinstance(row[name], bytes):
                row[name] = row[name].decode()
        rows.append(row)
    return pa.Table.from_pylist(rows)


def expected(points: Any) -> Assignment:
    """What the scorer says of points."""
    return NumpyScorer().assign(to_float32(np.asarray(points, np.float64)))
