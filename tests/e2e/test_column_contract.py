"""What a server answers to columns by name: every format, any names, and its own errors."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from export import load, publish_fit
from export.candidate import write_saved_model
from kmeans_module import CategoryColumn, Encoder, KMeansModule, NumberColumn, fit_columns
from kmeans_module.contract import COLUMN_SIGNATURES, MOST_COLUMNS
from serving.embedded import EmbeddedServer
from serving.embedded.tensor_proto import ndarray_of
from tests.serving.embedded.tiny_models import ask

pytestmark = pytest.mark.slow

N = 90
#: Some that TensorFlow takes for the same in Python, some that are outputs, or inputs elsewhere.
NUMBERS = ("annual income", "größe", "grüße", "1st", "a/b", "distance", "points", 'say "x"', "self")
CATEGORIES = ("class", "🙂", "年龄", "column_0", "it's", "cluster_index")
VECTOR = "in/3.npy"


def rows() -> dict[str, Any]:
    """Rows in three groups, of columns of every kind, with missing values."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, N)
    table: dict[str, Any] = {}
    for place, name in enumerate(NUMBERS):
        table[name] = rng.normal(6.0 * group, 1.0).astype("f4")
        table[name][place::17] = np.nan
    for place, name in enumerate(CATEGORIES):
        table[name] = np.array(["free", "größer", 'qu"ote'], object)[group]
        table[name][place::13] = ""
    table[VECTOR] = rng.normal(6.0 * group[:, None], 1.0, (N, 3)).astype("f4")
    return table


@dataclass(frozen=True)
class Served:
    """A server, the folder of its models, and a stub of its PredictionService."""

    server: EmbeddedServer
    folder: Path
    stub: Any

    def rest(self, body: Any, model: str = "odd", method: str = "predict") -> tuple[int, Any]:
        path = f"/v1/models/{model}:{method}"
        status, text = ask(self.server.rest_address, "POST", path, body)
        return status, json.loads(text)

    def refusal(self, body: Any) -> str:
        status, answer = self.rest({"signature_name": "assign_columns"} | body)
        assert status == 400
        return str(answer["error"])

    def grpc(self, signature: str, inputs: dict[str, Any], model: str = "odd") -> dict[str, Any]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        answer = self.stub.Predict(request, timeout=60)
        return {name: ndarray_of(proto) for name, proto in answer.outputs.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models")
    table = rows()
    publish_fit(
        fit_columns(table, 3, categories=CATEGORIES, impute="median", standardize=True, seed=1),
        table,
        folder / "odd",
    )
    for count in (MOST_COLUMNS, MOST_COLUMNS + 1):
        _write_wide(folder / f"of-{count}" / "1", count)
    config = folder / "served.config"
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}'
            for name in ("odd", f"of-{MOST_COLUMNS}", f"of-{MOST_COLUMNS + 1}")
        )
        + "}\n"
    )
    with (
        EmbeddedServer(model_config_file=config) as server,
        grpc.insecure_channel(str(server.grpc_address)) as channel,
    ):
        yield Served(server, folder, prediction_service_pb2_grpc.PredictionServiceStub(channel))


def _write_wide(directory: Path, count: int) -> None:
    """A model of so many columns, numbers but for a category."""
    columns = [NumberColumn(f"x {place}") for place in range(count - 1)]
    encoder = Encoder([*columns, CategoryColumn("plan", ("a", "b"))])
    d = len(encoder.feature_names)
    module = KMeansModule([[0.0] * d, [10.0] * d], [0.0] * d, [1.0] * d)
    module.take_columns(encoder)
    directory.parent.mkdir()
    write_saved_model(directory, module, encoder.feature_names)


@pytest.fixture(scope="module")
def expected(served: Served) -> dict[str, dict[str, NDArray[Any]]]:
    """The answers in this process, by signature."""
    version, table = load(served.folder / "odd"), rows()
    assign, score, distances = (
        version.assign(table),
        version.score(table),
        version.transform(table),
    )
    return {
        "assign_columns": {
            "cluster_index": assign.cluster_index,
            "distance": assign.distance,
        },
        "score_columns": {
            "squared_distance": score.squared_distance,
            "silhouette": score.silhouette,
        },
        "transform_columns": {"all_distances": distances.all_distances},
    }


