"""``train`` with columns that the model encodes itself: from files to versions and refusals."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from export import ModelCard, load
from kmeans_module import fit_columns
from kmeans_module.columns import CategoryColumn, NumberColumn
from serving.cli import main

HEADER = "customer,annual income,größe,region,seats\n"


def write_rows(path: Path, *, newcomer: str = "US") -> Path:
    """Two groups; a region tells them apart, a number is missing here and there."""
    rng = np.random.default_rng(5)
    lines = []
    for row in range(200):
        group = row % 2
        income = "" if row % 17 == 0 else f"{rng.normal(50 + 40 * group, 4):.1f}"
        region = [["DE", "FR", ""], ["NA", newcomer, "DE"]][group][row % 3]
        lines.append(f"c{row},{income},{rng.normal(3):.2f},{region},{'1.0' if group else '2'}\n")
    path.write_text(HEADER + "".join(lines))
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.csv")


def train(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What the command prints as JSON, and its notes."""
    assert main(["train", *map(str, arguments), "--clusters", "2", "--n-init", "1", "--json"]) == 0
    captured = capsys.readouterr()
    said: dict[str, Any] = json.loads(captured.out)
    return said | {"notes": captured.err.splitlines()}


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that the user mistook."""
    assert main(["train", *map(str, arguments), "--clusters", "2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_published_model_takes_the_columns_of_the_file_by_name(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "customers"
    options = ["--impute", "median", "--categories", "region,seats", "--standardize"]
    options += ["--feature-weight", "annual income=2", "--feature-weight", "größe=0.5,region=3"]
    said = train(capsys, rows, "--model", base, *options)

    card = ModelCard.read(base / "1")
    income, size, region, seats = card.columns
    assert isinstance(income, NumberColumn)
    assert income.fill is not None
    assert size == NumberColumn("größe", pytest.approx(3, abs=0.5))  # type: ignore[arg-type]
    assert region == CategoryColumn("region", ("DE", "FR", "NA", "US"))
    assert seats == CategoryColumn("seats", ("1", "2"))
    assert card.format == 2
    assert card.data.rows_left_out == 0
    assert card.parameters.feature_weight == (2, 0.5, 3, 3, 3, 3, 1, 1)

    assert said["columns"] == list(card.feature_names)
    assert [each["kind"] for each in said["encoder"]["columns"]] == ["number"] * 2 + [
        "category"
    ] * 2
    assert said["imputed"] == {"annual income": 12}
    assert said["feature_weight"] == {"annual income": 2, "größe": 0.5, "region": 3}
    assert any(
        line.startswith("imputed missing numbers by the median of the column (annual income: 12 by")
        for line in said["notes"]
    )

    # Odd names, another order, a number for a category, a value that was not there.
    answer = load(base).assign(
        {
            "seats": [1, 2.0],
            "region": ["NA", "Mars"],
            "größe": [3.0, np.nan],
            "annual income": [90, 50],
        }
    )
    assert set(answer.cluster_index.tolist()) == {0, 1}


def test_the_command_and_python_end_in_the_same_model(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--impute", "median", "--categories", "region", "--feature-weight", "region=2"]
    train(capsys, rows, "--candidate", tmp_path / "c", *options, "--exclude", "customer")
    card = ModelCard.read(tmp_path / "c")
    frame = pd.read_csv(rows, keep_default_na=False, na_values={"annual income": [""]})
    result = fit_columns(
        frame[[each.name for each in card.columns]],
        2,
        n_init=1,
        impute="median",
        categories=["region"],
        feature_weight={"region": 2},
    )
    assert result.module.encoder is not None
    assert result.module.encoder.columns == card.columns
    assert float(result.inertia) == card.inertia
    assert result.module.scale.numpy().tolist() == list(card.scale)
    parquet = tmp_path / "rows.parquet"
    frame.replace({"region": {"": None}}).to_parquet(parquet)
    train(capsys, parquet, "--candidate", tmp_path / "p", *options, "--exclude", "customer")
    assert ModelCard.read(tmp_path / "p").data.fingerprint == card.data.fingerprint


def test_a_category_that_is_new_passes_the_gate(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "customers"
    options = ["--model", base, "--impute", "mean", "--categories", "region"]
    train(capsys, rows, *options)
    newer = write_rows(tmp_path / "new.csv", newcomer="CA")
    again = train(capsys, newer, *options, "--holdout", newer)
    assert again["version"] == 2
    assert "region=CA" in again["columns"]
    assert again["comparison"]["rows_kept"] > 0.9
    assert again["comparison"]["rows"] == 200


def test_a_candidate_a_report_and_a_log_are_written_of_columns_too(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--categories", "region", "--unknown", "category", "--distance", "cosine"]
    views = ["--report", tmp_path / "r.html", "--tensorboard", tmp_path / "log"]
    said = train(capsys, rows, "--candidate", tmp_path / "c", *options, *views)
    card = ModelCard.read(tmp_path / "c")
    assert card.columns[2] == CategoryColumn("region", ("DE", "FR", "NA", "US"), True)
    assert (card.data.rows_left_out, card.data.rows_used) == (12, 188)
    assert "annual income" in (tmp_path / "r.html").read_text()
    assert said["imputed"] == {}
    assert main(["publish", str(tmp_path / "c"), str(tmp_path / "m")]) == 0
    table = {"region": ["DE", None], "größe": [3.0, 3.0], "annual income": [50.0, np.nan]}
    answer = load(tmp_path / "m").assign(table | {"seats": [1.0, 2.0]})
    assert answer.cluster_index[1] == -1  # nothing takes the place of a missing number


@pytest.mark.filterwarnings("error:Glyph")
def test_names_that_a_terminal_would_obey_and_long_values_are_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "v" * 3_000
    rows = [
        {"two\nlines": n % 7, "red\x1b[31m": n % 5, "身長": n % 3, "plan": [long, "free"][n % 2]}
        for n in range(60)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    page, model = tmp_path / "report.html", str(tmp_path / "models" / "m")
    command = ["train", str(path), "--clusters", "2", "--categories", "plan", "--model", model]
    assert main([*command, "--report", str(page)]) == 0
    assert main(["inspect", model]) == 0
    out, err = capsys.readouterr()
    # The download of all centroids has the whole names.
    shown = re.sub(r'href="data:[^"]*"', "", page.read_text())
    for said in (out, err, shown):
        assert "\x1b" not in said
        assert "two\nlines" not in said
        assert long not in said
    assert r"'two\nlines'" in out
    assert r"'red\x1b[31m'" in out
    assert "plan=vvv" in out
    assert "身長" in page.read_text()


def test_without_such_options_a_model_is_as_before_and_by_name_alone_gives_it_columns(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(capsys, rows, "--candidate", tmp_path / "plain")
    assert "--categories region would take 1 column of text as categories" in plain["notes"]
    named = train(capsys, rows, "--candidate", tmp_path / "named", "--by-name")
    cards = [ModelCard.read(tmp_path / name) for name in ("plain", "named")]
    assert [card.format for card in cards] == [1, 2]
    assert [card.encoder is None for card in cards] == [True, False]
    assert cards[0].feature_names == cards[1].feature_names
    assert cards[0].inertia == pytest.approx(cards[1].inertia, rel=1e-6)
    assert plain["encoder"] is None
    assert [each["name"] for each in named["encoder"]["columns"]] == named["columns"]


def test_weights_alone_are_in_the_scale_of_a_plain_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n0,0\n0,9\n1,0\n1,9\n")
    said = train(capsys, path, "--candidate", tmp_path / "c", "--feature-weight", "x=100")
    card = ModelCard.read(tmp_path / "c")
    assert card.format == 1
    assert card.scale == pytest.approx((0.01, 1))
    assert said["inertia"] == pytest.approx(81)
    assert said["feature_weight"] == {"x": 100}
    assert not any("spreads" in line and "'y' decides" in line for line in said["notes"])


def test_select_k_takes_the_same_options(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["select-k", str(rows), "--to", "3", "--n-init", "1", "--resamples", "2", "--json"]
    options = ["--impute", "0", "--categories", "region", "--feature-weight", "annual income=2"]
    assert main([*command, *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["columns"][2:6] == ["region=DE", "region=FR", "region=NA", "region=US"]
    assert said["feature_weight"][0] == 2
    assert said["rows_left_out"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--categories", "regoin"], "--categories regoin: not in ROWS (columns: "),
        (["--columns", "region,seats"], "row 1 (line 2), column 'region': 'DE' is not a number"),
        (
            ["--columns", "seats", "--weight-column", "region"],
            "'DE' is not a number",
        ),
        (["--categories", "region,region"], "'region' is named twice"),
        (["--categories", "region", "--exclude", "region"], "is also named in --exclude"),
        (["--unknown", "category"], "--unknown category: requires --categories"),
        (["--impute", "mode"], "mode is not valid; give mean, median or a finite number"),
        (["--impute", "inf"], "inf is not valid; give mean, median"),
        (["--feature-weight", "incom=2"], "'incom' is not a used column"),
        (["--feature-weight", "annual incom=2"], "did you mean 'annual income'?"),
        (["--feature-weight", "seats"], "give a column and its weight, such as income=2"),
        (["--feature-weight", "seats=0"], "'0' is not a number from"),
        (["--feature-weight", "seats=-1"], "'-1' is not a number from"),
        (["--feature-weight", "seats=nan"], "'nan' is not a number from"),
        (["--feature-weight", "seats=1,seats=2"], "'seats' is given twice"),
        (["--categories", "seats", "--weight-column", "seats"], "in --weight-column; name it"),
    ],
)
def test_a_mistake_has_one_line_that_says_the_mend(
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    line = refuse(capsys, rows, "--candidate", tmp_path / "c", *options)
    assert words.replace("ROWS", str(rows)) in line
    assert not (tmp_path / "c").exists()


def test_a_column_that_a_file_has_as_text_may_be_named_as_a_category(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"region": ["DE", "FR"], "x": [1.0, 2.0]}).to_parquet(path)
    line = refuse(capsys, path, "--columns", "region,x", "--candidate", tmp_path / "c")
    assert line.endswith("leave it out, or write it as a number, or name it in --categories")
