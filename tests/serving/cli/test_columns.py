"""The commands about a model that takes the columns of a table by name, and over its rows."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from export import ModelCard, load, make_card, publish_fit, write_candidate
from export.column_rows import ColumnRows
from export.model_card import CardColumn, CardEncoder
from kmeans_module import fit, fit_columns
from kmeans_module.column_training import encode_arrays
from serving.cli import main
from serving.embedded import EmbeddedServer
from serving.report import pages
from serving.report.version_profile import VersionProfile
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
    publish_unvalidated(tmp_path, "wide", ("x", "y"), rows=30, versions=1)
    place = tmp_path / "models" / "wide" / "1"
    values = tuple(f"value\n{number}" for number in range(900))
    columns = [CardColumn("plan", "category", values=values)]
    columns += [CardColumn(f"number {index}", "number") for index in range(60)]
    replace(ModelCard.read(place), encoder=CardEncoder(tuple(columns)), format=2).write(place)
    said = said_by(capsys, "inspect", place.parent)
    assert "category of 900 values ('value\\n0', " in said
    assert "and 892 more); another" in said
    assert "    and 21 more; see --json\n" in said


def test_metadata_has_the_signatures_over_columns(
    served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(capsys, "metadata", "--server", served, "--name", "customers")
    assert (
        "  assign_columns\n    inputs   1st float32 [*, 2], annual income float32 [*], "
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


def test_a_report_says_what_becomes_of_a_missing_value_and_what_features_weigh(
    tmp_path: Path,
) -> None:
    table = {name: column for name, column in customers().items() if name != "1st"}
    weights = {"class": 0.25}
    result = fit_columns(
        table, 2, categories=["class"], impute="mean", feature_weight=weights, seed=1
    )
    encoder = result.module.encoder
    assert encoder is not None
    rows = ColumnRows.read(encoder.columns, table)
    points = encode_arrays(encoder, list(rows.tensors.values()))
    card = make_card(result, points, feature_names=encoder.feature_names)
    write_candidate(tmp_path / "1", result, card, points, rows)
    seen = texts(pages.render_version(VersionProfile.measure(tmp_path / "1", "one")))
    assert "feature weights class: 0.25" in seen
    fill = np.nanmean(table["annual income"])
    assert f"annual income number; a missing one becomes {fill:.6g}" in seen
    assert "class category of 2 values (free, paid); another or a missing one is 0 in all" in seen


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


def rows_table() -> pa.Table:
    """The rows as a file has them: with an id, a value that is new, and two that are bad."""
    table = {name: list(values) for name, values in customers().items()}
    table["class"] = [None if value is None else str(value) for value in table["class"]]
    table["class"][7] = "never seen"
    table["annual income"][3] = float("inf")
    vectors = [vector.tolist() for vector in table["1st"]]
    vectors[9] = None
    income = pa.array(table["annual income"], pa.float64(), from_pandas=True)
    return pa.table(
        {
            "id": [f"row {number}" for number in range(N)],
            "class": table["class"],
            "annual income": income,
            "1st": vectors,
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the same rows in three kinds of files; the CSV has a column for each number."""
    folder = tmp_path_factory.mktemp("rows")
    table = rows_table()
    pq.write_table(table, folder / "rows.parquet")
    with (folder / "rows.jsonl").open("w") as file:
        for row in table.to_pylist():
            file.write(json.dumps(row).replace("Infinity", "1e999") + "\n")
    flat = table.drop(["1st"])
    for place in range(2):
        numbers = [vector and vector[place] for vector in table["1st"].to_pylist()]
        flat = flat.append_column(f"1st[{place}]", pa.array(numbers))
    pacsv.write_csv(flat, folder / "rows.csv")
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("where", ["here", "by a server"])
def test_assign_reads_the_columns_of_any_file(
    base: Path,
    served: str,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    where: str,
) -> None:
    server = ["--server", served] if where == "by a server" else []
    command = ["assign", files / f"rows.{kind}", "--model", base, "--version", 2, *server]
    assert main([str(part) for part in command]) == 0
    said = capsys.readouterr()
    lines = [line.split(",") for line in said.out.splitlines()[1:]]
    expected = load(base, 2).assign(rows_table().drop_columns("id"))
    assert [int(index) for index, _ in lines] == expected.cluster_index.tolist()
    np.testing.assert_allclose([float(each) for _, each in lines], expected.distance, rtol=1e-5)
    assert said.err.splitlines() == [
        "ignored 1 column: id",
        f"answered by version 2 of {base}",
        "2 rows not scored (missing, infinite or out of range)",
        "class: 1 of 298 values unknown, 24 of 298 values missing; "
        "annual income: 18 of 298 values filled",
    ]