def _agree(found: dict[str, Any], wanted: dict[str, NDArray[Any]]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(np.array(found[name]), values, rtol=1e-5, atol=1e-6)


def _lists() -> dict[str, Any]:
    return {name: values.tolist() for name, values in rows().items()}


@pytest.mark.parametrize("signature", COLUMN_SIGNATURES)
def test_the_columnar_format_of_rest_takes_columns_by_name(
    served: Served, expected: dict[str, Any], signature: str
) -> None:
    status, answer = served.rest({"signature_name": signature, "inputs": _lists()})
    assert status == 200, answer
    outputs, wanted = answer["outputs"], expected[signature]
    _agree(outputs if len(wanted) > 1 else {next(iter(wanted)): outputs}, wanted)


@pytest.mark.parametrize("signature", COLUMN_SIGNATURES)
def test_the_row_format_of_rest_takes_rows_as_objects(
    served: Served, expected: dict[str, Any], signature: str
) -> None:
    lists = _lists()
    instances = [{name: lists[name][row] for name in lists} for row in range(N)]
    status, answer = served.rest({"signature_name": signature, "instances": instances})
    assert status == 200, answer
    wanted = expected[signature]
    predictions = answer["predictions"]
    if len(wanted) == 1:
        _agree({next(iter(wanted)): predictions}, wanted)
    else:
        _agree({name: [row[name] for row in predictions] for name in wanted}, wanted)


@pytest.mark.parametrize("signature", COLUMN_SIGNATURES)
def test_grpc_takes_columns_by_name(
    served: Served, expected: dict[str, Any], signature: str
) -> None:
    _agree(served.grpc(signature, rows()), expected[signature])


def test_examples_have_the_raw_columns(served: Served, expected: dict[str, Any]) -> None:
    lists, wanted = _lists(), expected["assign_columns"]
    request = classification_pb2.ClassificationRequest()
    regression = regression_pb2.RegressionRequest()
    for message, signature in ((request, "classify"), (regression, "regress")):
        message.model_spec.name, message.model_spec.signature_name = "odd", signature
        for row in range(N):
            features = message.input.example_list.examples.add().features.feature
            for name, values in lists.items():
                if name in CATEGORIES:
                    features[name].bytes_list.value.append(values[row].encode())
                else:
                    features[name].float_list.value.extend(np.ravel(values[row]))
    classes = served.stub.Classify(request, timeout=60).result.classifications
    assert [int(each.classes[0].label) for each in classes] == wanted["cluster_index"].tolist()
    scores = [each.classes[0].score for each in classes]
    np.testing.assert_allclose(scores, wanted["distance"], rtol=1e-5)
    values = [each.value for each in served.stub.Regress(regression, timeout=60).result.regressions]
    np.testing.assert_allclose(values, wanted["distance"], rtol=1e-5)


def test_an_example_may_lack_what_is_missing_and_holds_unseen_values(served: Served) -> None:
    """As in columns: a missing number is imputed, an unseen or missing value is zeros, and without
    a vector the row is a bad one."""
    lists = _lists()
    first = {name: values[1] for name, values in lists.items()}
    numbers = {name: first[name] for name in NUMBERS if name != "1st"} | {VECTOR: first[VECTOR]}
    unseen = dict.fromkeys(CATEGORIES, "never seen")
    examples = [numbers, numbers | unseen, {k: v for k, v in first.items() if k != VECTOR}]
    body = {"signature_name": "regress", "examples": examples}
    status, answer = served.rest(body, method="regress")
    assert status == 200, answer
    table = {name: np.array([values[1]] * 3) for name, values in rows().items()}
    table["1st"] = np.full(3, np.nan, "f4")
    table |= {name: np.array(["", "never seen", first[name]], object) for name in CATEGORIES}
    table[VECTOR][2] = np.nan
    wanted = load(served.folder / "odd").assign(table).distance
    np.testing.assert_allclose(answer["results"][:2], wanted[:2], rtol=1e-5)
    assert answer["results"][2] == wanted[2] == -1


def test_a_loaded_signature_is_called_by_the_names_that_python_tells_apart(
    served: Served, tmp_path: Path
) -> None:
    """Of "größe" and "grüße" TensorFlow makes one name, and "self" is its own."""
    names = ["annual income", "größe", "class", "1st", "a/b", "it's", 'say "x"', "🙂", "distance"]
    kinds = [CategoryColumn(n, ("a",)) if n in CATEGORIES else NumberColumn(n) for n in names]
    module = KMeansModule(np.eye(2, len(kinds)), [0.0] * len(kinds), [1.0] * len(kinds))
    module.take_columns(Encoder(kinds))
    write_saved_model(tmp_path / "1", module)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    inputs = {
        column.name: tf.constant(["a"] if isinstance(column, CategoryColumn) else [1.0])
        for column in kinds
    }
    for name in COLUMN_SIGNATURES:
        answer = signatures[name](**inputs)
        assert all(len(output) == 1 for output in answer.values())
    everything = tf.saved_model.load(str(served.folder / "odd" / "1")).signatures["assign_columns"]
    by_place = {f"column_{i}": tf.constant(each) for i, each in enumerate(rows().values())}
    assert len(everything(**by_place)["cluster_index"]) == N


def test_metadata_tells_the_names_the_dtypes_and_the_widths(served: Served) -> None:
    _, text = ask(served.server.rest_address, "GET", "/v1/models/odd/metadata")
    declared = json.loads(text)["metadata"]["signature_def"]["signature_def"]
    for signature in COLUMN_SIGNATURES:
        inputs = declared[signature]["inputs"]
        assert inputs.keys() == {*NUMBERS, *CATEGORIES, VECTOR}
        for name, info in inputs.items():
            assert info["dtype"] == ("DT_STRING" if name in CATEGORIES else "DT_FLOAT")
            sizes = [dim["size"] for dim in info["tensor_shape"]["dim"]]
            assert sizes == (["-1", "3"] if name == VECTOR else ["-1"])


def test_256_columns_are_taken_by_name_and_257_only_as_points(served: Served) -> None:
    def columns(count: int) -> dict[str, Any]:
        numbers = {f"x {place}": np.array([0.0, 10.0], "f4") for place in range(count - 1)}
        return numbers | {"plan": np.array(["b", "never seen"], object)}

    found = served.grpc("assign_columns", columns(MOST_COLUMNS), f"of-{MOST_COLUMNS}")
    assert found["cluster_index"].tolist() == [0, 1]
    wide = f"of-{MOST_COLUMNS + 1}"
    with pytest.raises(grpc.RpcError, match='Serving signature key "assign_columns" not found'):
        served.grpc("assign_columns", columns(MOST_COLUMNS + 1), wide)
    points = np.full((1, MOST_COLUMNS + 2), 10, "f4")
    assert served.grpc("assign", {"points": points}, wide)["cluster_index"].tolist() == [1]


def test_no_row_is_answered_with_none(served: Served) -> None:
    empty = {name: values[:0] for name, values in rows().items()}
    found = served.grpc("transform_columns", empty)
    assert found["all_distances"].shape == (0, 3)


def test_rest_says_which_column_is_missing_strange_or_of_another_type(served: Served) -> None:
    lists = {name: values[:2] for name, values in _lists().items()}
    one = {name: values[1] for name, values in lists.items()}
    without = {name: values for name, values in lists.items() if name != "a/b"}
    assert served.refusal({"inputs": without}) == "Missing named input: a/b in 'inputs' object."
    # The columnar format ignores what is not asked for, and the row format does not.
    assert (
        served.rest({"signature_name": "assign_columns", "inputs": lists | {"id": [1]}})[0] == 200
    )
    said = served.refusal({"instances": [one | {"id": 1}]})
    assert "does not have named input: id" in said
    less = {name: value for name, value in one.items() if name != "a/b"}
    said = served.refusal({"instances": [less]})
    assert "keys must be equal to: " + ",".join(sorted([*one], key=str.encode)) in said
    said = served.refusal({"inputs": lists | {"class": [1, 2]}})
    assert "JSON Value: 1 Type: Number is not of expected type: string" in said
    said = served.refusal({"inputs": lists | {"1st": ["1", "2"]}})
    assert 'JSON Value: "1" Type: String is not of expected type: float' in said
    said = served.refusal({"inputs": lists | {"1st": [None, 1.0]}})
    assert "Type: Null is not of expected type: float" in said


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"1st": [1.0]}, "Shapes of all inputs must match"),
        ({"class": ["free"]}, "must be equal"),
        ({VECTOR: [[1.0, 2.0], [1.0, 2.0]]}, "not compatible with expected shape"),
        ({VECTOR: [1.0, 2.0]}, "not compatible with expected shape"),
        ({"1st": [[1.0], [2.0]]}, "not compatible with expected shape"),
        ({"class": [["free"], ["free"]]}, "not compatible with expected shape"),
        ({"1st": 1.0}, "not compatible with expected shape"),
    ],
    ids=["number short", "category short", "width", "vector rank", "number rank", "text rank", "0"],
)
def test_columns_that_do_not_fit_each_other_are_refused_by_the_graph(
    served: Served, changed: dict[str, Any], message: str
) -> None:
    lists = {name: values[:2] for name, values in _lists().items()}
    assert message in served.refusal({"inputs": lists | changed})


def test_grpc_says_which_column_is_missing_strange_or_of_another_type(served: Served) -> None:
    table = {name: values[:2] for name, values in rows().items()}
    for inputs, message in (
        ({"a/b": None}, "input size does not match signature: 15!=16"),
        ({"id": np.ones(2, "f4")}, "Sent extra: {id}. Missing but required: {}."),
        ({"1st": np.ones(2, "f8")}, "to be float but double is provided"),
        ({"class": np.ones(2, "f4")}, "to be string but float is provided"),
    ):
        given = {name: values for name, values in (table | inputs).items() if values is not None}
        with pytest.raises(grpc.RpcError) as refused:
            served.grpc("assign_columns", given)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert message in str(refused.value.details())
