"""The columns of the output, and batches of rows with these columns."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from ..tables.errors import ColumnMismatch
from ..tables.table import Table
from .job import Format, Job

#: The columns for a row that could not be scored.
_REJECTED: Final[Mapping[str, pa.DataType]] = {
    "file": pa.string(),
    "row": pa.int64(),
    "column": pa.string(),
    "reason": pa.string(),
}
REJECTED: Final = pa.schema(_REJECTED)

#: The column of ``transform``, one list a row; in CSV one column a cluster.
_LIST: Final = "all_distances"


def kept_schema(tables: Sequence[Table], keep: Sequence[str]) -> pa.Schema:
    """The columns that are carried along, of the widest type that they have in a table.

    Raises ColumnMismatch where no type holds both: numbers are widened, and null is of any type.
    """
    first, *others = tables
    schema = pa.schema(first.column_types(keep))
    for table in others:
        for index, (name, kind) in enumerate(table.column_types(keep).items()):
            field = schema.field(index)
            both = [pa.schema([field]), pa.schema([(name, kind)])]
            try:
                wider = pa.unify_schemas(both, promote_options="permissive")
            except pa.ArrowException:
                raise ColumnMismatch(
                    f"{table.name}: column {name!r} holds {kind}, and in earlier files "
                    f"{field.type}; use one type, or leave it out of --keep"
                ) from None
            schema = schema.set(index, wider.field(0))
    return schema


def output_schema(job: Job) -> pa.Schema:
    """The columns of scored rows: the kept ones, then the answers. The metadata names the model.

    Raises ColumnMismatch when a kept column has the name of an answer, or a type that the format
    does not take.
    """
    kept = {} if job.kept is None else dict(zip(job.kept.names, job.kept.types, strict=True))
    answers = _answer_types(job)
    for name, kind in kept.items():
        if name in answers:
            raise ColumnMismatch(
                f"--keep {name}: the output already has a column {name!r}; rename "
                "it, or leave it out"
            )
        if not _is_supported(job.format, kind):
            raise ColumnMismatch(
                f"--keep {name}: holds {kind} in {job.inputs[0].name}, which {job.format} does not "
                "support; use --format parquet, or leave it out"
            )
    return pa.schema(
        [*kept.items(), *answers.items()],
        metadata={
            "tfkmeans.model": job.model.name,
            "tfkmeans.version": str(job.model.version),
            "tfkmeans.sha256": job.model.sha256,
        },
    )


def _is_supported(form: Format, kind: pa.DataType) -> bool:
    if form not in (Format.CSV, Format.TFRECORD) or pt.is_string(kind) or pt.is_large_string(kind):
        return True
    if form is Format.CSV:
        return pt.is_primitive(kind)
    # Its whole numbers are int64.
    is_whole = pt.is_integer(kind) and not pt.is_uint64(kind)
    return is_whole or pt.is_floating(kind) or pt.is_boolean(kind)


def _answer_types(job: Job) -> dict[str, pa.DataType]:
    types: dict[str, pa.DataType] = {}
    for name in job.answers:
        if name != _LIST:
            types[name] = pa.int32() if name == "cluster_index" else pa.float32()
        elif job.format is Format.CSV:
            types |= {f"{_LIST}_{index}": pa.float32() for index in range(job.n_clusters)}
        else:
            types[_LIST] = pa.list_(pa.float32(), job.n_clusters)
    return types


def output_batch(
    schema: pa.Schema,
    kept: pa.RecordBatch | None,
    answers: Mapping[str, NDArray[Any]],
    is_scored: NDArray[np.bool_],
) -> pa.RecordBatch:
    """The rows that were scored, as a batch of the output.

    Raises ColumnMismatch where a kept value has no place in the wider type of the output.
    """
    columns: list[Any] = []
    for index, cells in enumerate([] if kept is None else kept.columns):
        field = schema.field(index)
        try:
            columns.append(cells.cast(field.type))
        except pa.ArrowInvalid as error:
            raise ColumnMismatch(
                f"--keep {field.name}: is {cells.type} in one file and {field.type} in another, "
                f"which cannot represent all of its values ({error}); use one type"
            ) from None
    for name, values in answers.items():
        if name != _LIST:
            columns.append(_share_numbers(values))
        elif _LIST in schema.names:
            flat = _share_numbers(values.ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
        else:
            columns.extend(_share_numbers(values[:, index]) for index in range(values.shape[1]))
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    return batch if is_scored.all() else batch.filter(pa.array(is_scored))


def _share_numbers(values: NDArray[Any]) -> "pa.Array[Any]":
    """Numbers [n] without a missing one. Unlike ``pa.array`` it does not import pandas."""
    numbers: Any = np.ascontiguousarray(values)
    buffers = [None, pa.py_buffer(numbers)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), buffers)
