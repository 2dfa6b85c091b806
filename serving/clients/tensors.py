"""NumPy arrays as tensors on the wire, and back. Imports no TensorFlow."""

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
# By kind and size, as in "f4": a dtype's name takes NumPy longer than the rest of a small tensor.
_ENUMS: Final = MappingProxyType({dtype.str[1:]: enum for enum, (dtype, _) in _DTYPES.items()})
_NAMES: Final = MappingProxyType({enum: dtype.name for enum, (dtype, _) in _DTYPES.items()})
_IS_LITTLE: Final = sys.byteorder == "little"
#: Of 64 bits, seven in a byte.
_LONGEST_VARINT: Final = 10


def tensor_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tensor_pb2.TensorProto:
    """The tensor of an array of float32, float64, int32, int64 or bool, without its content.

    Raises:
        ValueError: the array is of another dtype, or larger than a message can be.
    """
    enum = _ENUMS.get(dtype.str[1:])
    if enum is None:
        known = ", ".join(_NAMES.values())
        raise ValueError(f"an array of {dtype} has no tensor; known are {known}")
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
    """The content of a tensor as a buffer: the elements, row by row, low bytes first.

    They are copied only where they are not so; else the buffer is the array itself.
    """
    if _IS_LITTLE and array.dtype.isnative and array.flags.c_contiguous:
        return array
    dtype = _DTYPES[_ENUMS[array.dtype.str[1:]]][0]
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def to_array(tensor: tensor_pb2.TensorProto) -> NDArray[Any]:
    """The array of a tensor whose values are in ``tensor_content`` or in its typed field.

    As in TensorFlow, the last value of a typed field stands for all that are left out, and a
    tensor without values is zeros.

    Raises:
        ValueError: the tensor is of an unknown dtype, its values do not fill its shape, or a few
            stand for more than a message holds.
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
        values = np.frombuffer(content, dtype)  # of another length: ValueError
    else:
        values = np.array(getattr(tensor, field), dtype)
        if values.size < size:
            last = values[-1:] if values.size else np.zeros(1, dtype)
            values = np.concatenate([values, np.broadcast_to(last, size - values.size)])
    if values.size != size:
        raise ValueError(f"{values.size} values do not fill a tensor of shape {list(shape)}")
    # A copy where the bytes are protobuf's: what a caller gets is the caller's to write into.
    return values.reshape(shape).astype(dtype.newbyteorder("="), copy=not values.flags.writeable)


@lru_cache
def read_sizes(shape: bytes) -> tuple[int, ...]:
    """The sizes of a shape, of the bytes of its message. Raises DecodeError."""
    return tuple(dim.size for dim in tensor_pb2.TensorShapeProto.FromString(shape).dim)


def packed_array(tensor: packed_pb2.PackedTensor, shape: Sequence[int]) -> NDArray[Any] | None:
    """The array of a tensor of a known dtype and this shape, whose values all stand there as bytes.

    None where some are left out, or more is there than can be told of the bytes alone.

    Raises:
        ValueError: it is no shape.
    """
    dtype, field = _DTYPES[tensor.dtype]
    content = tensor.tensor_content
    if not content:
        content = getattr(tensor, field)
        if dtype.kind != "f":
            # Numbers below 128 have a byte each, and bytes tell that sooner than NumPy.
            numbers = np.frombuffer(content, np.uint8)
            found = numbers if content.isascii() else _varints(numbers)
            if found is None or found.size != math.prod(shape):
                return None
            return found.astype(_NATIVE[dtype]).reshape(shape)
    if len(content) != math.prod(shape) * dtype.itemsize:
        return None
    return np.frombuffer(content, dtype).astype(_NATIVE[dtype]).reshape(shape)


def _varints(content: NDArray[np.uint8]) -> NDArray[Any] | None:
    """The integers that protobuf wrote one after the other; None where the bytes are none.

    Of each byte seven bits count, the lowest come first, and the eighth says that more follow.
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
    """NumPy's name of a dtype on the wire, such as ``float32``; ``string`` for bytes."""
    if enum in _NAMES:
        return _NAMES[enum]
    if enum not in tensor_pb2.DataType.values():
        return f"dtype {enum}"
    name = tensor_pb2.DataType.Name(enum).removeprefix("DT_").lower()
    return "float16" if name == "half" else name
