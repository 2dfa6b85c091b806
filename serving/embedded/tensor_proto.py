"""TensorProto to ndarray and back, by the rules of TensorFlow's own ``Tensor::FromProto``.

``tf.make_ndarray`` is stricter in some places and laxer in others than what a server does with a
request, and a request that one server takes must not fail on the other.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

#: TensorFlow's limit on the number of dimensions.
_MAX_RANK = 254
#: NumPy's limit on the number of dimensions.
_MAX_NUMPY_RANK = 64
#: What a message can hold, 2 GiB, is also what one value may be repeated to, in bytes.
_MAX_FILLED = 2**31
#: What fits an allocation at all; a shape of more elements is a broken tensor.
_MAX_ELEMENTS = 2**40


class InvalidTensor(ValueError):
    """The TensorProto describes no tensor."""


class TooBig(InvalidTensor):
    """A tensor that a few values would be repeated to fill, and that would take too much memory."""


class TooManyDimensions(InvalidTensor):
    """A tensor of more dimensions than NumPy has; TensorFlow has 254.

    Attributes:
        shape: its shape.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(f"{len(shape)} dimensions; this server has {_MAX_NUMPY_RANK} at most")
        self.shape = tuple(shape)


class _Field(NamedTuple):
    """Where a dtype's values lie in a TensorProto when they are not in ``tensor_content``."""

    name: str
    stored: npt.DTypeLike


_INT_FIELD = _Field("int_val", np.int32)
_FIELDS: dict[int, _Field] = {
    types_pb2.DT_FLOAT: _Field("float_val", np.float32),
    types_pb2.DT_DOUBLE: _Field("double_val", np.float64),
    types_pb2.DT_INT8: _INT_FIELD,
    types_pb2.DT_UINT8: _INT_FIELD,
    types_pb2.DT_INT16: _INT_FIELD,
    types_pb2.DT_UINT16: _INT_FIELD,
    types_pb2.DT_INT32: _INT_FIELD,
    types_pb2.DT_INT64: _Field("int64_val", np.int64),
    types_pb2.DT_UINT32: _Field("uint32_val", np.uint32),
    types_pb2.DT_UINT64: _Field("uint64_val", np.uint64),
    types_pb2.DT_BOOL: _Field("bool_val", np.bool_),
    types_pb2.DT_STRING: _Field("string_val", np.object_),
    types_pb2.DT_HALF: _Field("half_val", np.int32),
    types_pb2.DT_BFLOAT16: _Field("half_val", np.int32),
    types_pb2.DT_COMPLEX64: _Field("scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: _Field("dcomplex_val", np.float64),
}
_AS_BITS = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_IN_PAIRS = {types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128}


def dtype_name(dtype: int) -> str:
    """TensorFlow's C++ name of a dtype, as it stands in messages (``float``, ``half``)."""
    names = {types_pb2.DT_FLOAT: "float", types_pb2.DT_DOUBLE: "double", types_pb2.DT_HALF: "half"}
    return names.get(dtype) or str(tf.as_dtype(dtype).name)


def ndarray_of(proto: Any) -> npt.NDArray[Any]:
    """The array of a TensorProto.

    Too few values are filled up with the last one, too many are cut; no value at all is zeros.
    ``tensor_content`` must have the exact length.

    Raises:
        InvalidTensor: no dtype, a dtype that has no values, a shape that is none, or content of
            another length than the shape asks for.
    """
    field = _FIELDS.get(proto.dtype)
    if field is None:
        raise InvalidTensor(f"dtype {proto.dtype} has no values")
    shape = _shape_of(proto.tensor_shape)
    dtype = tf.as_dtype(proto.dtype).as_numpy_dtype
    if proto.tensor_content:
        return _from_content(proto.tensor_content, dtype, shape)
    values = getattr(proto, field.name)
    stored = np.fromiter(values, field.stored, count=len(values))
    if proto.dtype in _AS_BITS:
        stored = stored.astype(np.uint16).view(dtype)
    elif proto.dtype in _IN_PAIRS:
        stored = stored[: len(stored) // 2 * 2].view(dtype)
    return filled(stored.astype(dtype, copy=False), shape)


def filled(values: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """``values``, one-dimensional, in ``shape``: cut, or filled up with the last one (or zero).

    Raises:
        InvalidTensor: the shape has more dimensions than a tensor can have.
        TooBig: there are too few values for so big a shape.
    """
    check_rank(shape)
    wanted = prod(shape)
    if len(values) < wanted:
        if wanted * values.dtype.itemsize > _MAX_FILLED:
            raise TooBig(f"OOM when allocating tensor with shape[{','.join(map(str, shape))}]")
        empty: Any = b"" if values.dtype == np.object_ else 0
        last = values[-1] if len(values) else empty
        padding = np.full(wanted - len(values), last, values.dtype)
        values = np.concatenate([values, padding])
    return values[:wanted].reshape(shape)


def check_rank(shape: Sequence[int]) -> None:
    """Hold a shape's number of dimensions against TensorFlow's limit, then NumPy's.

    Raises:
        InvalidTensor: TensorFlow has no such tensor.
        TooManyDimensions: NumPy has not.
    """
    if len(shape) > _MAX_RANK:
        raise InvalidTensor(f"{len(shape)} dimensions; a tensor has {_MAX_RANK} at most")
    if len(shape) > _MAX_NUMPY_RANK:
        raise TooManyDimensions(shape)


def _shape_of(shape: Any) -> tuple[int, ...]:
    dimensions = tuple(int(dim.size) for dim in shape.dim)
    if shape.unknown_rank or min(dimensions, default=0) < 0:
        raise InvalidTensor("the shape is not that of a tensor")
    check_rank(dimensions)
    # NumPy counts so for a shape without elements as well: [0, 2**62] is none of its arrays.
    if prod(filter(None, dimensions)) > _MAX_ELEMENTS:
        raise InvalidTensor("the shape has too many elements")
    return dimensions


def _from_content(content: bytes, dtype: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if dtype == np.object_:
        raise InvalidTensor("strings in tensor_content are not supported; use string_val")
    wanted = prod(shape) * np.dtype(dtype).itemsize
    if len(content) != wanted:
        raise InvalidTensor(f"tensor_content has {len(content)} bytes; the shape needs {wanted}")
    return np.frombuffer(content, dtype).reshape(shape)


def proto_of(array: npt.NDArray[Any]) -> Any:
    """The TensorProto of an array, its values in the typed field of the dtype as TF Serving's."""
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    proto.tensor_shape.SetInParent()  # there for a scalar too
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = _FIELDS[proto.dtype]
    flat = array.ravel()
    if proto.dtype in _AS_BITS:
        flat = flat.view(np.uint16)
    elif proto.dtype in _IN_PAIRS:
        flat = flat.view(field.stored)
    getattr(proto, field.name).extend(flat.tolist())
    return proto
