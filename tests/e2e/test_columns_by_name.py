"""A fit of columns is published, served, and asked by the columns' own names over three wires."""

import asyncio
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from export import load, publish_fit, publishing
from kmeans_module import fit, fit_columns
from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, InvalidInput, Limits, RestClient
from serving.clients import grpc_messages
from serving.embedded import EmbeddedServer
from serving.golden_check import check_server

pytestmark = pytest.mark.slow

N = 400


def customers() -> dict[str, Any]:
    """Rows in three groups, of columns of every kind, with odd names and missing values."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, N)
    income = rng.normal(10.0 * group, 1.0).astype("f4")
    income[::17] = np.nan
    plan = np.array(["free", "paid", 'gr"ößer'], object)[group]
    plan[::13] = None
    return {
        "annual income": income,
        "class": plan,
        "1st": list(rng.normal(5.0 * group[:, None], 1.0, (N, 3)).astype("f4")),
        "größe": rng.random(N) < 0.5,
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "customers"
    table = customers()
    result = fit_columns(table, 3, categories=["class"], impute="mean", seed=1)
    publish_fit(result, table, place)
    points = np.random.default_rng(1).normal(size=(50, 2)).astype("f4")
    publish_fit(fit(points, 2), points, place.with_name("plain"), feature_names=["a", "b"])
    return place


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[EmbeddedServer]:
    config = base.with_name("served.config")
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'config {{ name: "{name}" base_path: "{base.with_name(name)}" '
            'model_platform: "tensorflow" }\n'
            for name in ("customers", "plain")
        )
        + "}\n"
    )
    with EmbeddedServer(model_config_file=config) as running:
        yield running


def grpc_address(server: EmbeddedServer) -> str:
    assert server.grpc_address is not None
    return server.grpc_address


def rest_address(server: EmbeddedServer) -> str:
    assert server.rest_address is not None
    return server.rest_address


@pytest.fixture(params=["gRPC", "REST"])
def client(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Any]:
    make: Any = GrpcClient if request.param == "gRPC" else RestClient
    address = grpc_address(server) if request.param == "gRPC" else rest_address(server)
    with make(address, "customers") as made:
        made.wait_until_ready(60)
        yield made


def test_a_table_is_matched_by_name_and_answered_as_in_process(base: Path, client: Any) -> None:
    table = customers()
    shuffled = {name: table[name] for name in reversed(table)}
    version = load(base)
    for method, output in (
        ("assign", "cluster_index"),
        ("assign", "distance"),
        ("score", "silhouette"),
        ("transform", "all_distances"),
    ):
        served = getattr(getattr(client, method)(shuffled), output)
        expected = getattr(getattr(version, method)(table), output)
        np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-6)


def frames() -> dict[str, Any]:
    """The rows of ``customers`` as people hold them, each with columns in another order."""
    table = customers()
    table["1st"] = [each.tolist() for each in table["1st"]]
    table["class"] = table["class"].tolist()
    pandas, polars, arrow = pd.DataFrame(table), pl.DataFrame(table), pa.table(table)
    income = [None if np.isnan(each) else Decimal(f"{each:.4f}") for each in table["annual income"]]
    return {
        "pandas": pandas[list(reversed(pandas.columns))],
        "pandas nullable": pandas.convert_dtypes(),
        "pandas categorical": pandas.astype({"class": "category"}),
        "pandas objects": pandas.astype(object).where(pandas.notna(), pd.NA),
        "pandas of Arrow": pandas.convert_dtypes(dtype_backend="pyarrow"),
        "polars": polars.select(reversed(polars.columns)),
        "polars categorical": polars.with_columns(pl.col("class").cast(pl.Categorical)),
        "Arrow": arrow.select(list(reversed(arrow.column_names))),
        "Arrow in chunks": pa.concat_tables(
            [
                part.set_column(1, "class", part["class"].combine_chunks().dictionary_encode())
                for part in (arrow[:150], arrow[150:])
            ]
        ),
        "Arrow of decimals": arrow.set_column(0, "annual income", pa.array(income)),
        "Arrow large": arrow.set_column(1, "class", arrow["class"].cast(pa.large_string())),
    }


@pytest.mark.parametrize("kind", frames())
def test_a_table_of_any_library_is_answered_as_a_mapping(client: Any, kind: str) -> None:
    found, wanted = client.assign(frames()[kind]), client.assign(customers())
    np.testing.assert_array_equal(found.cluster_index, wanted.cluster_index)
    np.testing.assert_allclose(found.distance, wanted.distance, rtol=1e-3, atol=1e-4)


def test_a_signature_over_columns_is_asked_by_its_name(client: Any) -> None:
    table = customers()
    answer = client.predict("score_columns", table)
    wanted = client.score(table)
    assert answer.outputs.keys() == {"squared_distance", "silhouette"}
    np.testing.assert_array_equal(answer.outputs["silhouette"], wanted.silhouette)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "annual income",
            ["52"] * N,
            "column 'annual income' has the text '52' in row 0, which is",
        ),
        ("class", [["free"]] * N, "column 'class' holds ['free'], which is not a category"),
        ("1st", [[1.0, 2.0]] * N, "column '1st' has shape (400, 2), and the model takes vectors"),
        ("größe", [1.0], "column 'größe' has 1 rows, and '1st' has 400; give as many"),
    ],
)
def test_what_a_column_does_not_hold_is_refused_by_its_name(
    client: Any, column: str, values: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        client.assign(customers() | {column: values})


def test_columns_that_the_model_does_not_take_are_named_once(client: Any) -> None:
    table = customers() | {"id": np.arange(N)}
    with pytest.warns(UserWarning, match="customers ignores the columns id"):
        client.assign(table)
    client.assign(table)  # a warning would be an error


def test_a_missing_column_is_refused_with_the_near_miss(client: Any) -> None:
    table = customers()
    table["annual_income"] = table.pop("annual income")
    with pytest.raises(InvalidInput, match=r"no column 'annual income'.*mean 'annual_income'"):
        client.assign(table)


def test_a_table_without_rows_is_answered_without_rows(client: Any) -> None:
    empty = {
        "annual income": np.empty(0, "f4"),
        "class": np.empty(0, object),
        "1st": np.empty((0, 3), "f4"),
        "größe": np.empty(0, "f4"),
    }
    assert client.assign(empty).cluster_index.shape == (0,)
    assert client.transform(empty).all_distances.shape == (0, 3)


def test_rows_go_in_parts_as_points_do(server: EmbeddedServer) -> None:
    table = customers()
    with GrpcClient(grpc_address(server), "customers", limits=Limits(rows=64)) as parted:
        found = parted.assign(table).cluster_index
    with GrpcClient(grpc_address(server), "customers") as whole:
        np.testing.assert_array_equal(found, whole.assign(table).cluster_index)


def test_bad_rows_are_refused_where_the_client_was_told_to(server: EmbeddedServer) -> None:
    table = customers()
    table["1st"][5] = np.full(3, np.nan, "f4")
    with (
        RestClient(rest_address(server), "customers", on_bad_row="raise") as strict,
        pytest.raises(InvalidInput, match="row 5 has a missing or infinite value, as do 1 of 400"),
    ):
        strict.assign(table)


def test_a_table_for_a_model_that_knows_no_names_is_refused(server: EmbeddedServer) -> None:
    with (
        GrpcClient(grpc_address(server), "plain") as plain,
        pytest.raises(InvalidInput, match=r"takes no columns by name; .* points.to_numpy\(\)"),
    ):
        plain.assign({"a": [1.0], "b": [2.0]})


def test_a_model_that_is_replaced_by_one_of_other_columns_is_asked_for_these(
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, base: Path
) -> None:
    """The table has the columns of both; a call that the new version refuses is asked anew."""
    table: dict[str, Any] = {"a": np.arange(9.0), "b": ["x", "y", "z"] * 3, "c": np.ones(9)}
    moved = tmp_path_factory.mktemp("moved") / "moved"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)

        def publish_columns(*names: str) -> None:
            own = {name: table[name] for name in names}
            categories = [name for name in names if name == "b"]
            publish_fit(fit_columns(own, 2, categories=categories, seed=1), own, moved)

        publish_columns("a", "c")
        options: dict[str, Any] = {"file_system_poll_wait_seconds": 0.1}
        with (
            EmbeddedServer(model_name="moved", model_base_path=moved, **options) as moving,
            GrpcClient(grpc_address(moving), "moved") as over_grpc,
            RestClient(rest_address(moving), "moved") as over_rest,
        ):
            with pytest.warns(UserWarning, match="moved ignores the columns b"):
                over_grpc.assign(table)
            with pytest.warns(UserWarning, match="moved ignores the columns b"):
                over_rest.assign(table)
            publish_columns("a", "b")
            over_grpc.wait_until_ready(60, version=2)
            with pytest.warns(UserWarning, match="moved ignores the columns c"):
                assert over_grpc.assign(table).version == 2
            with pytest.warns(UserWarning, match="moved ignores the columns c"):
                found = over_rest.assign(table).cluster_index
            own = {name: table[name] for name in ("a", "b")}
            np.testing.assert_array_equal(found, load(moved, 2).assign(own).cluster_index)


def test_texts_count_for_the_length_of_a_message(server: EmbeddedServer) -> None:
    """Rows of long texts go in more parts, each below the limit."""
    table = customers()
    table["class"] = np.where(np.arange(N) % 2 == 0, "x" * 20_000, table["class"])
    limits = Limits(message_bytes=500_000)
    with (
        GrpcClient(grpc_address(server), "customers", limits=limits) as over_grpc,
        RestClient(rest_address(server), "customers", limits=limits, timeout=60) as over_rest,
        GrpcClient(grpc_address(server), "customers") as whole,
    ):
        sent = []
        with pytest.MonkeyPatch.context() as patch:
            build = grpc_messages.build_request

            def measure(operation: Any) -> Any:
                method, message = build(operation)
                sent.append(len(message))
                return method, message

            patch.setattr(grpc_messages, "build_request", measure)
            found = over_grpc.assign(table).cluster_index
        assert len(sent) > 10
        assert max(sent) <= 500_000
        np.testing.assert_array_equal(found, whole.assign(table).cluster_index)
        np.testing.assert_array_equal(found, over_rest.assign(table).cluster_index)


def test_awaited_clients_take_tables_too(server: EmbeddedServer) -> None:
    table = customers()

    async def ask() -> list[Any]:
        async with (
            AsyncGrpcClient(grpc_address(server), "customers") as over_grpc,
            AsyncRestClient(rest_address(server), "customers") as over_rest,
        ):
            return [await over_grpc.assign(table), await over_rest.assign(table)]

    first, second = asyncio.run(ask())
    np.testing.assert_array_equal(first.cluster_index, second.cluster_index)


def test_a_server_answers_the_golden_requests_of_columns(
    base: Path, server: EmbeddedServer
) -> None:
    checks = list(check_server(grpc_address(server), rest_address(server), base, "customers"))
    assert [str(check) for check in checks if not check.passed] == []
    said = "\n".join(map(str, checks))
    assert "assign_columns" in said
