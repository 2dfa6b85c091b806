"""``tfkmeans report`` and ``tfkmeans compare``, and the views that ``train`` makes."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from export import ModelCard, from_sklearn, make_card, write_candidate
from kmeans_module import fit
from serving.cli import main
from serving.report import pages
from serving.report.version_profile import VersionProfile

from .conftest import Trained

pytestmark = pytest.mark.slow

CURVES = {
    "measured": [
        {"k": 2, "inertia": 9.0, "silhouette": 0.5, "noise_silhouette": 0.3, "stability": 1.0},
        {"k": 3, "inertia": 7.0, "silhouette": None, "noise_silhouette": 0.3, "stability": None},
    ],
    "suggestion": 2,
    "reason": "k = 2: because <it> does",
    "rows_used": 9000,
    "sample_rows": 800,
}


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


def texts(page: str) -> str:
    """What a reader sees, with single spaces."""
    parser = _Texts()
    parser.feed(page.replace("<wbr>", ""))
    return " ".join(" ".join(parser.seen).split())


def test_a_report_shows_the_clusters_in_raw_units_and_the_curves(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves, out = tmp_path / "curves.json", tmp_path / "out.html"
    curves.write_text(json.dumps(CURVES))
    command = ["report", str(trained.base), "1", "--out", str(out), "--select-k", str(curves)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"wrote {out}, about version 1\n"
    page = out.read_text()
    seen = texts(page)
    card = ModelCard.read(trained.base / "1")
    assert "people, version 1" in seen
    for cluster in card.clusters:
        assert f"{cluster.size:,} rows, {cluster.share:.1%}" in seen
    # A cluster around (0, 30): its mean weight in raw units stands out.
    assert re.search(r"weight: (29\.|30|30\.)\d* \(\d", seen)
    assert (
        "k = 2: because <it> does; silhouette, noise, stability and recovery are those of a" in seen
    )
    assert "sample of 800 of 9,000 rows" in seen
    # Six charts, and the distributions of two features.
    assert page.count("<svg") == page.count('role="img"') == 8


def test_a_report_on_given_rows_has_their_means_and_examples_of_them(
    trained: Trained, tmp_path: Path
) -> None:
    rows, out = tmp_path / "new.csv", tmp_path / "out.html"
    # Around the center (10, 0), 100 times; and a row that is far from it.
    rows.write_text("name;height;weight\n" + "x;10;0\n" * 100 + "far;13;0\n")
    command = ["report", str(trained.base), "--rows", str(rows), "--delimiter", ";"]
    assert main([*command, "--out", str(out)]) == 0
    seen = texts(out.read_text())
    assert "are of 101 given rows" in seen
    assert "height: 10.03 (10.03)" not in seen  # no difference between a cluster and all rows
    assert re.search(r"\(101 rows\): median 10; 50% from 10 to 10;", out.read_text())
    assert "Example rows" not in seen

    assert main([*command, "--example-rows", "--out", str(out)]) == 0
    cells = re.findall(r'<td class="t">([^<]*)</td>', out.read_text())
    farthest = cells.index("farthest")
    assert sorted(cells[farthest + 2 : farthest + 4]) == ["0", "13"]


def test_rows_that_a_report_cannot_show_are_a_mistake_of_one_line(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "new.csv", tmp_path / "out.html"
    rows.write_text("height,weight\n1e30,1e30\n")
    base = tmp_path / "people"
    shutil.copytree(trained.base, base)
    command = ["report", str(base), "--out", str(out)]
    assert main([*command, "--rows", str(rows)]) == 2
    assert capsys.readouterr().err == (
        "error: people, version 1: the model gives none of the 1 rows a cluster; check the values "
        "of its columns\n"
    )
    (base / "1" / "assets.extra" / "sample_rows.npy").unlink()
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"error: {base / '1'}: assets.extra/sample_rows.npy is missing; give rows by --rows FILE\n"
    )
    assert not out.exists()


def test_given_rows_that_are_left_out_are_counted_on_the_page_and_in_a_note(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "new.csv", tmp_path / "out.html"
    rows.write_text("height,weight\n10,0\n0,\n,\n1e30,0\n")
    assert main(["report", str(trained.base), "--rows", str(rows), "--out", str(out)]) == 0
    notes = capsys.readouterr().err
    seen = texts(out.read_text())
    for told in (
        "left out 2 of 4 rows with a missing value (height: 1, weight: 2)",
        "1 of 2 given rows has no cluster and is left out",
    ):
        assert told in notes
        assert told in seen
    assert "training rows 58 used, 2 left out" in seen


def test_given_rows_of_unknown_categories_are_counted_on_the_page_and_in_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, new, out = (tmp_path / name for name in ("rows.csv", "new.csv", "out.html"))
    rows.write_text("size,plan\n" + "1,free\n2,free\n9,pro\n8,pro\n" * 5)
    new.write_text("size,plan\n1,café\n2,free\n9,pro\n")
    base = tmp_path / "plans"
    command = ["train", str(rows), "--clusters", "2", "--categories", "plan"]
    assert main([*command, "--model", str(base)]) == 0
    capsys.readouterr()
    assert main(["report", str(base), "--rows", str(new), "--out", str(out)]) == 0
    told = "plan: 1 of 3 values unknown"
    assert told in capsys.readouterr().err
    assert told in texts(out.read_text())


@pytest.mark.parametrize(
    ("text", "told", "unsaid"),
    [
        ("height,weight\n1,\n,2\n", "give rows that have a value in each", "--columns"),
        ("height,waight\n1,2\n", "(columns: height, waight); did you mean 'waight'?", "--columns"),
        ("height,size\n1,2\n", "no column 'weight' (columns: height, size)", "did you mean"),
    ],
)
def test_the_mend_of_given_rows_is_one_that_the_command_has(
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    told: str,
    unsaid: str,
) -> None:
    rows = tmp_path / "new.csv"
    rows.write_text(text)
    out = tmp_path / "out.html"
    assert main(["report", str(trained.base), "--rows", str(rows), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert unsaid not in said


def test_the_same_version_gives_the_same_page(trained: Trained, tmp_path: Path) -> None:
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    for out in (one, other):
        assert main(["report", str(trained.base), "--out", str(out)]) == 0
    assert one.read_bytes() == other.read_bytes()


def test_a_version_without_a_history_or_training_rows_says_so(tmp_path: Path) -> None:
    from sklearn.cluster import KMeans

    rows = np.random.default_rng(0).normal(size=(40, 2))
    imported = from_sklearn(KMeans(2, n_init=1, random_state=0).fit(rows))
    write_candidate(tmp_path / "1", imported.module, imported.card, imported.rows)
    page = pages.render_version(VersionProfile.measure(tmp_path / "1", "imported"))
    assert "The training rows are not known" in page
    assert "<h3>Training</h3>" not in page


def test_one_cluster_has_a_page_without_silhouettes(tmp_path: Path) -> None:
    rows = np.arange(10, dtype="f4")[:, None]
    fitted = fit(rows, 1)
    card = make_card(
        fitted,
        rows,
        feature_names=["x"],
    )
    write_candidate(tmp_path / "1", fitted, card, rows)
    seen = texts(pages.render_version(VersionProfile.measure(tmp_path / "1", "one")))
    assert "silhouette undefined" in seen


@pytest.fixture(scope="module")
def other(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same columns with four clusters, by cosine distance."""
    folder = tmp_path_factory.mktemp("other")
    base, page, logs = folder / "other", folder / "page.html", folder / "logs"
    command = ["train", str(trained.csv), "--model", str(base), "--clusters", "4"]
    views = ["--distance", "cosine", "--report", str(page), "--tensorboard", str(logs)]
    assert main([*command, *views, "--n-init", "2"]) == 0
    return folder


