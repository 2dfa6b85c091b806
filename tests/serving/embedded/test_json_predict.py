"""Predict bodies: which JSON is which tensor, and TF Serving's words for the rest."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from tensorflow.core.framework import types_pb2

from serving.embedded import json_predict
from serving.embedded.json_parser import read_json
from serving.embedded.json_predict import predict_text, read_predict_body
from serving.embedded.status import Code, StatusError


def _inputs(**dtypes: str) -> dict[str, Any]:
    """TensorInfos of unknown rank by name."""
    return {
        name: SimpleNamespace(
            dtype=types_pb2.DataType.Value(f"DT_{dtype}"),
            name=f"{name}:0",
            tensor_shape=SimpleNamespace(unknown_rank=True, dim=[]),
        )
        for name, dtype in dtypes.items()
    }


def _read(body: Any, **dtypes: str) -> dict[str, Any]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_predict_body(read_json(text), "", _inputs(**dtypes))[0]


def _refusal(body: Any, **dtypes: str) -> str:
    with pytest.raises(StatusError) as caught:
        _read(body, **dtypes)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


_IN_ELEMENT = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("value", "dtype", "array"),
    [
        ([1, 2.5], "FLOAT", np.array([1, 2.5], np.float32)),
        ([[1], [2]], "DOUBLE", np.array([[1.0], [2.0]])),
        (7, "INT64", np.array(7)),
        ([], "FLOAT", np.zeros(0, np.float32)),
        ([[]], "INT32", np.zeros((1, 0), np.int32)),
        ([300, -1], "UINT8", np.array([44, 255], np.uint8)),
        ([40000], "INT16", np.array([-25536], np.int16)),
        ([2**64 - 1], "UINT64", np.array([2**64 - 1], np.uint64)),
        ([True], "BOOL", np.array([True])),
        (["ä", ""], "STRING", np.array(["ä".encode(), b""], object)),
        ([{"b64": "AP8="}, "a"], "STRING", np.array([b"\x00\xff", b"a"], object)),
        ([1e39, -1e39, 1e-60, -3e-45], "FLOAT", np.array([np.inf, -np.inf, 0, -0.0], np.float32)),
    ],
)
def test_columns_are_tensors(value: Any, dtype: str, array: npt.NDArray[Any]) -> None:
    for body in ({"inputs": value}, {"inputs": {"x": value, "more": 1}}):
        read = _read(body, x=dtype)["x"]
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
        if array.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(read), np.signbit(array))


def test_rows_are_stacked() -> None:
    assert _read({"instances": [[1, 2], [3, 4]]}, x="FLOAT")["x"].shape == (2, 2)
    rows = _read({"instances": [{"a": 1, "b": "x"}, {"b": "y", "a": 2}]}, a="INT32", b="STRING")
    assert rows["a"].tolist() == [1, 2]
    assert rows["b"].tolist() == [b"x", b"y"]


def test_a_name_given_twice_in_an_instance_adds_its_values_twice() -> None:
    """As in TF Serving, which then cuts the values to the shape."""
    body = b'{"instances": [{"x": [1, 2], "x": [3, 4]}, {"x": [5, 6], "x": [7, 8]}]}'
    assert _read(body, x="FLOAT")["x"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [[1, 2], [3]]}, "Expecting tensor size: 2 but got: 1"),
        ({"instances": [[[1, 2]], [[1], [2]]]}, "Expecting shape [1,2] but got: [2,1]"),
        (
            {"instances": [[[1], 2]]},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ({"instances": [[1, [2]]]}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            {"instances": [[[1, 2], [3]]]},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            {"instances": [[None]]},
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            {"instances": [[{"a": 1}]]},
            'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: float',
        ),
    ],
)
def test_irregular_instances_are_told_with_their_element(body: Any, said: str) -> None:
    index = 1 if "Expecting" in said else 0
    assert _refusal(body, x="FLOAT") == _IN_ELEMENT.replace("0", str(index)) + said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": 1}, 'JSON Value: {\n    "instances": 1\n} Expecting'),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [], "inputs": []}, "keys to exist "),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [2, {"x": 1}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"y": 1}]}, "element: 0 key: y of 'instances' list. Error: INVALID"),
        ({"instances": [{"x": 1}, {}]}, "element: 1 of 'instances' list. JSON object: {} keys"),
        ({"inputs": {"y": 1}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": {"b64": "AA=="}}, "Type: Object is not of expected type: float"),
    ],
)
def test_bodies_of_another_form_are_told(body: Any, said: str) -> None:
    assert said in _refusal(body, x="FLOAT")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.0, "INT32"),
        (2**31, "INT32"),
        (2**31, "INT8"),
        (-1, "UINT32"),
        (-1, "UINT64"),
        (2**63, "INT64"),
        (True, "INT32"),
        (True, "FLOAT"),
        ("1", "FLOAT"),
        ("1", "INT64"),
        (1, "BOOL"),
        ("true", "BOOL"),
        (1, "STRING"),
        (None, "STRING"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, dtype: str) -> None:
    said = _refusal({"inputs": [value]}, x=dtype)
    assert said.startswith(f"JSON Value: {json.dumps(value)} Type: ")
    assert said.endswith(f" is not of expected type: {dtype.lower()}")


@pytest.mark.parametrize("dtype", ["HALF", "BFLOAT16", "COMPLEX64", "UINT16"])
def test_a_dtype_that_json_has_not_is_unimplemented(dtype: str) -> None:
    with pytest.raises(StatusError) as caught:
        _read({"inputs": [1]}, x=dtype)
    assert caught.value.code is Code.UNIMPLEMENTED
    assert caught.value.message == f"Conversion of JSON Value: 1 to type: {dtype.lower()}"


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [
        ("", b""),
        ("AP8=", b"\0\xff"),
        ("AP8", b"\0\xff"),
        (" A P\n8=", b"\0\xff"),
        ("AP8.", b"\0\xff"),
    ],
)
def test_base64_may_lack_its_padding_and_have_space(encoded: str, decoded: bytes) -> None:
    assert _read({"inputs": [{"b64": encoded}]}, x="STRING")["x"].tolist() == [decoded]


@pytest.mark.parametrize("encoded", ["*", "A", "AP8==", "AAA=A", "____", "AAAA="])
def test_what_is_no_base64_is_refused(encoded: str) -> None:
    assert _refusal({"inputs": [{"b64": encoded}]}, x="STRING") == "Unable to base64 decode"


def test_several_inputs_need_names() -> None:
    assert _refusal({"instances": [[1]]}, a="FLOAT", b="FLOAT").startswith("instances is a plain")
    assert _refusal({"inputs": [[1]]}, a="FLOAT", b="FLOAT").startswith("inputs is a plain")
    assert _refusal({"inputs": {"a": 1}}, a="FLOAT", b="FLOAT") == (
        "Missing named input: b in 'inputs' object."
    )


def test_a_signature_without_inputs_cannot_be_asked() -> None:
    assert _refusal({"inputs": {}}) == "Failed to get input map for signature: DEFAULT"


def test_more_dimensions_than_a_tensor_has_are_no_tensor() -> None:
    body = b'{"inputs": ' + b"[" * 2000 + b"]" * 2000 + b"}"
    assert _refusal(body, x="FLOAT") == "tensor parsing error: x"


_shapes = stnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3)


@given(stnp.arrays(np.float32, _shapes, elements=st.floats(-1e6, 1e6, width=32)))
def test_the_quick_way_and_the_walk_give_the_same(array: npt.NDArray[Any]) -> None:
    inputs = _inputs(x="FLOAT")
    quick = json_predict._regular_array(array.tolist(), types_pb2.DT_FLOAT)
    tensor = json_predict._Tensor(types_pb2.DT_FLOAT)
    tensor.add(array.tolist())
    walked = tensor.array(inputs, "x", tensor.shape)
    assert quick is not None
    np.testing.assert_array_equal(quick, walked)


@given(stnp.arrays(np.float32, _shapes, elements=st.floats(-1e6, 1e6, width=32)))
def test_answers_are_json_that_gives_the_arrays_again(array: npt.NDArray[Any]) -> None:
    normal = np.where(np.abs(array) < np.finfo(np.float32).smallest_normal, 0, array)
    column = json.loads(predict_text({"y": array}, is_row=False))["outputs"]
    assert np.array_equal(np.array(column, np.float32).ravel(), normal.ravel())
    counts = np.arange(len(array), dtype=np.int32)
    rows = json.loads(predict_text({"y": array, "n": counts}, is_row=True))["predictions"]
    assert [row["n"] for row in rows] == counts.tolist()
    assert [np.array(row["y"], np.float32).tolist() for row in rows] == normal.tolist()


def test_row_format_needs_a_common_first_dimension() -> None:
    scalar, two, one = np.array(1.0), np.zeros(2), np.zeros(1)
    with pytest.raises(StatusError, match="Tensor name: s has no shape information "):
        predict_text({"s": scalar}, is_row=True)
    with pytest.raises(StatusError, match="z has inconsistent batch size: 1 expecting: 2"):
        predict_text({"y": two, "z": one}, is_row=True)
    assert predict_text({"y": np.zeros(0)}, is_row=True) == '{\n    "predictions": []\n}'


def test_an_output_that_json_has_not_is_told() -> None:
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: half"):
        predict_text({"y": np.zeros(1, np.float16)}, is_row=False)
