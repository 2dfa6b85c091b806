"""The commands about a model that takes the columns of a table by name."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import ModelCard, publish_fit
from kmeans_module import fit, fit_columns
from serving.cli import main
from serving.embedded import EmbeddedServer
from tests.published_models import publish_unvalidated

from .test_light_start import WITHOUT, python
from .test_report import texts

pytestmark = pytest.mark.slow

N = 300


def customers(plans: tuple[str, ...] = ("free", "paid")) -> dict[str, Any]:
    """Rows in two groups, of columns of every kind, with odd names and missing values."""
    rng = np.random.default_rng(0)
    group = np.arange(N) % 2
    income = rng.normal(20.0 * group, 1.0)
    income[::17] = np.nan
    plan = np.array(plans, object)[(group + 2 * (np.arange(N) % 41 == 0)) % len(plans)]
    plan[::13] = None
    return {
        "annual income": income,
        "class": plan,
        "1st": list(rng.normal(9.0 * group[:, None], 1.0, (N, 2)).astype("f4")),
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions, of which the second knows a value of a category more."""
    base = tmp_path_factory.mktemp("models") / "customers"
    for plans in (("free", "paid"), ("free", "paid", "new")):
        table = customers(plans)
        result = fit_columns(table, 2, categories=["class"], impute="mean", seed=1)
        publish_fit(result, table, base)
    return base


@pytest.fixture(scope="module")
def served(base: Path) -> Iterator[str]:
    with EmbeddedServer(model_name="customers", model_base_path=base) as server:
        assert server.grpc_address is not None
        yield server.grpc_address


def said_by(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    assert main([str(part) for part in command]) == 0
    return capsys.readouterr().out


def test_inspect_shows_the_columns_and_what_becomes_of_a_missing_value(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(capsys, "inspect", base, 2)
    assert "  features      annual income, class=free, class=new, class=paid, 1st[2]\n" in said
    assert re.search(r"    annual income  number; a missing one becomes \d+\.\d+\n", said)
    assert (
        "    class          category of 3 values (free, new, paid); another or a missing one is 0 "
        "in all\n    1st            vector of 2 numbers; a missing one makes a bad row\n"
    ) in said
    assert "    assign_columns, score_columns, transform_columns: the columns, by " in said


def test_inspect_gives_a_program_the_columns_whole(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = json.loads(said_by(capsys, "inspect", base, 2, "--json"))
    assert [each["name"] for each in said["card"]["encoder"]["columns"]] == list(customers())
    assert said["card"]["encoder"]["columns"][1]["values"] == ["free", "new", "paid"]
    assert said["signatures"]["assign_columns"]["inputs"] == {
        "annual income": {"dtype": "float32", "shape": [-1]},
        "class": {"dtype": "string", "shape": [-1]},
        "1st": {"dtype": "float32", "shape": [-1, 2]},
    }


def test_of_many_values_and_columns_some_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from export.model_card import CardColumn, CardEncoder

    publish_unvalidated(tmp_path, "wide", ("x", "y"), rows=30, versions=1)
    place = tmp_path / "models" / "wide" / "1"
    values = tuple(f"value\n{number}" for number in range(900))
    columns = [CardColumn("plan", "category", values=values)]
    columns += [CardColumn(f"number {index}", "number") for index in range(60)]
    replace(ModelCard.read(place), encoder=CardEncoder(tuple(columns)), format=2).write(place)
    said = said_by(capsys, "inspect", place.parent)
    assert "category of 900 values ('value\\n0', " in said
    assert "and 892 more); another" in said
    assert "    and 21 more; --json has them all\n" in said


def test_metadata_has_the_signatures_over_columns(
    served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(capsys, "metadata", "--server", served, "--name", "customers")
    assert (
        "  assign_columns\n    takes  1st float32 [*, 2], annual income float32 [*], "
        "class string [*]\n"
    ) in said


def test_a_probe_asks_for_columns_and_needs_no_tensorflow(base: Path, served: str) -> None:
    asked = python(
        WITHOUT, "tensorflow,pyarrow,httpx", "probe", "--server", served, "--model", base
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    number = int(re.findall(r"golden request (\d+) answered", asked.stdout)[0])
    from export import golden_requests

    requests = golden_requests.read(base / "2")
    assert requests[number].signature == "assign_columns"


def test_verify_asks_the_server_for_columns_too(
    base: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(capsys, "verify", base, 2, "--server", served)
    assert said.startswith("version 2: ok\n")


def test_a_report_says_shares_of_a_category(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    said_by(capsys, "report", base, 2, "--out", out)
    seen = texts(out.read_text())
    assert "numbers: annual income; categories: class; vectors: 1st" in seen
    assert re.search(r"class=paid: \d+\.\d% \(\d+\.\d%\)", seen)
    assert re.search(r"annual income: \d+\.\d+ \(\d+\.\d+\)", seen)


def test_versions_that_know_other_values_are_compared_by_the_names_of_the_features(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "both.html"
    said = json.loads(
        said_by(capsys, "compare", base / "1", base / "2", "--json", "--report", page)
    )
    assert said["rows_kept"] > 0.99
    assert said["features_of_one"] == [[], ["class=new"]]
    assert "features of its own class=new" in texts(page.read_text())
    assert re.search(
        r"class=free \d+\.\d% → \d+\.\d%", said_by(capsys, "compare", base / "1", base / "2")
    )


def test_models_of_other_columns_are_not_compared(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_unvalidated(tmp_path, "plain", ("x", "y"), rows=30, versions=1)
    assert main(["compare", str(base), str(tmp_path / "models" / "plain")]) == 2
    assert capsys.readouterr().err == (
        "error: plain 1 takes the columns x, y, and customers 1 takes by name the columns annual "
        "income (number), class (category), 1st (vector): compare models of the same columns\n"
    )


def test_a_plain_model_of_the_same_features_is_compared(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = customers()["annual income"][:, None]
    table = {"income": numbers[:, 0]}
    by_name = tmp_path / "named"
    publish_fit(fit_columns(table, 2, impute="mean", seed=1), table, by_name)
    complete = numbers[~np.isnan(numbers[:, 0])].astype("f4")
    publish_fit(fit(complete, 2, seed=1), complete, tmp_path / "plain", feature_names=["income"])
    for pair in ((by_name, tmp_path / "plain"), (tmp_path / "plain", by_name)):
        said = json.loads(said_by(capsys, "compare", *pair, "--json"))
        assert said["rows_kept"] > 0.99
