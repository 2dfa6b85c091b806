"""Convert TensorProto to ndarray and back, by the rules of TensorFlow's ``Tensor::FromProto``.

``tf.make_ndarray`` is in some cases stricter and in others laxer than TF Serving, and a request
that one server accepts must not fail on the other.
"""

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.embedded.flat_tensor import Tensor, in_shape

#: TensorFlow's limit on the number of dimensions.
_MAX_RANK = 254
#: The most bytes of a message (2 GiB), and of a tensor that repeats a value.
_MAX_FILL_BYTES = 2**31
#: The most elements of an allocation; a tensor with more elements is invalid.
_MAX_ELEMENTS = 2**40
_MAX_INT64 = 2**63 - 1
#: With fewer values, checking them first saves nothing.
_FEW = 32
#: Smaller numbers have one byte in protobuf.
_MAX_BYTE = 128


class InvalidTensor(ValueError):
    """The TensorProto is not a valid tensor."""


class TooBig(InvalidTensor):
    """A tensor with a few repeated values that would need too much memory."""


class UnsupportedDtype(InvalidTensor):
    """A valid tensor with a dtype that this server cannot pass to a graph."""


_INT_FIELD = ("int_val", np.int32)
#: The field of a TensorProto for the values of a dtype without ``tensor_content``, and the dtype of
#: its elements.
_FIELDS: dict[int, tuple[str, npt.DTypeLike]] = {
    types_pb2.DT_FLOAT: ("float_val", np.float32),
    types_pb2.DT_DOUBLE: ("double_val", np.float64),
    types_pb2.DT_INT8: _INT_FIELD,
    types_pb2.DT_UINT8: _INT_FIELD,
    types_pb2.DT_INT16: _INT_FIELD,
    types_pb2.DT_UINT16: _INT_FIELD,
    types_pb2.DT_INT32: _INT_FIELD,
    types_pb2.DT_INT64: ("int64_val", np.int64),
    types_pb2.DT_UINT32: ("uint32_val", np.uint32),
    types_pb2.DT_UINT64: ("uint64_val", np.uint64),
    types_pb2.DT_BOOL: ("bool_val", np.bool_),
    types_pb2.DT_STRING: ("string_val", np.object_),
    types_pb2.DT_HALF: ("half_val", np.int32),
    types_pb2.DT_BFLOAT16: ("half_val", np.int32),
    types_pb2.DT_COMPLEX64: ("scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", np.float64),
}
#: Larger numbers are references, which tensors cannot have.
_DTYPES = {
    number
    for number in types_pb2.DataType.values()
    if types_pb2.DT_INVALID < number < types_pb2.DT_FLOAT_REF
}
#: Their bytes are not their values, so TensorFlow must decode them.
_ENCODED_DTYPES = {types_pb2.DT_STRING, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}
_HALF_DTYPES = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_COMPLEX_DTYPES = {types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128}
_PACKED_DTYPES = _COMPLEX_DTYPES | {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_BOOL}


def dtype_name(dtype: int) -> str:
    """Return TensorFlow's C++ name of a dtype, as in messages (``float``, ``half``)."""
    names = {types_pb2.DT_FLOAT: "float", types_pb2.DT_DOUBLE: "double", types_pb2.DT_HALF: "half"}
    return names.get(dtype) or str(tf.as_dtype(dtype).name)


def dtype_of(array: Tensor) -> int:
    """Return TensorFlow's number of the dtype of an array."""
    return _number_of_dtype(array.dtype)


@cache
def _number_of_dtype(dtype: np.dtype[Any]) -> int:
    return int(tf.as_dtype(dtype).as_datatype_enum)


