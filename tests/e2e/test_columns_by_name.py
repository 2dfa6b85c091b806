"""A fit of columns is published, served, and asked by the columns' own names over three wires."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from export import load, publish_fit
from kmeans_module import fit, fit_columns
from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, InvalidInput, RestClient
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


def test_an_arrow_table_and_a_mapping_are_the_same_rows(client: Any) -> None:
    table = customers()
    arrow = pa.table({**table, "1st": [each.tolist() for each in table["1st"]]})
    np.testing.assert_array_equal(
        client.assign(arrow).cluster_index, client.assign(table).cluster_index
    )


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
    from serving import Limits

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
        pytest.raises(InvalidInput, match="row 5 has a missing or infinite value, as 1 of 400"),
    ):
        strict.assign(table)


def test_a_table_for_a_model_that_knows_no_names_is_refused(server: EmbeddedServer) -> None:
    with (
        GrpcClient(grpc_address(server), "plain") as plain,
        pytest.raises(InvalidInput, match=r"knows no columns by name; .* points.to_numpy\(\)"),
    ):
        plain.assign({"a": [1.0], "b": [2.0]})


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
