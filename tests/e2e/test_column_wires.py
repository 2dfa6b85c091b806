"""Rows of any columns are answered alike over gRPC, over REST and here, and as NumPy has it."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.candidate import write_saved_model
from kmeans_module import CategoryColumn, Encoder, KMeansModule, NumberColumn, VectorColumn
from kmeans_module.columns import Column
from kmeans_module.contract import column_input
from serving import GrpcClient, RestClient
from serving.embedded import EmbeddedServer
from tests.serving.embedded.tiny_models import ask

pytestmark = pytest.mark.slow

SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"
MODELS: Final = 20 if SOAK else 2
NAMES: Final = ("annual income", "größe", "class", "1st", "a/b", "distance", 'say "x"', "🙂")
TEXTS: Final = ("", "a", "größe", "NA", "1", 'qu"ote\n', "never seen")
NUMBERS: Final = st.one_of(
    st.just(float("nan")), st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 1e30, 3e38])
)


@dataclass(frozen=True)
class Model:
    """A model of drawn columns, and whoever is asked for its answers."""

    name: str
    columns: tuple[Column, ...]
    module: KMeansModule
    signatures: Any
    rest_address: str | None
    clients: tuple[GrpcClient, RestClient]


def _draw_columns(rng: np.random.Generator) -> list[Column]:
    """One of each kind, and some more."""
    columns: list[Column] = []
    kinds = rng.permutation([0, 1, 2, *rng.integers(3, size=rng.integers(4))])
    for name, kind in zip(rng.permutation(NAMES).tolist(), kinds, strict=False):
        match kind:
            case 0:
                columns.append(NumberColumn(name, (None, 2.5)[rng.integers(2)]))
            case 1:
                values = rng.permutation(TEXTS[1:-1])[: rng.integers(1, 5)].tolist()
                columns.append(CategoryColumn(name, tuple(values), bool(rng.integers(2))))
            case _:
                columns.append(VectorColumn(name, int(rng.integers(1, 4))))
    return columns


def _make_module(columns: list[Column], rng: np.random.Generator) -> KMeansModule:
    encoder = Encoder(columns)
    d = len(encoder.feature_names)
    module = KMeansModule(
        rng.normal(scale=3, size=(4, d)), rng.normal(size=d), rng.uniform(0.5, 3, d)
    )
    module.take_columns(encoder)
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Model]]:
    folder: Path = tmp_path_factory.mktemp("models")
    drawn = []
    for seed in range(MODELS):
        rng = np.random.default_rng(seed)
        columns = _draw_columns(rng)
        module = _make_module(columns, rng)
        (folder / f"m{seed}").mkdir()
        write_saved_model(folder / f"m{seed}" / "1", module)
        drawn.append((columns, module))
    config = folder / "served.config"
    config.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "m{seed}" base_path: "{folder / f"m{seed}"}" '
            'model_platform: "tensorflow" }'
            for seed in range(MODELS)
        )
        + "}"
    )
    with EmbeddedServer(model_config_file=config) as server:
        made = []
        for seed, (columns, module) in enumerate(drawn):
            loaded = tf.saved_model.load(str(folder / f"m{seed}" / "1"))
            clients = (
                GrpcClient(str(server.grpc_address), f"m{seed}", timeout=60),
                RestClient(str(server.rest_address), f"m{seed}", timeout=60),
            )
            place = server.rest_address
            made.append(Model(f"m{seed}", tuple(columns), module, loaded, place, clients))
        yield made
        for model in made:
            for client in model.clients:
                client.close()


def _features(column: Column, values: Any) -> NDArray[np.float64]:
    """The features of a column, value by value."""
    match column:
        case NumberColumn(fill=fill):
            filled = [fill if fill is not None and np.isnan(each) else each for each in values]
            return np.array(filled, float)[:, None]
        case CategoryColumn(values=known, has_unknown=has_unknown):
            rows = [[float(value == each) for each in known] for value in values]
            extra = [[*row, float(not any(row))] if has_unknown else row for row in rows]
            return np.array(extra, float)
        case VectorColumn():
            return np.asarray(values, float)


def _reference(model: Model, table: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The distances [n, k], and which rows are good [n]."""
    points = np.concatenate([_features(each, table[each.name]) for each in model.columns], 1)
    shift, scale = (each.numpy().astype(float) for each in (model.module.shift, model.module.scale))
    space = (points - shift) / scale
    distances = np.linalg.norm(space[:, None] - model.module.centroids.numpy(), axis=2)
    # The square of what is so far away is no float32.
    return distances, np.isfinite(points).all(axis=1) & (distances.min(axis=1) < 1e19)


@st.composite
def tables(draw: st.DrawFn, columns: tuple[Column, ...]) -> dict[str, Any]:
    n = draw(st.integers(1, 5))
    table: dict[str, Any] = {}
    for column in columns:
        match column:
            case NumberColumn():
                table[column.name] = np.array(draw(st.lists(NUMBERS, min_size=n, max_size=n)), "f4")
            case CategoryColumn():
                texts = draw(st.lists(st.sampled_from(TEXTS), min_size=n, max_size=n))
                table[column.name] = np.array(texts, object)
            case VectorColumn(width=width):
                numbers = draw(st.lists(NUMBERS, min_size=n * width, max_size=n * width))
                table[column.name] = np.array(numbers, "f4").reshape(n, width)
    order = draw(st.permutations(list(table)))
    return {name: table[name] for name in order}


def _ask_rows(model: Model, table: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The answer to REST's row format."""
    lists = {name: values.tolist() for name, values in table.items()}
    n = len(next(iter(lists.values())))
    instances = [{name: values[row] for name, values in lists.items()} for row in range(n)]
    body = {"signature_name": "assign_columns", "instances": instances}
    status, text = ask(model.rest_address, "POST", f"/v1/models/{model.name}:predict", body)
    assert status == 200, text
    rows = json.loads(text)["predictions"]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("number", range(MODELS))
def test_graph_numpy_and_three_wires_agree_on_every_row(models: list[Model], number: int) -> None:
    model = models[number]

    @settings(max_examples=200 if SOAK else 25, deadline=None)
    @given(tables(model.columns))
    def check(table: dict[str, Any]) -> None:
        by_place = {
            column_input(place): tf.constant(table[column.name])
            for place, column in enumerate(model.columns)
        }
        here = model.signatures.signatures["assign_columns"](**by_place)
        index, distance = here["cluster_index"].numpy(), here["distance"].numpy()
        distances, good = _reference(model, table)
        np.testing.assert_array_equal(index == -1, ~good)
        np.testing.assert_array_equal(distance == -1, ~good)
        nearest = np.sort(distances, axis=1)
        np.testing.assert_allclose(distance[good], nearest[good, 0], rtol=1e-4, atol=1e-4)
        clear = good & (nearest[:, 1] - nearest[:, 0] > 1e-3 * nearest[:, 1])
        np.testing.assert_array_equal(index[clear], distances.argmin(axis=1)[clear])
        whole = model.signatures.signatures["transform_columns"](**by_place)["all_distances"]
        np.testing.assert_allclose(whole.numpy()[good], distances[good], rtol=1e-4, atol=1e-4)
        for client in model.clients:
            answer = client.assign(table)
            np.testing.assert_array_equal(answer.cluster_index, index)
            np.testing.assert_allclose(answer.distance, distance, rtol=1e-5, atol=1e-6)
        in_rows = _ask_rows(model, table)
        np.testing.assert_array_equal(in_rows["cluster_index"], index)
        np.testing.assert_allclose(in_rows["distance"], distance, rtol=1e-5, atol=1e-6)

    check()