def test_a_point_has_the_columns_in_their_order(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = ["--point", "20,paid,9,9", "--point", ", ,9,9", "--point", 'NA,"pa,id",0,0']
    said = said_by(capsys, "assign", *points, "--model", base)
    expected = load(base).assign(
        {
            "annual income": [20.0, None, None],
            "class": ["paid", "", "pa,id"],
            "1st": np.array([[9, 9], [9, 9], [0, 0]], "f4"),
        }
    )
    pairs = zip(expected.cluster_index, map(str, expected.distance), strict=True)
    assert said.splitlines()[1:] == [f"{index},{distance}" for index, distance in pairs]


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("20,paid,9", "has 3 values, and the model takes 4: annual income, class, 1st[2]"),
        ("x,paid,9,9", "'x' is not a number, and the model takes annual income, class, 1st[2]"),
    ],
)
def test_a_point_that_is_not_as_the_columns_is_a_mistake(
    base: Path, capsys: pytest.CaptureFixture[str], point: str, said: str
) -> None:
    assert main(["assign", "--point", point, "--model", str(base)]) == 2
    assert capsys.readouterr().err == f"error: --point {point}: {said}\n"


def score_files(base: Path, files: Path, out: Path, *options: object) -> dict[str, Any]:
    """What a job wrote, by the names of its files: the tables, or bytes."""
    inputs = [files / "rows.csv", files / "rows.parquet"]
    command = ["batch-score", *inputs, out, "--model", base, "--keep", "id,class", *options]
    assert main([str(part) for part in command]) == 0
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("part-*"))
        if path.parent.name in ("scored", "rejected")
    }


def columns_of_summary(out: Path) -> Any:
    return json.loads((out / "summary.json").read_text())["columns"]


