"""``tfkmeans monitor``: recent outputs and a live server against the card."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.cli import main
from serving.embedded import EmbeddedServer

from .conftest import Trained
from .test_light_start import WITHOUT, python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(trained: Trained) -> Iterator[str]:
    with EmbeddedServer(model_name="people", model_base_path=trained.base) as server:
        assert server.grpc_address is not None
        yield server.grpc_address


@pytest.fixture
def one_cluster(trained: Trained, tmp_path: Path) -> Path:
    """The rows of one of the three clusters, thrice, and as many that lack a value."""
    header, *rows = trained.csv.read_text().splitlines()
    lines = rows[::3] * 3  # the missing values are in the rows 2 and 5
    path = tmp_path / "one_cluster.csv"
    path.write_text("\n".join([header, *lines, *["id,,1"] * len(lines)]) + "\n")
    return path


def scored(assigned: str, tmp_path: Path) -> Path:
    path = tmp_path / "scored.csv"
    path.write_text(assigned)
    return path


def test_the_training_rows_are_no_drift_from_a_file_and_from_a_server(
    trained: Trained,
    served: str,
    assigned: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ("--model", str(trained.base))
    for source in (
        [str(scored(assigned, tmp_path))],
        [str(trained.csv), "--server", served],
        [str(trained.csv), "--server", served, "--version", "1"],
    ):
        assert main(["monitor", *source, *model]) == 0
        said, complaint = capsys.readouterr()
        assert complaint == ""
        assert said.splitlines()[0] == f"{trained.base}, version 1: 60 recent rows"
        assert said.splitlines()[-1] == "no drift"
        rejected = next(line for line in said.splitlines() if line.startswith("rejected rows"))
        assert rejected.split()[2:] == ["3.3%", "3.3%"]


def test_drift_is_exit_code_3_and_a_line_for_each_figure(
    trained: Trained, served: str, one_cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["monitor", str(one_cluster), "--server", served, "--model", str(trained.base)]
    assert main([*asked, "--json"]) == 3
    said, complaint = capsys.readouterr()
    result = json.loads(said)
    assert (result["drift"], result["version"]) == (True, 1)
    assert [f"drift: {line}" for line in result["findings"]] == complaint.splitlines()
    assert len(result["findings"]) == 2
    assert "the cluster shares have changed" in complaint
    assert "50.0% of the rows could not be answered" in complaint
    assert result["psi"] > result["thresholds"]["max_psi"] == 0.2
    assert sorted(each["recent"] for each in result["clusters"]) == [0.0, 0.0, 1.0]

    assert main([*asked, "--max-psi", "20", "--max-rejected-rise", "1"]) == 0
    assert main([*asked, "--max-psi", "20"]) == 3


def test_a_server_is_asked_without_tensorflow(trained: Trained, served: str) -> None:
    process = python(
        *(WITHOUT, "tensorflow,httpx", "monitor", trained.csv),
        *("--server", served, "--model", trained.base),
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_the_baseline_is_the_version_of_the_folder_or_else_the_one_that_is_live(
    trained: Trained, assigned: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "models" / "people"
    for number in ("1", "2", "3"):
        shutil.copytree(trained.base / "1", base / number)
    shutil.copy(trained.base.parent / "models.config", base.parent)  # 1 is stable
    folder = tmp_path / "out"
    (folder / "scored").mkdir(parents=True)
    file = scored(assigned, folder / "scored")
    (folder / "summary.json").write_text('{"model": {"version": 2}, "rejected": 0}')

    def version(*arguments: object) -> int:
        assert main(["monitor", *map(str, arguments), "--model", str(base), "--json"]) == 0
        found: int = json.loads(capsys.readouterr().out)["version"]
        return found

    assert version(file) == 1
    assert version(file, "--version", 3) == 3
    assert version(folder) == 2
    assert main(["monitor", str(folder), "--model", str(base), "--version", "3"]) == 2
    assert "--version 3: the output comes from version 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{csv}"], "no column 'cluster_index', 'distance'"),
        (["nope.csv"], "nope.csv: no such file"),
        (["{base}"], "has no summary.json"),
        (["{csv}", "--tls"], "--tls: requires --server; add --server HOST:PORT"),
        (["{csv}", "--label", "best"], "has no label best; it has stable (1)"),
        (["{csv}", "--server", "{served}", "--label", "x", "--version", "1"], "give one of them"),
        (["{csv}", "--server", "{served}", "--label", "nope"], "nope"),
        (["{csv}", "--server", "{served}", "--version", "9"], "no version 9"),
        (["{csv}", "--server", "127.0.0.1:1", "--timeout", "1"], "127.0.0.1:1"),
        (["{csv}", "--max-psi", "-1"], "-1 is not a finite number"),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_line(
    trained: Trained,
    served: str,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"csv": trained.csv, "base": trained.base.parent, "served": served}
    given = [each.format(**names) for each in arguments]
    assert main(["monitor", *given, "--model", str(trained.base)]) == 2
    out, complaint = capsys.readouterr()
    assert out == ""
    assert said in complaint
    assert len(complaint.splitlines()) == 1
