"""TensorProtos are read by the rules of TensorFlow's servers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.embedded.tensor_proto import (
    InvalidTensor,
    TooBig,
    TooManyDimensions,
    ndarray_of,
    proto_of,
)

_ARRAYS = [
    np.array([[1.5, -2], [np.nan, np.inf]], np.float32),
    np.array(0.1),
    np.array([-128, 127], np.int8),
    np.array([255], np.uint8),
    np.array([-(2**15)], np.int16),
    np.array([2**16 - 1], np.uint16),
    np.array([-(2**31)], np.int32),
    np.array([-(2**63)], np.int64),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array([b"", b"\x00\xff"], object),
    np.array([1.5, -0.0], np.float16),
    np.array([1 + 2j], np.complex64),
    np.array([1 - 2j], np.complex128),
    np.zeros((0, 3), np.float32),
]


@pytest.mark.parametrize("array", _ARRAYS, ids=lambda array: str(array.dtype))
def test_an_array_comes_back_from_its_proto(array: npt.NDArray[Any]) -> None:
    proto = proto_of(array)
    assert not proto.tensor_content
    for read in (ndarray_of(proto), tf.make_ndarray(proto)):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("array", _ARRAYS, ids=lambda array: str(array.dtype))
def test_protos_of_tensorflow_are_read(array: npt.NDArray[Any]) -> None:
    """TensorFlow packs numbers into ``tensor_content`` and leaves repeated last values out."""
    np.testing.assert_array_equal(ndarray_of(tf.make_tensor_proto(array)), array)


def _floats(values: list[float], *shape: int) -> Any:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_missing_values_repeat_the_last_and_no_value_is_zero() -> None:
    assert ndarray_of(_floats([1, 2], 2, 2)).tolist() == [[1, 2], [2, 2]]
    assert ndarray_of(_floats([], 2)).tolist() == [0, 0]


def test_values_too_many_are_cut() -> None:
    assert ndarray_of(_floats([1, 2, 3], 1, 2)).tolist() == [[1, 2]]


def test_content_must_have_the_exact_length() -> None:
    for size in (4, 12):
        proto = _floats([], 2)
        proto.tensor_content = bytes(size)
        with pytest.raises(InvalidTensor, match=f"{size} bytes; the shape needs 8"):
            ndarray_of(proto)


def test_what_is_no_tensor_is_refused() -> None:
    unknown = _floats([1])
    unknown.tensor_shape.unknown_rank = True
    without_dtype = _floats([1], 1)
    without_dtype.dtype = types_pb2.DT_INVALID
    huge = _floats([1], 2**31, 2**31)
    # NumPy has no such array, though it would be without elements; the fuzz found it.
    empty = _floats([1], 0, 2**62, 2)
    for proto in (unknown, without_dtype, huge, empty, _floats([1], -1), _floats([1], *[1] * 255)):
        with pytest.raises(InvalidTensor):
            ndarray_of(proto)


def test_more_dimensions_than_numpy_has_are_told_apart() -> None:
    with pytest.raises(TooManyDimensions) as caught:
        ndarray_of(_floats([1], *[1] * 100))
    assert caught.value.shape == (1,) * 100


def test_a_value_is_not_repeated_until_memory_is_full() -> None:
    with pytest.raises(TooBig, match=r"OOM when allocating tensor with shape\[536870913\]"):
        ndarray_of(_floats([1], 2**29 + 1))
