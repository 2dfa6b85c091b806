"""TensorProtos are read by the rules of TensorFlow's servers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.embedded.flat_tensor import FlatTensor
from serving.embedded.tensor_proto import (
    InvalidTensor,
    TooBig,
    UnsupportedDtype,
    check_proto,
    ndarray_of,
    proto_of,
)


def _read(proto: Any) -> Any:
    """The array of a TensorProto, or its flat tensor."""
    return ndarray_of(proto)


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
    # Many small numbers, all of them a byte on the wire, and all but one.
    *(np.arange(128).reshape(2, 64).astype(kind) for kind in (np.int8, np.int32, np.uint64)),
    np.arange(-1, 127, dtype=np.int32),
    np.arange(1, 129, dtype=np.int64),
]


@pytest.mark.parametrize("array", _ARRAYS, ids=lambda array: str(array.dtype))
def test_an_array_comes_back_from_its_proto(array: npt.NDArray[Any]) -> None:
    proto = proto_of(array)
    assert not proto.tensor_content
    for read in (_read(proto), tf.make_ndarray(proto)):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("array", _ARRAYS, ids=lambda array: str(array.dtype))
def test_protos_of_tensorflow_are_read(array: npt.NDArray[Any]) -> None:
    """TensorFlow packs numbers into ``tensor_content`` and leaves repeated last values out."""
    np.testing.assert_array_equal(_read(tf.make_tensor_proto(array)), array)


def _floats(values: list[float], *shape: int) -> Any:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_missing_values_repeat_the_last_and_no_value_is_zero() -> None:
    assert _read(_floats([1, 2], 2, 2)).tolist() == [[1, 2], [2, 2]]
    assert _read(_floats([], 2)).tolist() == [0, 0]


def test_values_too_many_are_cut() -> None:
    assert _read(_floats([1, 2, 3], 1, 2)).tolist() == [[1, 2]]


def test_content_must_have_the_exact_length() -> None:
    for size in (4, 12):
        proto = _floats([], 2)
        proto.tensor_content = bytes(size)
        with pytest.raises(InvalidTensor, match=f"{size} bytes; the shape needs 8"):
            _read(proto)


def test_what_is_no_tensor_is_refused() -> None:
    without_dtype = _floats([1], 1)
    without_dtype.dtype = types_pb2.DT_INVALID
    huge = _floats([1], 2**31, 2**31)
    for proto in (without_dtype, huge, _floats([1], -1), _floats([1], *[1] * 255)):
        with pytest.raises(InvalidTensor):
            _read(proto)


def test_a_shape_without_elements_may_be_beyond_numpy() -> None:
    proto = _floats([1], 0, 2**62, 2**62)
    check_proto(proto)
    tensor = _read(proto)
    assert isinstance(tensor, FlatTensor)
    assert (tensor.shape, len(tensor.values)) == ((0, 2**62, 2**62), 0)


def _tensor(dtype: int, shape: list[int], **fields: Any) -> Any:
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _of_unknown_rank(proto: Any) -> Any:
    proto.tensor_shape.unknown_rank = True
    return proto


def _tensorflow_reads(proto: Any) -> Any:
    """What TensorFlow's own reader makes of a proto; None when it is no tensor."""
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), proto.dtype)
    except (tf.errors.InvalidArgumentError, TypeError):
        return None


def _is_tensor(proto: Any) -> bool:
    try:
        check_proto(proto)
    except InvalidTensor:
        return False
    return True


def test_strings_in_content_are_lengths_and_then_bytes() -> None:
    proto = _tensor(types_pb2.DT_STRING, [2], tensor_content=b"\1\2abb")
    assert _read(proto).tolist() == [b"a", b"bb"]
    scalar = _tensor(types_pb2.DT_STRING, [], tensor_content=b"\1a")
    assert _read(scalar).shape == ()
    assert _read(scalar).item() == b"a"
    # As many bytes as pointers would take: these are never taken for pointers.
    ended = _tensor(types_pb2.DT_STRING, [1], tensor_content=b"\7aaaaaaa")
    assert _read(ended).tolist() == [b"a" * 7]


@pytest.mark.parametrize(
    "proto",
    [
        _tensor(1, [0], tensor_content=bytes(4)),
        _of_unknown_rank(_tensor(1, [], float_val=[2])),
        _of_unknown_rank(_tensor(1, [2], float_val=[2])),
        _tensor(1, [0, 2**62, 2**62]),
        _tensor(1, [2**62, 2**62, 0]),
        _tensor(1, [1] * 255),
        _tensor(1, [2, -1]),
        _tensor(999, [1]),
        _tensor(types_pb2.DT_FLOAT_REF, [1]),
        *(_tensor(types_pb2.DT_BOOL, [2], tensor_content=c) for c in (b"\2\0", b"\1\0", b"\0")),
        *(
            _tensor(types_pb2.DT_STRING, [2], tensor_content=c)
            for c in (b"\1\2abb", b"\1\2abbx", b"\1\2ab", b"\0", b"\x80" * 10 + b"\1", b"\0\0")
        ),
    ],
    ids=repr,
)
def test_what_is_a_tensor_is_what_tensorflow_takes_for_one(proto: Any) -> None:
    assert _is_tensor(proto) == (_tensorflow_reads(proto) is not None)


@pytest.mark.parametrize("dtype", range(types_pb2.DT_UINT4 + 1))
def test_every_dtype_is_a_tensor_where_tensorflow_says_so(dtype: int) -> None:
    for proto in (
        _tensor(dtype, [1]),
        _tensor(dtype, [0]),
        _tensor(dtype, [2]),
        *(_tensor(dtype, [2], tensor_content=bytes(n)) for n in (1, 2, 4, 8, 16, 32)),
    ):
        assert _is_tensor(proto) == (_tensorflow_reads(proto) is not None), proto


def test_a_dtype_that_numpy_has_not_is_a_tensor_all_the_same() -> None:
    with pytest.raises(UnsupportedDtype):
        _read(_tensor(types_pb2.DT_QINT8, [1]))


@given(
    content=st.one_of(
        st.binary(max_size=12),
        # Lengths, then bytes: near enough to what is right to be it now and then.
        st.lists(st.binary(max_size=3), max_size=4).map(
            lambda strings: bytes(map(len, strings)) + b"".join(strings)
        ),
    ),
    dtype=st.sampled_from([1, 3, 4, 5, 7, 7, 7, 10, 19]),
    shape=st.lists(st.integers(0, 4), max_size=3),
)
def test_content_is_read_as_tensorflow_reads_it(
    content: bytes, dtype: int, shape: list[int]
) -> None:
    proto = _tensor(dtype, shape, tensor_content=content)
    read = _tensorflow_reads(proto)
    assert _is_tensor(proto) == (read is not None)
    if read is not None:
        np.testing.assert_array_equal(_read(proto), read.numpy())


def test_more_dimensions_than_numpy_has_are_kept_beside_the_values() -> None:
    tensor = _read(_floats([5, 6], *[1] * 99, 2))
    assert isinstance(tensor, FlatTensor)
    assert tensor.shape == (*[1] * 99, 2)
    assert tensor.values.tolist() == [5, 6]


def test_a_value_is_not_repeated_until_memory_is_full() -> None:
    with pytest.raises(TooBig, match=r"OOM when allocating tensor with shape\[536870913\]"):
        _read(_floats([1], 2**29 + 1))
