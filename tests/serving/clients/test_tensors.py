"""Arrays become tensors and come back, from either of the two encodings."""

from typing import Any

import numpy as np
import pytest

from export.wire import tensor_pb2
from serving.clients.tensors import dtype_name, to_array

from ..fake_servers import to_tensor

DTYPES = ["float32", "float64", "int32", "int64", "bool"]
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
}


def typed(dtype: str, shape: list[int], values: list[Any]) -> tensor_pb2.TensorProto:
    """A tensor with its values in the typed field."""
    tensor = to_tensor(np.zeros(0, dtype))
    tensor.ClearField("tensor_shape")
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, FIELDS[dtype]).extend(values)
    return tensor


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3), (2, 1, 4)])
def test_an_array_comes_back_as_it_went(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    back = to_array(to_tensor(array))
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        np.arange(4, dtype=">f4"),
        np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    ],
    ids=["transposed", "strided", "big-endian", "Fortran order"],
)
def test_the_layout_in_memory_does_not_matter(array: Any) -> None:
    np.testing.assert_array_equal(to_array(to_tensor(array)), array)


def test_bits_survive() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    back = to_array(to_tensor(bits.view(np.float32)))
    np.testing.assert_array_equal(back.view(np.uint32), bits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "values", "expected"),
    [
        ([2, 2], [1, 0, 0, 1], [[1, 0], [0, 1]]),
        ([], [1], 1),
        ([0], [], []),
        ([2, 2], [1], [[1, 1], [1, 1]]),
        ([4], [0, 1], [0, 1, 1, 1]),
        ([2], [], [0, 0]),
    ],
    ids=["all", "scalar", "none", "one for all", "last for the rest", "none is zeros"],
)
def test_typed_values_fill_the_shape_as_in_tensorflow(
    dtype: str, shape: list[int], values: list[Any], expected: Any
) -> None:
    array = to_array(typed(dtype, shape, values))
    assert array.dtype == np.dtype(dtype)
    assert array.flags.writeable
    np.testing.assert_array_equal(array, np.array(expected, dtype))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (typed("float32", [2], [1, 2, 3]), r"3 values do not fill a tensor of shape \[2\]"),
        (typed("float32", [-1], [1]), "unknown shape"),
        (typed("float32", [2**33], [1]), r"shape \[8589934592\] is larger than any message"),
        (typed("bool", [2**40, 2**40], []), "larger than any message"),
        (tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING), "a tensor of string cannot be read"),
        (tensor_pb2.TensorProto(), "a tensor of invalid cannot be read"),
        (
            tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_content=b"12345"),
            "multiple of element size",
        ),
    ],
    ids=[
        "too many",
        "unknown shape",
        "one for too many",
        "none for too many",
        "string",
        "no dtype",
        "cut content",
    ],
)
def test_a_tensor_that_cannot_be_read_says_why(tensor: tensor_pb2.TensorProto, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_array(tensor)


def test_a_tensor_larger_than_a_message_is_refused_before_it_is_copied() -> None:
    huge = np.broadcast_to(np.float32(0), (2**15, 2**15))  # 4 GiB, of which 4 bytes exist
    with pytest.raises(ValueError, match=r"4294967296 bytes does not fit .* send fewer rows"):
        to_tensor(huge)


def test_an_array_without_a_tensor_is_refused() -> None:
    with pytest.raises(ValueError, match="complex128 has no tensor dtype"):
        to_tensor(np.zeros(1, complex))


@pytest.mark.parametrize(
    ("enum", "name"),
    [
        (tensor_pb2.DT_FLOAT, "float32"),
        (tensor_pb2.DT_INT64, "int64"),
        (tensor_pb2.DT_STRING, "string"),
        (tensor_pb2.DT_HALF, "float16"),
        (tensor_pb2.DT_UINT8, "uint8"),
        (999, "dtype 999"),
    ],
)
def test_dtypes_have_numpys_names(enum: tensor_pb2.DataType, name: str) -> None:
    assert dtype_name(enum) == name
