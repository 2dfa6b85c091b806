"""The answer to ``Predict``, read from its bytes, whatever way the server wrote them."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.wire import serving_pb2, tensor_pb2
from kmeans_module.contract import ASSIGN, SIGNATURES, TRANSFORM
from serving.clients.grpc_messages import read_prediction
from serving.clients.operations import Predict
from serving.clients.target import Target
from serving.errors import ServerError

from ..fake_servers import to_tensor

_TARGET = Target("127.0.0.1:8500", "customers")


def asked(rows: int) -> Predict:
    return Predict(_TARGET, SIGNATURES[ASSIGN], {"points": np.zeros((rows, 2), np.float32)})


def answer(rows: int) -> serving_pb2.PredictResponse:
    """An answer of so many rows, its values still to be filled in."""
    message = serving_pb2.PredictResponse()
    message.model_spec.name, message.model_spec.version.value = "customers", 7
    for name, dtype in (("cluster_index", np.int32), ("distance", np.float32)):
        tensor = message.outputs[name]
        tensor.CopyFrom(to_tensor(np.zeros(0, dtype)))
        tensor.tensor_shape.dim[0].size = rows
    return message


def typed(indices: list[int], distances: list[float]) -> serving_pb2.PredictResponse:
    message = answer(len(indices))
    message.outputs["cluster_index"].int_val.extend(indices)
    message.outputs["distance"].float_val.extend(distances)
    return message


def read(sent: bytes, rows: int) -> tuple[Any, Any]:
    prediction = read_prediction(sent, asked(rows))
    assert prediction.version == 7
    for array in prediction.outputs.values():
        assert array.flags.writeable
    return prediction.outputs["cluster_index"], prediction.outputs["distance"]


@given(
    st.lists(
        st.tuples(st.integers(-(2**31), 2**31 - 1), st.floats(width=32, allow_nan=False)),
        max_size=40,
    )
)
def test_typed_fields_give_every_number_that_was_written(rows: list[tuple[int, float]]) -> None:
    indices, distances = [each for each, _ in rows], [each for _, each in rows]
    index, distance = read(typed(indices, distances).SerializeToString(), len(rows))
    assert index.dtype == np.int32
    assert index.tolist() == indices
    np.testing.assert_array_equal(distance, np.array(distances, np.float32))


@pytest.mark.parametrize("indices", [[0, 127], [0, 128], [5, -1], [2**31 - 1, 3]])
def test_an_index_of_one_byte_or_of_several_is_the_same_number(indices: list[int]) -> None:
    index, _ = read(typed(indices, [0.5, 1.5]).SerializeToString(), 2)
    assert index.tolist() == indices


def test_content_is_read_as_the_typed_fields_are() -> None:
    message = answer(3)
    message.outputs["cluster_index"].tensor_content = np.array([1, -1, 300], "<i4").tobytes()
    message.outputs["distance"].tensor_content = np.array([0.5, -1, 2], "<f4").tobytes()
    index, distance = read(message.SerializeToString(), 3)
    assert index.tolist() == [1, -1, 300]
    assert distance.tolist() == [0.5, -1, 2]


def test_the_last_number_stands_for_those_that_are_left_out() -> None:
    message = answer(4)
    message.outputs["cluster_index"].int_val.extend([2, 9])
    index, distance = read(message.SerializeToString(), 4)
    assert index.tolist() == [2, 9, 9, 9]
    assert distance.tolist() == [0, 0, 0, 0]


def field(number: int, kind: int, content: bytes) -> bytes:
    """A field on the wire; ``kind`` 2 is of bytes, 5 of four bytes without a length."""
    length = bytes([len(content)]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + length + content


@pytest.mark.parametrize(
    "values",
    [
        b"".join(field(5, 5, struct.pack("<f", each)) for each in (0.5, 1.5, 2.5)),
        field(5, 2, struct.pack("<f", 0.5)) + field(5, 2, struct.pack("<2f", 1.5, 2.5)),
        field(5, 2, struct.pack("<2f", 0.5, 1.5)) + field(5, 5, struct.pack("<f", 2.5)),
    ],
    ids=["one by one", "in two pieces", "packed, then one alone"],
)
def test_a_field_that_is_not_written_in_one_piece_loses_no_number(values: bytes) -> None:
    header = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT)
    header.tensor_shape.dim.add(size=3)
    tensor = header.SerializeToString() + values
    entry = field(1, 2, b"distance") + field(2, 2, tensor)
    message = answer(3)
    del message.outputs["distance"]
    index, distance = read(message.SerializeToString() + field(1, 2, entry), 3)
    assert index.tolist() == [0, 0, 0]
    assert distance.tolist() == [0.5, 1.5, 2.5]


def test_a_piece_as_long_as_the_shape_does_not_hide_another() -> None:
    message = typed([1, 2], [0.5, 1.5])
    tensor = message.outputs["distance"].SerializeToString()
    entry = field(1, 2, b"distance") + field(2, 2, tensor + field(5, 2, struct.pack("<2f", 7, 8)))
    del message.outputs["distance"]
    with pytest.raises(ServerError, match="distance cannot be read: 4 values do not fill"):
        read(message.SerializeToString() + field(1, 2, entry), 2)


@pytest.mark.parametrize(
    "sent", [b"\xff", typed([1], [0.5]).SerializeToString()[:-1]], ids=["no message", "cut short"]
)
def test_bytes_that_are_no_answer_are_the_servers_error(sent: bytes) -> None:
    with pytest.raises(ServerError, match="the answer cannot be read"):
        read_prediction(sent, asked(1))


def test_content_of_another_length_is_the_servers_error() -> None:
    message = answer(2)
    message.outputs["cluster_index"].tensor_content = b"12345"
    with pytest.raises(ServerError, match="the output cluster_index cannot be read"):
        read_prediction(message.SerializeToString(), asked(2))


@pytest.mark.parametrize("size", [-1, 2**62])
def test_a_shape_that_no_array_has_is_the_servers_error(size: int) -> None:
    message = serving_pb2.PredictResponse()
    tensor = message.outputs["all_distances"]
    tensor.dtype = tensor_pb2.DT_FLOAT
    for each in (0, size):
        tensor.tensor_shape.dim.add(size=each)
    asks = Predict(_TARGET, SIGNATURES[TRANSFORM], {"points": np.zeros((0, 2), np.float32)})
    with pytest.raises(ServerError, match="the output all_distances cannot be read"):
        read_prediction(message.SerializeToString(), asks)


@pytest.mark.parametrize("longest", [b"\x80" * 10 + b"\x01", b"\x80"], ids=["too long", "cut"])
def test_bytes_that_are_no_integers_are_the_servers_error(longest: bytes) -> None:
    tensor = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_INT32)
    tensor.tensor_shape.dim.add(size=1)
    entry = field(1, 2, b"cluster_index") + field(
        2, 2, tensor.SerializeToString() + field(7, 2, longest)
    )
    message = typed([1], [0.5])
    del message.outputs["cluster_index"]
    with pytest.raises(ServerError, match="cannot be read"):
        read(message.SerializeToString() + field(1, 2, entry), 1)