def test_a_category_of_unknown_values_alone_is_named_at_the_end(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = pa.array([f"other {row % 3}" for row in range(N)])
    table = rows_table().set_column(1, "class", unknown).slice(20, 200)
    pq.write_table(table, tmp_path / "rows.parquet")
    said = said_by(
        capsys, "batch-score", tmp_path / "rows.parquet", tmp_path / "out", "--model", base
    )
    filled = table["annual income"].null_count
    named = f"class: 200 of 200 values unknown; annual income: {filled} of 200 values filled"
    assert f"columns   {named}" in said


def test_all_runners_write_the_same_bytes(
    base: Path, served: str, files: Path, tmp_path: Path
) -> None:
    options = ["--score", "--all-distances", "--part-rows", 100, "--version", 2]
    here = score_files(base, files, tmp_path / "here", *options)
    assert len(here) == 8
    counted = {
        "annual income": {"filled": 36},
        "class": {"unknown": 2, "missing": 48},
    }
    assert columns_of_summary(tmp_path / "here") == counted
    by_server = score_files(base, files, tmp_path / "server", *options, "--server", served)
    assert by_server == here
    assert columns_of_summary(tmp_path / "server") == counted
    pytest.importorskip("apache_beam")
    assert score_files(base, files, tmp_path / "beam", *options, "--runner", "beam") == here
    assert columns_of_summary(tmp_path / "beam") == counted


def test_scored_rows_are_answered_as_in_process_and_rejects_name_the_column(
    base: Path, files: Path, tmp_path: Path
) -> None:
    score_files(base, files, tmp_path / "out", "--version", 2)
    scored = pq.read_table(tmp_path / "out" / "scored" / "part-00001-00000.parquet")
    expected = load(base, 2).assign(rows_table().drop_columns("id"))
    is_good = expected.cluster_index >= 0
    assert scored["cluster_index"].to_pylist() == expected.cluster_index[is_good].tolist()
    assert scored["class"].to_pylist() == rows_table()["class"].filter(is_good).to_pylist()
    for part, name in enumerate(("rows.csv", "rows.parquet")):
        rejected = pq.read_table(tmp_path / "out" / "rejected" / f"part-{part:05d}-00000.parquet")
        assert rejected.to_pylist() == [
            {
                "file": str(files / name),
                "row": 4,
                "column": "annual income",
                "reason": "is infinite",
            },
            {"file": str(files / name), "row": 10, "column": "1st", "reason": "is missing"},
        ]


def test_a_dry_run_says_which_columns_are_read(
    base: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["batch-score", files / "rows.csv", tmp_path / "out", "--model", base, "--dry-run"]
    assert "  columns read  annual income, class, 1st[2]\n" in said_by(capsys, *command)


def test_rows_without_names_cannot_have_categories(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((3, 4), "f4"))
    for command in (["assign"], ["batch-score"]):
        out = [str(tmp_path / "out")] if command == ["batch-score"] else []
        given = [*command, str(tmp_path / "rows.npy"), *out, "--model", str(base)]
        assert main(given) == 2
        assert capsys.readouterr().err == (
            f"error: {tmp_path}/rows.npy: its columns have no names, and the model takes the "
            "category class by name; give a file with column names\n"
        )


def test_a_column_that_is_not_there_is_named_with_the_near_miss(
    base: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = rows_table().rename_columns(["id", "klass", "annual income", "1st"])
    pq.write_table(table, tmp_path / "rows.parquet")
    assert main(["assign", str(tmp_path / "rows.parquet"), "--model", str(base)]) == 2
    assert "no column 'class' (columns: id, " in capsys.readouterr().err


def test_a_server_of_other_columns_is_told_before_any_row_is_sent(
    base: Path, served: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = ModelCard.read(base / "2")
    assert card.encoder is not None
    renamed = [replace(card.encoder.columns[0], name="id"), *card.encoder.columns[1:]]
    shutil.copytree(base / "2" / "assets.extra", tmp_path / "assets.extra")
    replace(card, encoder=CardEncoder(tuple(renamed))).write(tmp_path)
    for name in ("csv", "parquet"):
        shutil.copy(files / f"rows.{name}", tmp_path)
    numbers = rows_table().set_column(0, "id", pa.array(range(N)))
    pq.write_table(numbers, tmp_path / "rows.parquet")
    given = ["--card", tmp_path / "assets.extra" / "model_card.json", "--version", 2]
    command = ["batch-score", tmp_path / "rows.parquet", tmp_path / "out", *given]
    assert main([str(part) for part in [*command, "--server", served, "--name", "customers"]]) == 2
    assert (
        "assign_columns takes 1st, annual income, class, and the card has the columns id, class, "
        "1st\n"
    ) in capsys.readouterr().err


def test_monitor_asks_a_server_for_columns_and_reads_what_was_scored(
    base: Path, served: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = json.loads(
        said_by(
            *(capsys, "monitor", files / "rows.parquet", "--model", base, "--version", 2),
            *("--server", served, "--json"),
        )
    )
    assert asked["rows"] == N
    assert asked["drift"] is False
    score_files(base, files, tmp_path / "out", "--version", 2)
    capsys.readouterr()
    read = json.loads(said_by(capsys, "monitor", tmp_path / "out", "--model", base, "--json"))
    assert read["rows"] == 2 * N
    for name in ("baseline", "recent"):
        one, other = ([each[name] for each in found["clusters"]] for found in (asked, read))
        np.testing.assert_allclose(one, other)


def test_rows_of_a_file_are_what_a_candidate_and_the_live_version_are_compared_on(
    base: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = customers(("free", "paid", "brand new"))
    result = fit_columns(table, 2, categories=["class"], impute="mean", seed=2)
    encoder = result.module.encoder
    assert encoder is not None
    rows = ColumnRows.read(encoder.columns, table)
    points = encode_arrays(encoder, list(rows.tensors.values()))
    card = make_card(result, points, feature_names=encoder.feature_names, model="customers")
    write_candidate(tmp_path / "candidate", result, card, points, rows)
    holdout = ["--holdout", files / "rows.csv"]
    said = json.loads(
        said_by(capsys, "publish", tmp_path / "candidate", base, *holdout, "--dry-run", "--json")
    )
    assert said["comparison"]["rows"] == N - 2
    assert said["comparison"]["rows_kept"] > 0.99
    compared = json.loads(
        said_by(capsys, "compare", base / "1", base / "2", "--rows", files / "rows.csv", "--json")
    )
    assert compared["rows"] == N - 2


def test_of_numbers_alone_a_file_without_names_is_taken_by_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"income": customers()["annual income"], "vector": customers()["1st"]}
    publish_fit(fit_columns(table, 2, impute="mean", seed=1), table, tmp_path / "named")
    rows = np.column_stack([table["income"], np.stack(table["vector"])]).astype("f4")
    np.save(tmp_path / "rows.npy", rows)
    said = said_by(capsys, "assign", tmp_path / "rows.npy", "--model", tmp_path / "named")
    clusters = [int(line.split(",")[0]) for line in said.splitlines()[1:]]
    assert clusters == load(tmp_path / "named").assign(table).cluster_index.tolist()


def test_more_columns_than_a_server_takes_by_name_are_scored_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    table = {f"n{index}": rng.normal(10.0 * (np.arange(60) % 2), 1.0) for index in range(260)}
    publish_fit(fit_columns(table, 2, impute="mean", seed=1), table, tmp_path / "wide")
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    command = ["assign", str(tmp_path / "rows.parquet"), "--model", str(tmp_path / "wide")]
    assert len(said_by(capsys, *command).splitlines()) == 61
    assert main([*command, "--server", "localhost:1"]) == 2
    assert (
        "the model takes 260 columns, and a server takes up to 256 by " in capsys.readouterr().err
    )
