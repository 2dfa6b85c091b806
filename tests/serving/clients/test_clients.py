"""What both clients answer, over real sockets, compared with the model in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from export.wire import tensor_pb2
from kmeans_module.contract import SIGNATURES
from kmeans_module.raw_columns import is_table
from serving import (
    Assignment,
    Centroids,
    Distances,
    FitStepResult,
    GrpcClient,
    InvalidInput,
    Limits,
    ModelNotFound,
    Prediction,
    RestClient,
    Score,
    ServerError,
    SignatureNotFound,
    Tensor,
    VersionStatus,
)
from tests.point_forms import MISSING, NAMED, REFUSED, WORKING

from ..fake_servers import Failure, FakeGrpcServer, FakeRestServer, FakeServer
from .conftest import Wire

Client = GrpcClient | RestClient

POINTS = np.random.default_rng(7).normal(scale=8, size=(500, 2)).astype(np.float32)
STEP = {
    "points": np.random.default_rng(8).normal(size=(3, 20, 2)).astype(np.float32),
    "sample_weight": np.random.default_rng(9).uniform(size=(3, 20)).astype(np.float32),
    "centroids": np.random.default_rng(10).normal(size=(3, 4, 2)).astype(np.float32),
}
CALLS: list[tuple[str, type, dict[str, Any]]] = [
    ("assign", Assignment, {"points": POINTS}),
    ("score", Score, {"points": POINTS}),
    ("transform", Distances, {"points": POINTS}),
    ("decode", Centroids, {"cluster_index": np.array([2, 0, 1, 1])}),
    ("fit_step", FitStepResult, STEP),
]


@pytest.mark.parametrize(("method", "result", "inputs"), CALLS, ids=[call[0] for call in CALLS])
def test_an_answer_is_the_models_to_the_bit(
    client: Client, server: FakeServer, method: str, result: type, inputs: dict[str, Any]
) -> None:
    answer = getattr(client, method)(**inputs)

    assert type(answer) is result
    expected = server.model.answer(method, {k: _as_sent(v) for k, v in inputs.items()})
    for tensor in SIGNATURES[method].outputs:
        got = getattr(answer, tensor.name)
        assert got.dtype.name == tensor.dtype
        np.testing.assert_array_equal(got, expected[tensor.name])
        assert got.flags.writeable


def _as_sent(value: Any) -> Any:
    return value.astype(np.int32) if value.dtype.kind == "i" else value


@pytest.mark.parametrize("signature", SIGNATURES)
def test_predict_gives_the_outputs_of_any_signature_by_name(
    wire: Wire, client: Client, server: FakeServer, signature: str
) -> None:
    inputs = next(
        (inputs for method, _, inputs in CALLS if method == signature), {"points": POINTS}
    )
    prediction = client.predict(signature, inputs, version=1)

    assert type(prediction) is Prediction
    assert prediction.version == 1
    expected = server.model.answer(signature, {k: _as_sent(v) for k, v in inputs.items()})
    contract = SIGNATURES[signature].outputs
    assert list(prediction.outputs) == [tensor.name for tensor in contract]
    for tensor in contract:
        got = prediction.outputs[tensor.name]
        assert got.dtype.name == tensor.dtype
        np.testing.assert_array_equal(got, expected[tensor.name])
    assert client.predict(signature, inputs).version == (2 if wire.tells_version else None)


def test_predict_goes_in_parts_and_without_rows_like_the_others(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100))
    parts = client.predict("transform", {"points": POINTS}).outputs
    assert server.predicts() == 5
    np.testing.assert_array_equal(
        parts["all_distances"],
        server.model.answer("transform", {"points": POINTS})["all_distances"],
    )
    empty = client.predict("transform", {"points": np.zeros((0, 2))}).outputs
    assert empty["all_distances"].shape == (0, 3)


@pytest.mark.parametrize(
    ("signature", "inputs", "said"),
    [
        ("nope", {"points": POINTS}, "'nope' is not a signature; give one of serving_default,"),
        ("classify", {"inputs": [b"example"]}, "'classify' is not a signature"),
        ("assign", {}, r"assign takes arrays by name \(points\), but got none"),
        ("assign", {"point": POINTS}, r"takes arrays by name \(points\), but got point"),
        ("assign", {"points": POINTS, "more": POINTS}, "but got points, more"),
        ("fit_step", {"points": POINTS}, r"points, sample_weight, centroids\), but got points"),
        ("assign", POINTS, "but got ndarray"),
        ("assign", {"points": [1.0]}, r"points has shape \[1\], of rank 1"),
    ],
)
def test_predict_refuses_what_no_signature_takes(
    client: Client, server: FakeServer, signature: str, inputs: Any, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        client.predict(signature, inputs)
    assert "\n" not in str(raised.value)
    assert server.calls == []


@pytest.mark.parametrize(("method", "result", "inputs"), CALLS, ids=[call[0] for call in CALLS])
def test_grpc_reads_an_answer_whose_values_are_bytes(
    grpc_wire: Wire, method: str, result: type, inputs: dict[str, Any]
) -> None:
    with FakeGrpcServer() as server, grpc_wire.client(server.address, "customers") as client:
        server.tensor_content = True
        answer = getattr(client, method)(**inputs)
        expected = server.model.answer(method, {k: _as_sent(v) for k, v in inputs.items()})
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(answer, name), array)


def test_float32_goes_over_the_wire_and_back_to_the_bit(client: Client) -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, size=2000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    centroids = np.stack([values, values], axis=1)[None]  # empty clusters keep their centroids

    answer = client.fit_step(np.zeros((1, 1, 2)), np.zeros((1, 1)), centroids)

    np.testing.assert_array_equal(answer.centroids.view(np.uint32), centroids.view(np.uint32))


def test_a_bad_row_fails_no_other_row(client: Client) -> None:
    points: Any = [[np.nan, 0], [9, 1], [np.inf, 0], [0, -np.inf], [1e300, 0]]
    answer = client.assign(points)
    np.testing.assert_array_equal(answer.cluster_index, [-1, 1, -1, -1, -1])
    np.testing.assert_allclose(answer.distance, [-1, 2**0.5, -1, -1, -1], rtol=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 2], [3, 4]], np.float16),
        np.array([[1, 2], [3, 4]], ">f8"),
        np.array([[1, 3], [2, 4]], np.float32).T,
        np.array([[1, 0, 2], [3, 0, 4]], np.float32)[:, ::2],
    ],
    ids=["lists", "tuples", "int64", "uint8", "float16", "big-endian", "transposed", "strided"],
)
def test_points_of_any_kind_of_number_are_the_same_points(client: Client, points: Any) -> None:
    expected = client.transform(np.array([[1, 2], [3, 4]], np.float32))
    np.testing.assert_array_equal(client.transform(points).all_distances, expected.all_distances)


@pytest.mark.parametrize(
    ("method", "inputs", "shapes"),
    [
        ("assign", [(0, 2)], {"cluster_index": (0,), "distance": (0,)}),
        ("score", [(0, 2)], {"squared_distance": (0,), "silhouette": (0,)}),
        ("transform", [(0, 2)], {"all_distances": (0, 3)}),
        ("decode", [(0,)], {"centroid": (0, 2)}),
        (
            "fit_step",
            [(0, 5, 2), (0, 5), (0, 3, 2)],
            {"centroids": (0, 3, 2), "counts": (0, 3), "inertia": (0,), "shift": (0,)},
        ),
        (
            "fit_step",
            [(2, 0, 2), (2, 0), (2, 3, 2)],
            {"centroids": (2, 3, 2), "counts": (2, 3), "inertia": (2,), "shift": (2,)},
        ),
    ],
    ids=["assign", "score", "transform", "decode", "no problems", "problems without rows"],
)
def test_no_rows_give_empty_arrays_of_the_contracts_shapes(
    client: Client, method: str, inputs: list[tuple[int, ...]], shapes: dict[str, tuple[int, ...]]
) -> None:
    answer = getattr(client, method)(*(np.zeros(shape) for shape in inputs))
    for tensor in SIGNATURES[method].outputs:
        got = getattr(answer, tensor.name)
        assert got.shape == shapes[tensor.name]
        assert got.dtype.name == tensor.dtype
        assert not got.any()


def test_an_empty_list_names_no_clusters(client: Client) -> None:
    assert client.decode([]).centroid.shape == (0, 2)


def test_no_rows_over_grpc_have_the_version_that_is_live_now(grpc_wire: Wire) -> None:
    nothing = np.zeros((0, 2))
    with FakeGrpcServer() as server, grpc_wire.client(server.address, "customers") as client:
        assert client.assign(nothing).version == 2
        server.model.states[3] = "AVAILABLE"
        assert client.transform(nothing).version == 3
        assert client.score(nothing, label="stable").version == 1
        assert client.assign(nothing, version=7).version == 7
        assert client.predict("assign", {"points": nothing}).version == 3
        assert server.predicts() == 0
        assert len(server.calls) == 4  # none where the caller said which version
        with pytest.raises(InvalidInput, match="takes float32"):
            client.assign(np.zeros((0, 3)))
        with pytest.raises(ModelNotFound):
            client.assign(nothing, label="nope")


def test_where_the_metadata_are_not_told_no_rows_are_asked_as_one(
    wire: Wire, server: FakeServer
) -> None:
    for signature, inputs, output, width in (
        ("transform", {"points": np.zeros((0, 2))}, "all_distances", 3),
        ("decode", {"cluster_index": []}, "centroid", 2),
    ):
        with wire.client(server.address, "customers") as client:
            server.failures.append(Failure("PERMISSION_DENIED", "only Predict may pass"))
            answer = client.predict(signature, inputs)
        assert answer.outputs[output].shape == (0, width)
        assert answer.version == (2 if wire.tells_version else None)
    assert server.rows == [1, 1]


def test_rest_answers_no_rows_without_a_call(rest_wire: Wire) -> None:
    with FakeRestServer() as server, rest_wire.client(server.address, "customers") as client:
        nothing = client.assign(np.zeros((0, 2)))
        assert (nothing.cluster_index.shape, nothing.distance.shape) == ((0,), (0,))
        assert nothing.cluster_index.dtype == np.int32
        assert client.score(np.zeros((0, 2))).silhouette.shape == (0,)
        step = client.fit_step(np.zeros((0, 5, 2)), np.zeros((0, 5)), np.zeros((0, 3, 2)))
        assert step.centroids.shape == (0, 3, 2)
        assert server.calls == []
        assert client.decode([]).centroid.shape == (0, 2)
        assert server.calls == ["/v1/models/customers/metadata"]  # how wide the model is
        with pytest.raises(InvalidInput, match="takes float32"):
            client.assign(np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("asked", "answered"),
    [({}, 2), ({"version": 1}, 1), ({"version": np.int64(1)}, 1), ({"label": "stable"}, 1)],
    ids=["latest", "version", "NumPy version", "label"],
)
def test_a_version_or_label_is_asked_by_call_and_by_client(
    wire: Wire, connect: Callable[..., Client], asked: dict[str, Any], answered: int
) -> None:
    known = answered if wire.tells_version else asked.get("version")
    assert connect().assign(POINTS, **asked).version == known
    assert connect(**asked).assign(POINTS).version == known
    assert connect().metadata(**asked).version == answered
    assert connect(**asked).metadata().version == answered


def test_a_calls_version_goes_before_the_clients_label(connect: Callable[..., Client]) -> None:
    client = connect(label="stable")
    assert client.assign(POINTS, version=2).version == 2
    assert client.metadata(version=2).version == 2


def test_status_lists_the_versions_with_their_states(client: Client, server: FakeServer) -> None:
    server.model.states = {3: "LOADING", 2: "AVAILABLE", 1: "END"}
    assert client.status() == [
        VersionStatus(3, "LOADING", "OK", ""),
        VersionStatus(2, "AVAILABLE", "OK", ""),
        VersionStatus(1, "END", "NOT_FOUND", "no such file"),
    ]
    assert client.status(version=1) == [VersionStatus(1, "END", "NOT_FOUND", "no such file")]


def test_status_of_a_label_is_that_of_its_version(client: Client) -> None:
    assert client.status(label="stable") == [VersionStatus(1, "AVAILABLE", "OK", "")]


def test_metadata_tells_the_signatures_that_can_be_called(client: Client) -> None:
    metadata = client.metadata()
    assert set(metadata.signatures) == set(SIGNATURES)
    step = metadata.signatures["fit_step"]
    assert step.inputs["points"] == Tensor("float32", (None, None, 2))
    assert step.outputs["inertia"] == Tensor("float32", (None,))
    assert metadata.signatures["decode"].inputs == {"cluster_index": Tensor("int32", (None,))}


@pytest.mark.parametrize(
    ("method", "inputs", "said"),
    [
        ("assign", {"points": [1.0, 2.0]}, r"points has shape \[2\], of rank 1"),
        ("transform", {"points": np.zeros((1, 2, 2))}, r"points has shape \[1, 2, 2\]"),
        ("score", {"points": [["a", "b"]]}, r"the text 'a' in row 0, column 0.* float32 \[n, d\]"),
        ("score", {"points": [[1j, 1]]}, "points have dtype complex128"),
        ("assign", {"points": [[1, 2], [3]]}, "points have 1 number in row 1, and 2 numbers in"),
        ("decode", {"cluster_index": [1.0]}, "cluster_index holds float64, not int32"),
        ("decode", {"cluster_index": [1, None]}, "cluster_index has missing values"),
        ("decode", {"cluster_index": ["1"]}, "cluster_index has the text '1' in row 0"),
        ("decode", {"cluster_index": [True]}, "cluster_index holds bool, not int32"),
        ("decode", {"cluster_index": [2**31]}, "cluster_index holds 2147483648"),
        ("decode", {"cluster_index": [0, -(2**40)]}, "cluster_index holds -1099511627776"),
        (
            "fit_step",
            {**STEP, "sample_weight": np.ones((3, 19))},
            "sample_weight has n=19 where points has n=20",
        ),
        ("fit_step", {**STEP, "centroids": np.ones((3, 4, 3))}, "centroids has d=3 where points"),
    ],
)
def test_input_that_cannot_be_right_never_reaches_the_wire(
    client: Client, server: FakeServer, method: str, inputs: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        getattr(client, method)(**inputs)
    assert server.calls == []
    assert raised.value.model == "customers"
    assert raised.value.address == server.address
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": 1, "label": "stable"}, "version=1 and label='stable' were both given"),
        ({"version": -1}, "version=-1 is not a version"),
        ({"version": 2**63}, "is not a version"),
        ({"version": "1"}, "version='1' is not a version"),
        ({"label": ""}, "the label is empty"),
        ({"timeout": 0}, "timeout=0 is not a deadline"),
        ({"timeout": float("inf")}, "timeout=inf is not a deadline"),
        ({"timeout": float("nan")}, "timeout=nan is not a deadline"),
        ({"timeout": "5"}, "timeout='5' is not a deadline"),
        ({"timeout": True}, "timeout=True is not a deadline"),
        ({"timeout": 10**400}, "timeout=1000000.* is not a deadline"),
        ({"version": True}, "version=True is not a version"),
        ({"label": 5}, "label=5 is not a label"),
        # A client of HTTP would take them for steps in the path, and ask another model.
        ({"label": ".."}, r"label='\.\.' is not a label"),
        ({"label": "."}, r"label='\.' is not a label"),
        ({"label": "\ud800"}, "is not a label"),
    ],
)
def test_a_wrong_option_is_refused_by_call_and_by_client(
    connect: Callable[..., Client], server: FakeServer, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        connect(**options)
    with pytest.raises(InvalidInput, match=said):
        connect().assign(POINTS, **options)
    assert server.calls == []


def test_an_option_that_there_is_not_is_refused(connect: Callable[..., Client]) -> None:
    with pytest.raises(InvalidInput) as raised:
        connect(time_out=5)
    text = str(raised.value)
    assert text.startswith("a client over ")
    assert "has no option time_out; its options are " in text
    assert "label, limits, on_bad_row, " in text
    assert "timeout, tls, version" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits": 3}, "limits has type int; give a Limits"),
        ({"tls": 1}, "tls has type int; give a Tls"),
        ({"headers": [("secret", "word")]}, "headers has type list; give a Mapping"),
    ],
)
def test_an_option_of_another_kind_is_refused_without_its_value(
    connect: Callable[..., Client], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        connect(**options)
    assert str(raised.value) == said


def test_a_call_has_the_options_of_a_call_alone(client: Client) -> None:
    wrong: dict[str, Any] = {"nope": 1}
    with pytest.raises(TypeError, match="a call has no option 'nope'; its options are version"):
        client.assign(POINTS, **wrong)


def test_grpc_has_no_option_of_rest(grpc_wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="a client over gRPC has no option gzip"):
        grpc_wire.client("localhost:1", "customers", gzip=True)


def test_none_stands_for_the_default_of_an_option(connect: Callable[..., Client]) -> None:
    options = dict.fromkeys(("version", "label", "timeout", "tls", "headers", "limits"))
    assert connect(**options).assign(POINTS).cluster_index.shape == (500,)


@pytest.mark.parametrize("timeout", [np.float32(20), np.int64(20), 1e10, 1e300], ids=repr)
def test_a_timeout_is_any_number_of_seconds(client: Client, timeout: Any) -> None:
    assert client.assign(POINTS, timeout=timeout).cluster_index.shape == (500,)


@pytest.mark.parametrize("form", [form for form in WORKING if form not in NAMED])
def test_points_in_any_form_are_assigned(client: Client, form: str) -> None:
    given = WORKING[form](POINTS)
    np.testing.assert_array_equal(
        client.assign(given).cluster_index, client.assign(POINTS).cluster_index
    )


@pytest.mark.parametrize("form", NAMED)
def test_columns_with_names_are_refused_by_a_model_that_knows_no_names(
    client: Client, form: str
) -> None:
    with pytest.raises(InvalidInput, match=r"takes no columns by name; .* points.to_numpy\(\)"):
        client.assign(WORKING[form](POINTS))


def test_a_missing_value_makes_a_bad_row(client: Client) -> None:
    by_place = [points for points in MISSING.values() if not is_table(points)]
    assert by_place
    for points in by_place:
        assert client.assign(points).cluster_index.tolist() == [0, -1]


def test_points_that_are_no_table_of_numbers_never_reach_the_wire(
    client: Client, server: FakeServer
) -> None:
    for form, (make, said) in REFUSED.items():
        if form == "dictionary":  # a mapping of columns
            continue
        with pytest.raises(InvalidInput, match=said):
            client.assign(make(POINTS))
    assert server.calls == []


def test_what_lies_under_a_mask_is_no_value(client: Client) -> None:
    points = np.ma.MaskedArray([[9.0, 1.0], [9.0, 1.0]], mask=[[False, True], [False, False]])
    assert client.assign(points).cluster_index.tolist() == [-1, 1]
    assert client.assign(points.astype(np.int64)).cluster_index.tolist() == [-1, 1]
    assert client.assign(points[1:]).cluster_index.tolist() == [1]
    with pytest.raises(InvalidInput, match="cluster_index has missing values"):
        client.decode(np.ma.MaskedArray([1, 2], mask=[True, False]))


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        (GrpcClient, "http://localhost:8501"),
        (GrpcClient, "localhost"),
        (GrpcClient, "::1"),
        (GrpcClient, "[::1]"),
        (GrpcClient, "dns:///models"),
        (GrpcClient, "ipv4:10.0.0.1"),
        (GrpcClient, "me:SECRET@models:8500"),
        (GrpcClient, "ftp://me:SECRET@models:8500"),
        (GrpcClient, "me:SECRET@models"),
        (RestClient, "grpc://me:SECRET@models:8501"),
        (RestClient, "http://me:SECRET@models:8501?x"),
        (RestClient, "grpc://localhost:8500"),
        (RestClient, "localhost:port"),
        (RestClient, ""),
    ],
)
def test_an_address_of_another_kind_is_refused(kind: type[Client], address: str) -> None:
    with pytest.raises(InvalidInput, match="is not an address of a") as raised:
        kind(address, "customers")
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("address", ["localhost", "[::1]", "dns:///models", "models"])
def test_a_port_is_asked_for_where_none_is_given(address: str) -> None:
    with pytest.raises(InvalidInput, match="it has no port; give") as raised:
        GrpcClient(address, "customers")
    assert f"give host:port, such as {address}:8500" in str(raised.value)


def test_a_model_without_a_name_is_refused(wire: Wire) -> None:
    with pytest.raises(InvalidInput, match="the model's name is ''"):
        wire.client("localhost:1", "")


def test_rest_takes_an_address_with_its_scheme() -> None:
    with FakeRestServer() as server:
        for address in (f"http://{server.address}", f"http://{server.address}/"):
            with RestClient(address, "customers") as client:
                assert client.assign(POINTS).cluster_index.shape == (500,)


def test_a_width_that_the_model_does_not_take_never_reaches_it(
    client: Client, server: FakeServer
) -> None:
    for method in ("assign", "score", "transform"):
        with pytest.raises(InvalidInput) as raised:
            getattr(client, method)(np.zeros((4, 3)))
        assert str(raised.value) == (
            f"points is float32 [4, 3], and {method} of version 2 takes float32 [*, 2] "
            f"(model 'customers' at {server.address})"
        )
    assert server.predicts() == 0


def test_the_metadata_is_asked_for_once(client: Client, server: FakeServer) -> None:
    for _ in range(3):
        client.assign(POINTS)
        client.transform(POINTS)
    assert (len(server.calls), server.predicts()) == (7, 6)


def test_a_width_is_refused_only_after_a_second_look(client: Client, server: FakeServer) -> None:
    client.assign(POINTS)
    server.width = 3  # another version under the same name
    with pytest.raises(InvalidInput, match="Shape of tensor points"):
        client.assign(np.zeros((4, 3)))  # the model of this server takes two, whatever it says
    server.calls.clear()
    with pytest.raises(InvalidInput, match=r"takes float32 \[\*, 3\]"):
        client.assign(POINTS)


def test_a_pinned_version_needs_no_second_look(client: Client, server: FakeServer) -> None:
    client.assign(POINTS, version=1)
    server.calls.clear()
    with pytest.raises(InvalidInput, match="version 1 takes"):
        client.assign(np.zeros((4, 3)), version=1)
    assert server.calls == []


def test_another_dtype_than_the_models_is_refused(client: Client, server: FakeServer) -> None:
    server.dtype = tensor_pb2.DT_DOUBLE
    with pytest.raises(InvalidInput, match=r"points is float32 .* takes float64 \[\*, 2\]"):
        client.assign(POINTS)
    assert server.predicts() == 0


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNIMPLEMENTED"])
def test_where_metadata_is_not_to_be_had_the_server_checks_alone(
    client: Client, server: FakeServer, code: str
) -> None:
    server.failures.append(Failure(code, "only Predict may pass"))
    assert client.assign(POINTS).cluster_index.shape == (500,)
    with pytest.raises(InvalidInput, match="Shape of tensor points") as raised:
        client.assign(np.zeros((4, 3)))
    assert "\n\t" in raised.value.message
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_bad_row_is_refused_when_that_was_asked_for(
    connect: Callable[..., Client], server: FakeServer, value: float
) -> None:
    client = connect(on_bad_row="raise")
    points = np.zeros((5, 2))
    points[[1, 3], 1] = value
    with pytest.raises(InvalidInput, match=r"points\[1, 1\] is (nan|-?inf), in 2 of 5 rows"):
        client.assign(points)
    assert server.calls == []
    assert client.assign(points[:1]).cluster_index.tolist() == [0]


def test_on_bad_row_is_one_of_two_words(connect: Callable[..., Client]) -> None:
    with pytest.raises(InvalidInput, match="on_bad_row='ignore' is neither"):
        connect(on_bad_row="ignore")


def test_an_index_without_a_cluster_is_invalid_input(client: Client) -> None:
    with pytest.raises(InvalidInput, match=r"indices\[1\] = 3 is not in \[0, 3\)"):
        client.decode([0, 3])


@pytest.mark.parametrize("asked", [{"version": 9}, {"label": "nope"}], ids=["version", "label"])
def test_an_unknown_version_or_label_is_model_not_found(
    client: Client, asked: dict[str, Any]
) -> None:
    for call in (lambda: client.assign(POINTS, **asked), lambda: client.status(**asked)):
        with pytest.raises(ModelNotFound):
            call()


def test_an_unknown_model_is_model_not_found(connect: Callable[..., Client]) -> None:
    client = connect("nope")
    for call in (lambda: client.assign(POINTS), client.status, client.metadata):
        with pytest.raises(ModelNotFound, match="nope"):
            call()


def test_a_model_that_is_not_ours_is_signature_not_found(
    client: Client, server: FakeServer
) -> None:
    answer = server.model.answer
    server.model.answer = lambda signature, inputs: answer("other", inputs)  # type: ignore[method-assign]
    with pytest.raises(SignatureNotFound, match='"other" not found'):
        client.assign(POINTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: {**out, "distance": out["distance"][:0]}, r"distance of float32 \[0\]"),
        (lambda out: {"cluster_index": out["cluster_index"], "d": out["distance"]}, "distance"),
        (lambda out: {**out, "distance": out["distance"][:-1]}, r"distance of float32 \[499\]"),
        (lambda out: {**out, "distance": out["distance"][:, None]}, r"expected float32 \[500\]"),
    ],
    ids=["no rows", "an output is missing", "a row is missing", "another rank"],
)
def test_an_answer_that_breaks_the_contract_is_a_server_error(
    client: Client, server: FakeServer, change: Callable[[Any], Any], said: str
) -> None:
    server.change_answer = change
    with pytest.raises(ServerError, match=said):
        client.assign(POINTS)


def test_a_name_with_reserved_characters_is_one_name_to_rest() -> None:
    with FakeRestServer() as server, RestClient(server.address, "a/b:c d?") as client:
        with pytest.raises(ModelNotFound):
            client.status()
        assert server.calls == ["/v1/models/a%2Fb%3Ac%20d%3F"]


def test_a_request_larger_than_grpcs_defaults_goes_out_and_comes_back() -> None:
    points = np.random.default_rng(3).normal(size=(800_000, 2)).astype(np.float32)  # 6.4 MB
    with FakeGrpcServer() as server, GrpcClient(server.address, "customers", timeout=60) as client:
        server.tensor_content = True
        answer = client.transform(points)  # 9.6 MB
    assert answer.all_distances.shape == (800_000, 3)