@cache
def _numpy_dtype(number: int) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(tf.as_dtype(number).as_numpy_dtype)
    return dtype


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape as in messages: ``[3,2]``."""
    return f"[{','.join(map(str, shape))}]"


def check_proto(proto: Any) -> None:
    """Check that a TensorProto is a valid tensor, in constant time.

    Raises:
        InvalidTensor: no dtype, an invalid shape, or content that does not fill it.
    """
    if proto.dtype not in _DTYPES:
        raise InvalidTensor(f"dtype {proto.dtype} is not that of a tensor")
    elements = _number_of_elements(proto.tensor_shape)
    if elements and proto.tensor_content:
        _check_content(proto, elements)
    elif elements > _MAX_ELEMENTS:
        raise InvalidTensor("the shape has too many elements")


def ndarray_of(proto: Any) -> Tensor:
    """Convert a TensorProto to an array, or to a flat tensor if NumPy does not support the shape.

    If there are too few values, the last one is repeated; extra values are cut; no value means
    zeros. ``tensor_content`` must have the exact length.

    Raises:
        InvalidTensor: no dtype, an invalid shape, or content whose length does not fit the shape.
        UnsupportedDtype: a dtype that this server does not support.
        TooBig: there are too few values for so big a shape.
    """
    check_proto(proto)
    return array_of_checked(proto)


def array_of_checked(proto: Any) -> Tensor:
    """Like ``ndarray_of``, for a TensorProto that has passed ``check_proto``."""
    if proto.dtype not in _FIELDS:
        raise UnsupportedDtype(f"the dtype {dtype_name(proto.dtype)}")
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    check_rank(shape)
    dtype = _numpy_dtype(proto.dtype)
    if proto.tensor_content and 0 not in shape:
        if proto.dtype in _ENCODED_DTYPES:
            strings = np.array(tf.io.parse_tensor(proto.SerializeToString(), tf.string), np.object_)
            return in_shape(strings.ravel(), shape)
        return in_shape(np.frombuffer(proto.tensor_content, dtype), shape)
    field, stored_dtype = _FIELDS[proto.dtype]
    stored = np.array(getattr(proto, field), stored_dtype)
    if proto.dtype in _HALF_DTYPES:
        stored = stored.astype(np.uint16).view(dtype)
    elif proto.dtype in _COMPLEX_DTYPES:
        stored = stored[: len(stored) // 2 * 2].view(dtype)
    return fill_shape(stored.astype(dtype, copy=False), shape)


def fill_shape(values: npt.NDArray[Any], shape: Sequence[int]) -> Tensor:
    """Return one-dimensional ``values`` in ``shape``: cut, or filled with the last value (or zero).

    Raises:
        InvalidTensor: the shape has more dimensions than a tensor can have.
        TooBig: there are too few values for so big a shape.
    """
    check_rank(shape)
    wanted = prod(shape)
    if len(values) < wanted:
        if wanted * values.dtype.itemsize > _MAX_FILL_BYTES:
            raise TooBig(f"OOM when allocating tensor with shape{shape_text(shape)}")
        empty: Any = b"" if values.dtype == np.object_ else 0
        array = np.empty(wanted, values.dtype)
        array[: len(values)] = values
        array[len(values) :] = values[-1] if len(values) else empty
        values = array
    return in_shape(values[:wanted], shape)


def check_rank(shape: Sequence[Any]) -> None:
    """Check the number of dimensions of a shape against TensorFlow's limit.

    Raises:
        InvalidTensor: there are too many dimensions.
    """
    if len(shape) > _MAX_RANK:
        raise InvalidTensor(f"{len(shape)} dimensions; a tensor has {_MAX_RANK} at most")


def _number_of_elements(shape: Any) -> int:
    """Return the number of elements of a shape; ``unknown_rank`` is ignored, as in TensorFlow."""
    check_rank(shape.dim)
    elements = 1
    for dim in shape.dim:
        # A later dimension of 0 does not correct an earlier product that is too big.
        elements *= dim.size
        if dim.size < 0 or elements > _MAX_INT64:
            raise InvalidTensor("the shape is not that of a tensor")
    return elements


def _check_content(proto: Any, elements: int) -> None:
    """Check ``tensor_content`` against the number of elements."""
    content = proto.tensor_content
    if proto.dtype in _ENCODED_DTYPES:
        # Each element has at least one byte, so a small message cannot request much memory.
        if elements > len(content) or not _is_parsable(proto):
            raise InvalidTensor(f"tensor_content does not hold {elements} strings")
        return
    size = elements * tf.as_dtype(proto.dtype).size
    if len(content) != size:
        raise InvalidTensor(f"tensor_content has {len(content)} bytes; the shape needs {size}")
    if proto.dtype == types_pb2.DT_BOOL and content.strip(b"\0\1"):
        raise InvalidTensor("tensor_content has a bool that is neither 0 nor 1")


def _is_parsable(proto: Any) -> bool:
    try:
        tf.io.parse_tensor(proto.SerializeToString(), proto.dtype)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def proto_of(array: Tensor) -> Any:
    """Convert an array to a TensorProto, with values in the typed field as in TF Serving."""
    proto = tensor_pb2.TensorProto(dtype=dtype_of(array))
    proto.tensor_shape.SetInParent()  # set for a scalar too
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field, _ = _FIELDS[proto.dtype]
    flat = array.ravel()
    if flat.size and proto.dtype in _PACKED_DTYPES:
        proto.MergeFromString(_encode_packed(field, flat))
        return proto
    if flat.size > _FEW and flat.dtype.kind in "iu" and flat.min() >= 0 and flat.max() < _MAX_BYTE:
        # Such a number is one byte as a varint.
        proto.MergeFromString(_encode_packed(field, flat.astype(np.uint8)))
        return proto
    if proto.dtype in _HALF_DTYPES:
        flat = flat.view(np.uint16)
    getattr(proto, field).extend(flat.tolist())
    return proto


def _encode_packed(field: str, values: npt.NDArray[Any]) -> bytes:
    """Encode a message with a single packed field, whose bytes are those of the array.

    Extending the field by a list takes many times as long.
    """
    tag = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    encoded_tag = bytes(
        [tag] if tag < _MAX_BYTE else [tag % _MAX_BYTE + _MAX_BYTE, tag // _MAX_BYTE]
    )
    as_content: bytes = tensor_pb2.TensorProto(tensor_content=values.tobytes()).SerializeToString()
    return encoded_tag + as_content[1:]