def test_train_makes_the_views_and_the_card_says_cosine(other: Path) -> None:
    assert "cosine" in texts((other / "page.html").read_text())
    assert sorted(path.name for path in (other / "logs").iterdir()) == [
        *("centroid_metadata.tsv", "centroids.tsv", "projector_config.pbtxt"),
        *("start_1", "start_2"),
    ]
    assert ModelCard.read(other / "other" / "1").distance == "cosine"


def test_two_versions_are_compared_on_the_same_rows(
    trained: Trained, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "both.html"
    command = ["compare", str(trained.base), str(other / "other" / "1")]
    assert main([*command, "--rows", str(trained.csv), "--report", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 58
    moves = np.array(told["moves"])
    assert moves.shape == (3, 4)
    assert moves.sum() == 58
    assert sorted(moves.sum(axis=1)) == sorted(trained.said["cluster_sizes"])
    assert sorted(pair["after"] for pair in told["match"]) == [0, 1, 2, 3]
    assert [pair["before"] for pair in told["match"]].count(None) == 1
    seen = texts(page.read_text())
    assert "people 1 and other 1" in seen
    assert "adjusted Rand index" in seen

    assert main(["compare", str(trained.base), str(trained.base / "1")]) == 0
    said = capsys.readouterr().out
    assert "keep their cluster         100.0% of the rows" in said
    assert "adjusted Rand index        1.0000" in said


def test_versions_of_other_columns_are_not_comparable(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "renamed"
    shutil.copytree(trained.base, base)
    card = base / "1" / "assets.extra" / "model_card.json"
    card.write_text(card.read_text().replace('"height"', '"size"'))
    assert main(["compare", str(trained.base), str(base)]) == 2
    assert "error: renamed 1 takes the columns size, weight, and people 1 takes" in (
        capsys.readouterr().err
    )
