"""Points as people hold them in Python: the forms that work, and those that get a line.

Each function takes points float32 [n, d] without NaN; n and d are at least 2.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import scipy.sparse
import tensorflow as tf
from numpy.typing import NDArray

Points = NDArray[np.float32]
Form = Callable[[Points], Any]


def _names(points: Points) -> list[str]:
    return [f"c{index}" for index in range(points.shape[1])]


def _frame(points: Points) -> pd.DataFrame:
    return pd.DataFrame(points, columns=_names(points))


def _arrow_lists(points: Points) -> "pa.Array[Any]":
    return pa.array(points.tolist(), pa.list_(pa.float32()))


def _fixed_lists(points: Points) -> "pa.Array[Any]":
    return pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), points.shape[1])


def _sliced_chunks(points: Points) -> "pa.ChunkedArray[Any]":
    whole = _arrow_lists(np.concatenate([points[:1], points]))
    half = len(points) // 2
    return pa.chunked_array([whole.slice(1, half), whole.slice(1 + half)])


def _split_vectors(points: Points) -> pa.Table:
    """A number, and vectors of the rest."""
    return pa.table({"c0": points[:, 0], "rest": _arrow_lists(points[:, 1:])})


def _records(points: Points) -> NDArray[Any]:
    records = np.empty(len(points), [(name, "f4") for name in _names(points)])
    for name, column in zip(_names(points), points.T, strict=True):
        records[name] = column
    return records


#: Forms that are the same points.
WORKING: Final[dict[str, Form]] = {
    "lists": lambda points: points.tolist(),
    "array of objects": lambda points: points.astype(object),
    "records": _records,
    "tensor": tf.constant,
    "frame": _frame,
    "frame of nullable dtypes": lambda points: _frame(points).convert_dtypes(),
    "frame of objects": lambda points: _frame(points).astype(object),
    "frame of pyarrow's dtypes": lambda points: _frame(points).astype("float[pyarrow]"),
    "frame of a number and vectors": lambda points: pd.DataFrame(
        {"c0": points[:, 0], "rest": list(points[:, 1:])}
    ),
    "series of arrays": lambda points: pd.Series(list(points)),
    "series of lists": lambda points: pd.Series(points.tolist(), name="embedding"),
    "series of pyarrow's lists": lambda points: pd.Series(
        points.tolist(), dtype=pd.ArrowDtype(pa.list_(pa.float32()))
    ),
    "Arrow table": lambda points: pa.Table.from_pandas(_frame(points)),
    "Arrow record batch": lambda points: pa.RecordBatch.from_pandas(_frame(points)),
    "Arrow table with vectors": _split_vectors,
    "Arrow lists": _arrow_lists,
    "Arrow lists in chunks": _sliced_chunks,
    "Arrow large lists": lambda points: _arrow_lists(points).cast(pa.large_list(pa.float32())),
    "Arrow list views": lambda points: pa.array(points.tolist(), pa.list_view(pa.float32())),
    "Arrow large list views": lambda points: pa.array(
        points.tolist(), pa.large_list_view(pa.float32())
    ),
    "Arrow fixed-size lists": _fixed_lists,
    "Arrow tensors": pa.FixedShapeTensorArray.from_numpy_ndarray,
    "polars frame": lambda points: pl.from_pandas(_frame(points)),
    "polars series of lists": lambda points: pl.Series(points.tolist(), dtype=pl.List(pl.Float32)),
    "polars series of arrays": pl.Series,
    "polars frame with vectors": lambda points: pl.DataFrame(
        {"c0": points[:, 0], "rest": points[:, 1:]}
    ),
}

#: Those of the working forms whose columns have names.
NAMED: Final = tuple(
    form for form in WORKING if ("frame" in form or "table" in form or "batch" in form)
)

#: Forms that get a line, and what the line says.
REFUSED: Final[dict[str, tuple[Form, str]]] = {
    "sparse matrix": (
        lambda points: scipy.sparse.csr_matrix((10**6, 30_000), dtype=np.float32),
        r"a csr_matrix of shape \(1000000, 30000\), .* points.toarray\(\), which takes 120.0 GB",
    ),
    "sparse array": (scipy.sparse.coo_array, r"a coo_array .* give points.toarray\(\)"),
    "sparse tensor": (
        tf.sparse.from_dense,
        r"a SparseTensor, .* tf.sparse.to_dense\(points\)",
    ),
    "dataset": (
        tf.data.Dataset.from_tensor_slices,
        r"a TensorSliceDataset; .* np.stack\(list\(points.as_numpy_iterator\(\)\)\)",
    ),
    "dataset of batches": (
        lambda points: tf.data.Dataset.from_tensor_slices(points).batch(2),
        r"a BatchDataset; .* np.concatenate\(list\(points.as_numpy_iterator\(\)\)\)",
    ),
    "dataset with labels": (
        lambda points: tf.data.Dataset.from_tensor_slices((points, points[:, 0])),
        r"map it to its rows alone, points.map\(lambda row, label: row\)",
    ),
    "generator": (iter, r"can be read only once; give list\(points\)"),
    "dictionary": (lambda points: {"a": points[:, 0]}, "a dict; give a data frame"),
    "text": (
        lambda points: "points.csv",
        "a str, which is not an array; files are not read here: .*pd.read_csv or np.load",
    ),
    "path": (
        lambda points: PurePath("points.npy"),
        "a Pure[A-Za-z]*Path, which is not an array; files are not read here: .*np.load",
    ),
    "open file": (
        lambda points: BytesIO(),
        "a BytesIO, which is not an array; give the result of pd.read_csv or np.load",
    ),
    "list of dictionaries": (
        lambda points: _frame(points).to_dict("records"),
        r"a dict in row 0; give pd.DataFrame\(points\)",
    ),
    "groups of a frame": (
        lambda points: _frame(points).groupby("c0"),
        "a DataFrameGroupBy, which is not an array; give the frame or the series that it groups",
    ),
    "groups of a series": (
        lambda points: _frame(points)["c1"].groupby(points[:, 0]),
        "a SeriesGroupBy, which is not an array; give the frame",
    ),
    "reader of Arrow": (
        lambda points: pa.Table.from_pandas(_frame(points)).to_reader(),
        r"a RecordBatchReader, which can be read only once; give points.read_all\(\)",
    ),
    "dataset of Arrow": (
        lambda points: pyarrow.dataset.dataset(pa.Table.from_pandas(_frame(points))),
        r"an InMemoryDataset, which holds no rows yet; give points.to_table\(\)",
    ),
    "ragged tensor": (
        tf.RaggedTensor.from_tensor,
        r"a RaggedTensor, and only rows of one length are taken; give points.to_tensor\(\)",
    ),
    "lazy frame": (
        lambda points: pl.from_pandas(_frame(points)).lazy(),
        r"a LazyFrame, .* give points.collect\(\)",
    ),
    "series of unequal vectors": (
        lambda points: pd.Series([*points[:-1], points[-1, 1:]]),
        r"1 number in row \d+, and 2 numbers in row 0|"
        r"\d numbers in row \d+, and \d numbers in row 0; give rows of one length",
    ),
    "Arrow lists of unequal length": (
        lambda points: pa.array([[1.0, 2.0], [1.0]]),
        "1 number in row 1, and 2 numbers in row 0; give rows of one length",
    ),
    "unequal lists": (
        lambda points: [[1.0], [1.0, 2.0]],
        "2 numbers in row 1, and 1 number in row 0; give rows of one length",
    ),
    "vectors beside a number": (
        lambda points: pd.Series([[1.0, 2.0], 3.0]),
        "3.0 in row 1, and 2 numbers in row 0",
    ),
    "vectors as text": (
        lambda points: pd.Series(["[1.0, 2.0]"]),
        r"the text '\[1.0, 2.0\]' in row 0, which is not numeric",
    ),
    "list with a text": (
        lambda points: [[1.0, 2.0], [3.0, "four"]],
        "the text 'four' in row 1, column 1, which is not numeric",
    ),
    "list with a date": (
        lambda points: [[1.0, pd.Timestamp("2026-01-01")]],
        "Timestamp.* in row 0, column 1, which is not numeric",
    ),
}

#: Tables with a column that is not numeric, named ``c0``, and what the line says of it.
REFUSED_COLUMNS: Final[dict[str, tuple[Form, str]]] = {
    "frame with texts": (
        lambda points: _frame(points).assign(c0="Rome"),
        "a column 'c0' of dtype str with the text 'Rome' in row 0, which is not numeric",
    ),
    "frame with one text": (
        lambda points: _frame(points).assign(c0=[*points[1:, 0].tolist(), "?"]),
        r"a column 'c0' of dtype object with the text '\?' in row \d+, which is not numeric",
    ),
    "frame with dates": (
        lambda points: _frame(points).assign(c0=pd.Timestamp("2026-01-01")),
        "a column 'c0' of dtype datetime64.*, which is not numeric",
    ),
    "frame with categories": (
        lambda points: _frame(points).assign(c0=pd.Categorical([1] * len(points))),
        "a column 'c0' of dtype category, which is not numeric",
    ),
    "Arrow table with texts": (
        lambda points: pa.table({"c0": ["Rome"] * len(points), "c1": points[:, 1]}),
        "a column 'c0' of type string, which is not numeric",
    ),
    "polars frame with categories": (
        lambda points: pl.DataFrame({"c0": pl.Series(["a"], dtype=pl.Categorical), "c1": [1.0]}),
        "a column 'c0' of type dictionary<.*>, which is not numeric",
    ),
}

#: Two rows of two numbers; the first number of the second row is missing.
MISSING: Final[dict[str, Any]] = {
    "nullable integers and booleans": pd.DataFrame(
        {"c0": pd.array([1, None], "Int64"), "c1": pd.array([True, False], "boolean")}
    ),
    "nullable floats": pd.DataFrame({"c0": pd.array([1.0, None], "Float64"), "c1": [1, 0]}),
    "objects": pd.DataFrame({"c0": [1, None], "c1": [1, 0]}, dtype=object),
    "lists": [[1, 1], [None, 0]],
    "Arrow": pa.table({"c0": [1, None], "c1": [True, False]}),
    "polars": pl.DataFrame({"c0": [1, None], "c1": [True, False]}),
    "masked": np.ma.masked_less([[1, 1], [-1, 0]], 0),
}

#: Three rows of vectors, of which the second is missing.
MISSING_VECTORS: Final[dict[str, Any]] = {
    "series": pd.Series([[1.0, 2.0], None, [3.0, 4.0]]),
    "Arrow lists": pa.array([[1.0, 2.0], None, [3.0, 4.0]]),
    "Arrow list views": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_view(pa.float32())),
    "Arrow fixed-size lists": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
    "polars series": pl.Series([[1.0, 2.0], None, [3.0, 4.0]]),
}
