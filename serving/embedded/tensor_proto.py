"""TensorProto to ndarray and back, by the rules of TensorFlow's own ``Tensor::FromProto``.

``tf.make_ndarray`` is stricter in some places and laxer in others than what a server does with a
request, and a request that one server takes must not fail on the other.
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
#: What a message can hold, 2 GiB, is also what one value may be repeated to, in bytes.
_MAX_FILL_BYTES = 2**31
#: What fits an allocation at all; a shape of more elements is a broken tensor.
_MAX_ELEMENTS = 2**40
_MAX_INT64 = 2**63 - 1
#: Below so many values nothing is gained by looking at them first.
_FEW = 32
#: The numbers below it are one byte on the wire.
_MAX_BYTE = 128


class InvalidTensor(ValueError):
    """The TensorProto describes no tensor."""


class TooBig(InvalidTensor):
    """A tensor that a few values would be repeated to fill, and that would take too much memory."""


class UnsupportedDtype(InvalidTensor):
    """A tensor that TensorFlow has, of a dtype that this server cannot give to a graph."""


_INT_FIELD = ("int_val", np.int32)
#: The field of a TensorProto that holds a dtype's values when ``tensor_content`` does not, and the
#: dtype of its elements.
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
#: Behind them come those of references, which no tensor has.
_DTYPES = {
    number
    for number in types_pb2.DataType.values()
    if types_pb2.DT_INVALID < number < types_pb2.DT_FLOAT_REF
}
#: Their bytes are not those of their values: TensorFlow itself must take them apart.
_ENCODED_DTYPES = {types_pb2.DT_STRING, types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}
_HALF_DTYPES = {types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}
_COMPLEX_DTYPES = {types_pb2.DT_COMPLEX64, types_pb2.DT_COMPLEX128}
_PACKED_DTYPES = _COMPLEX_DTYPES | {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_BOOL}


def dtype_name(dtype: int) -> str:
    """TensorFlow's C++ name of a dtype, as it stands in messages (``float``, ``half``)."""
    names = {types_pb2.DT_FLOAT: "float", types_pb2.DT_DOUBLE: "double", types_pb2.DT_HALF: "half"}
    return names.get(dtype) or str(tf.as_dtype(dtype).name)


def dtype_of(array: Tensor) -> int:
    """TensorFlow's number of an array's dtype."""
    return _number_of_dtype(array.dtype)


@cache
def _number_of_dtype(dtype: np.dtype[Any]) -> int:
    return int(tf.as_dtype(dtype).as_datatype_enum)


@cache
def _numpy_dtype(number: int) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(tf.as_dtype(number).as_numpy_dtype)
    return dtype


def shape_text(shape: Sequence[int]) -> str:
    """A shape as it stands in messages: ``[3,2]``."""
    return f"[{','.join(map(str, shape))}]"


def check_proto(proto: Any) -> None:
    """Hold a TensorProto against the rules of a tensor, at no cost of its size.

    Raises:
        InvalidTensor: no dtype, a shape that is none, or content that does not fill it.
    """
    if proto.dtype not in _DTYPES:
        raise InvalidTensor(f"dtype {proto.dtype} is not that of a tensor")
    elements = _number_of_elements(proto.tensor_shape)
    if elements and proto.tensor_content:
        _check_content(proto, elements)
    elif elements > _MAX_ELEMENTS:
        raise InvalidTensor("the shape has too many elements")


def ndarray_of(proto: Any) -> Tensor:
    """The array of a TensorProto, or its flat tensor where NumPy has no such shape.

    Too few values are filled up with the last one, too many are cut; no value at all is zeros.
    ``tensor_content`` must have the exact length.

    Raises:
        InvalidTensor: no dtype, a shape that is none, or content of another length than the shape
            asks for.
        UnsupportedDtype: a dtype that is no input of a model here.
        TooBig: there are too few values for so big a shape.
    """
    check_proto(proto)
    return array_of_checked(proto)


def array_of_checked(proto: Any) -> Tensor:
    """As ``ndarray_of``, of a TensorProto that ``check_proto`` has passed."""
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
    """``values``, one-dimensional, in ``shape``: cut, or filled up with the last one (or zero).

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
    """Hold a shape's number of dimensions against TensorFlow's limit.

    Raises:
        InvalidTensor: there is no such tensor.
    """
    if len(shape) > _MAX_RANK:
        raise InvalidTensor(f"{len(shape)} dimensions; a tensor has {_MAX_RANK} at most")


def _number_of_elements(shape: Any) -> int:
    """The number of a shape's elements; ``unknown_rank`` is not looked at, as in TensorFlow."""
    check_rank(shape.dim)
    elements = 1
    for dim in shape.dim:
        # A later dimension of 0 does not mend an earlier product that is too big.
        elements *= dim.size
        if dim.size < 0 or elements > _MAX_INT64:
            raise InvalidTensor("the shape is not that of a tensor")
    return elements


def _check_content(proto: Any, elements: int) -> None:
    """Hold ``tensor_content`` against the number of elements."""
    content = proto.tensor_content
    if proto.dtype in _ENCODED_DTYPES:
        # Each element takes a byte at least: a small message cannot ask for much.
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
    """The TensorProto of an array, its values in the typed field of the dtype as TF Serving's."""
    proto = tensor_pb2.TensorProto(dtype=dtype_of(array))
    proto.tensor_shape.SetInParent()  # there for a scalar too
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field, _ = _FIELDS[proto.dtype]
    flat = array.ravel()
    if flat.size and proto.dtype in _PACKED_DTYPES:
        proto.MergeFromString(_encode_packed(field, flat))
        return proto
    if flat.size > _FEW and flat.dtype.kind in "iu" and flat.min() >= 0 and flat.max() < _MAX_BYTE:
        # As a varint such a number is the one byte that it is.
        proto.MergeFromString(_encode_packed(field, flat.astype(np.uint8)))
        return proto
    if proto.dtype in _HALF_DTYPES:
        flat = flat.view(np.uint16)
    getattr(proto, field).extend(flat.tolist())
    return proto


def _encode_packed(field: str, values: npt.NDArray[Any]) -> bytes:
    """A message of the one field, which the wire packs as the array's own bytes.

    To extend the field by a list takes many times longer.
    """
    tag = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    encoded_tag = bytes(
        [tag] if tag < _MAX_BYTE else [tag % _MAX_BYTE + _MAX_BYTE, tag // _MAX_BYTE]
    )
    as_content: bytes = tensor_pb2.TensorProto(tensor_content=values.tobytes()).SerializeToString()
    return encoded_tag + as_content[1:]
