"""One set of rows the whole way: a file, a model, a server, four clients, a new value, and back."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from export import load
from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, RestClient
from serving.cli import main
from serving.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

N = 300


def write_rows(path: Path, seed: int, plans: tuple[str, ...]) -> pa.Table:
    """Numbers with gaps, two categories, of which one is of whole numbers, and a vector."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, N)
    income = rng.normal(9.0 * group, 1.0)
    plan = np.array(plans, object)[group]
    rare = rng.random(N) < 0.05
    plan[rare] = plans[-1]
    plan[rng.random(N) < 0.05] = None
    table = pa.table(
        {
            "annual income": pa.array(
                np.where(rng.random(N) < 0.1, np.nan, income), from_pandas=True
            ),
            "größe": pa.array(rng.normal(5.0 * group, 1.0)),
            "class": pa.array(plan),
            "1st/region": pa.array(rng.integers(1, 4, N)),
            "embedding": pa.array(
                [each.tolist() for each in rng.normal(9.0 * group[:, None], 1.0, (N, 3))],
                pa.list_(pa.float32(), 3),
            ),
            "customer": [f"c{place}" for place in range(N)],
        }
    )
    pq.write_table(table, path)
    return table


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def train(capsys: pytest.CaptureFixture[str], rows: Path, base: Path) -> None:
    options = ("--clusters", 3, "--categories", "class,1st/region", "--impute", "median")
    columns = ("--exclude", "customer", "--standardize", "--feature-weight", "class=0.5")
    run(capsys, "train", rows, *options, *columns, "--seed", 1, "--model", base)


def ask_four(server: EmbeddedServer, table: Any) -> list[tuple[int | None, NDArray[Any]]]:
    grpc, rest = str(server.grpc_address), str(server.rest_address)

    async def ask() -> list[Any]:
        async with (
            AsyncGrpcClient(grpc, "customers") as over_grpc,
            AsyncRestClient(rest, "customers") as over_rest,
        ):
            return [await over_grpc.assign(table), await over_rest.assign(table)]

    with GrpcClient(grpc, "customers") as over_grpc, RestClient(rest, "customers") as over_rest:
        answers = [over_grpc.assign(table), over_rest.assign(table), *asyncio.run(ask())]
    return [(each.version, each.cluster_index) for each in answers]


@pytest.mark.filterwarnings("ignore:customers ignores the columns customer")
def test_a_file_becomes_a_model_that_is_served_retrained_and_rolled_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, first, second = (
        tmp_path / name for name in ("models/customers", "1.parquet", "2.parquet")
    )
    table = write_rows(first, 0, ("free", "paid", "größer"))
    later = write_rows(second, 1, ("free", "paid", "größer", "never seen"))
    train(capsys, first, base)
    with EmbeddedServer(
        model_config_file=base.parent / "models.config",
        file_system_poll_wait_seconds=0.1,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        frame = table.to_pandas()[list(reversed(table.column_names))]
        wanted = load(base).assign(table.drop_columns("customer")).cluster_index
        assert set(wanted) == {0, 1, 2}
        for _, found in ask_four(server, frame):
            np.testing.assert_array_equal(found, wanted)

        # A file of text has the same answers, here and by the server.
        text = tmp_path / "rows.csv"
        flat = table.to_pandas().drop(columns="embedding")
        vectors = pd.DataFrame(table["embedding"].to_pylist())
        flat[[f"embedding[{place}]" for place in range(3)]] = vectors
        flat.to_csv(text, index=False)
        where = ("--server", server.grpc_address)
        for name, options in (("here", ()), ("there", (*where, "--name", "customers"))):
            model = ("--model", base, *options)
            run(capsys, "batch-score", text, tmp_path / name, *model, "--keep", "customer")
            scored = pq.read_table(tmp_path / name / "scored").to_pandas().set_index("customer")
            scored = scored.loc[table["customer"].to_pylist()]
            np.testing.assert_array_equal(scored["cluster_index"], wanted)

        # The next version knows a value more, and the gate lets it pass.
        train(capsys, second, base)
        assert "class=never seen" in load(base, 2).card.feature_names
        run(capsys, "promote", base, 2, *where)
        after = load(base, 2).assign(later.drop_columns("customer")).cluster_index
        assert {version for version, _ in ask_four(server, later)} == {2, None}
        for _, found in ask_four(server, later):
            np.testing.assert_array_equal(found, after)
        said = json.loads(run(capsys, "verify", base, *where, "--json"))
        assert [each["ok"] for each in said["versions"]] == [True]

        run(capsys, "rollback", base, *where)
        for _, found in ask_four(server, frame):
            np.testing.assert_array_equal(found, wanted)
