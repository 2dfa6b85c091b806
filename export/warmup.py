"""Warm-up requests, which a server replays when it loads a version.

``assets.extra/tf_serving_warmup_requests`` is a TFRecord file of PredictionLog messages. The
server runs each once while it loads the version, so that the first client does not pay for the
first run of a graph; a record that fails keeps the whole version from loading.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export.wire import serving_pb2, tensor_pb2
from kmeans_module.contract import ASSIGN, COLUMN_SIGNATURES, SCORE, TRANSFORM
from kmeans_module.quiet_tensorflow import tf

from .column_rows import ColumnRows

#: Where the records lie, relative to their version directory: the server's own name for it.
WARMUP_FILE: Final = Path("assets.extra", "tf_serving_warmup_requests")

SIGNATURES: Final = (ASSIGN, SCORE, TRANSFORM)
#: A server with ``--enable_batching`` and no parameters takes 1,000 rows at most: it does not load
#: a version with a larger record.
BATCH_SIZES: Final = (1, 32, 512)

#: A server refuses a file with more records than this.
MOST_RECORDS: Final = 1000


def write(
    version_directory: Path,
    points: NDArray[Any],
    *,
    model: str | None,
    columns: ColumnRows | None = None,
) -> None:
    """Write the records into a version directory: each signature at each batch size.

    The rows are real ones, spread evenly over ``points`` ([n, d], n > 0, raw units) and
    repeated when there are fewer than a batch needs; with ``columns``, the rows of a model that
    takes columns by name, also those. ``model`` is the name the records carry.
    Raises OSError or tf.errors.OpError when the disk does not take it.
    """
    path = version_directory / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    spread = np.linspace(0, len(points) - 1, max(BATCH_SIZES)).astype(np.int64)
    asked = [(signature, {"points": points[spread].astype("<f4")}) for signature in SIGNATURES]
    if columns is not None:
        rows = dict(columns.take(spread).tensors)
        asked += [(signature, rows) for signature in COLUMN_SIGNATURES]
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, inputs in asked:
            for size in BATCH_SIZES:
                tensors = {name: array[:size] for name, array in inputs.items()}
                file.write(_record(model, signature, tensors).SerializeToString())


def read(version_directory: Path) -> Iterator[serving_pb2.PredictionLog]:
    """The records of a version, one by one.

    Raises tf.errors.OpError or google.protobuf.message.DecodeError when there is no such file or
    it is corrupt.
    """
    for record in tf.data.TFRecordDataset(str(version_directory / WARMUP_FILE)):
        yield serving_pb2.PredictionLog.FromString(record.numpy())


def _record(
    model: str | None, signature: str, inputs: Mapping[str, NDArray[Any]]
) -> serving_pb2.PredictionLog:
    request = serving_pb2.PredictRequest(
        model_spec=serving_pb2.ModelSpec(name=model or "", signature_name=signature),
        inputs={name: _tensor(array) for name, array in inputs.items()},
    )
    return serving_pb2.PredictionLog(predict_log=serving_pb2.PredictLog(request=request))


def _tensor(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    shape = tensor_pb2.TensorShapeProto(
        dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in array.shape]
    )
    if array.dtype.kind == "S":
        texts = array.tolist()
        return tensor_pb2.TensorProto(
            dtype=tensor_pb2.DT_STRING, tensor_shape=shape, string_val=texts
        )
    return tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape, tensor_content=array.tobytes()
    )
