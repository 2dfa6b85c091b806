"""Convert NumPy arrays to tensors of protobuf, and back. Does not import TensorFlow."""

import math
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export.wire import packed_pb2, tensor_pb2

from .options import MAX_MESSAGE_BYTES

# dtype on the wire -> the dtype of its elements in tensor_content, and the typed field of values.
_DTYPES: Final[Mapping[tensor_pb2.DataType, tuple[np.dtype[Any], str]]] = MappingProxyType(
    {
        tensor_pb2.DT_FLOAT: (np.dtype("<f4"), "float_val"),
        tensor_pb2.DT_DOUBLE: (np.dtype("<f8"), "double_val"),
        tensor_pb2.DT_INT32: (np.dtype("<i4"), "int_val"),
        tensor_pb2.DT_INT64: (np.dtype("<i8"), "int64_val"),
        tensor_pb2.DT_BOOL: (np.dtype("bool"), "bool_val"),
    }
)
_NATIVE: Final = MappingProxyType({d: d.newbyteorder("=") for d, _ in _DTYPES.values()})
# By kind and size, such as "f4": in NumPy the name of a dtype takes longer than the rest of a small
# tensor.
_ENUMS: Final = MappingProxyType({dtype.str[1:]: enum for enum, (dtype, _) in _DTYPES.items()})
_NAMES: Final = MappingProxyType({enum: dtype.name for enum, (dtype, _) in _DTYPES.items()})
_IS_LITTLE: Final = sys.byteorder == "little"
#: The most bytes of a 64-bit number, with seven bits in each byte.
_LONGEST_VARINT: Final = 10


def tensor_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tensor_pb2.TensorProto:
    """Make the tensor of an array of float32, float64, int32, int64 or bool, without its content.

    Raises:
        ValueError: the array has another dtype, or is larger than the largest message.
    """
    enum = _ENUMS.get(dtype.str[1:])
    if enum is None:
        known = ", ".join(_NAMES.values())
        raise ValueError(f"{dtype} has no tensor dtype; use {known}")
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(
            f"an array of {size} bytes does not fit a message of at most "
            f"{MAX_MESSAGE_BYTES}; send fewer rows in one call"
        )
    tensor = tensor_pb2.TensorProto(dtype=enum)
    for each in shape:
        tensor.tensor_shape.dim.add(size=each)
    return tensor


def tensor_bytes(array: NDArray[Any]) -> memoryview | NDArray[Any]:
    """Return the content of a tensor as a buffer: the elements in row-major order, little-endian.

    An array with this layout is not copied.
    """
    if _IS_LITTLE and array.dtype.isnative and array.flags.c_contiguous:
        return array
    dtype = _DTYPES[_ENUMS[array.dtype.str[1:]]][0]
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def to_array(tensor: tensor_pb2.TensorProto) -> NDArray[Any]:
    """Return the array of a tensor with values in ``tensor_content`` or in its typed field.

    As in TensorFlow, the last value of a typed field is repeated for omitted values, and a tensor
    without values is zeros.

    Raises:
        ValueError: the dtype is unknown, the values do not fill the shape, or a few repeated values
            exceed the largest message.
    """
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"a tensor of {dtype_name(tensor.dtype)} cannot be read")
    dtype, field = _DTYPES[tensor.dtype]
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError("a tensor of unknown shape cannot be read")
    size = math.prod(shape)
    if size * dtype.itemsize > MAX_MESSAGE_BYTES:
        raise ValueError(f"a tensor of shape {list(shape)} is larger than any message")
    content = tensor.tensor_content
    if content:
        values = np.frombuffer(content, dtype)  # another length: ValueError
    else:
        values = np.array(getattr(tensor, field), dtype)
        if values.size < size:
            last = values[-1:] if values.size else np.zeros(1, dtype)
            values = np.concatenate([values, np.broadcast_to(last, size - values.size)])
    if values.size != size:
        raise ValueError(f"{values.size} values do not fill a tensor of shape {list(shape)}")
    # A copy if protobuf owns the bytes, because callers may write into the array.
    return values.reshape(shape).astype(dtype.newbyteorder("="), copy=not values.flags.writeable)


@lru_cache
def read_sizes(shape: bytes) -> tuple[int, ...]:
    """Read the sizes of a shape from the bytes of its message. Raises DecodeError."""
    return tuple(dim.size for dim in tensor_pb2.TensorShapeProto.FromString(shape).dim)


def packed_array(tensor: packed_pb2.PackedTensor, shape: Sequence[int]) -> NDArray[Any] | None:
    """Return the array of a tensor with a known dtype, this shape and all values as bytes.

    None if values are omitted, or if the bytes alone are ambiguous.

    Raises:
        ValueError: the shape is invalid.
    """
    dtype, field = _DTYPES[tensor.dtype]
    content = tensor.tensor_content
    if not content:
        content = getattr(tensor, field)
        if dtype.kind != "f":
            # Numbers below 128 have one byte each; checking this on bytes is faster than with
            # NumPy.
            numbers = np.frombuffer(content, np.uint8)
            found = numbers if content.isascii() else _varints(numbers)
            if found is None or found.size != math.prod(shape):
                return None
            return found.astype(_NATIVE[dtype]).reshape(shape)
    if len(content) != math.prod(shape) * dtype.itemsize:
        return None
    return np.frombuffer(content, dtype).astype(_NATIVE[dtype]).reshape(shape)


def _varints(content: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Decode a sequence of integers of protobuf; None if the bytes are invalid.

    Each byte has seven bits of the number, lowest bits first; the eighth bit marks that more bytes
    follow.
    """
    ends = np.flatnonzero(content < 0x80)
    if not ends.size or ends[-1] != content.size - 1:
        return None
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _LONGEST_VARINT:
        return None
    numbers = (content[starts] & 0x7F).astype(np.uint64)
    longer = np.arange(ends.size)
    for place in range(1, longest):
        longer = longer[lengths[longer] > place]
        bits = (content[starts[longer] + place] & 0x7F).astype(np.uint64)
        numbers[longer] |= bits << np.uint64(7 * place)
    signed: NDArray[np.int64] = numbers.view(np.int64)
    return signed


def dtype_name(enum: tensor_pb2.DataType) -> str:
    """Return NumPy's name of a dtype of protobuf, such as ``float32``; ``string`` for bytes."""
    if enum in _NAMES:
        return _NAMES[enum]
    if enum not in tensor_pb2.DataType.values():
        return f"dtype {enum}"
    name = tensor_pb2.DataType.Name(enum).removeprefix("DT_").lower()
    return "float16" if name == "half" else name
