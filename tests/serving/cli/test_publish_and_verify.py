"""publish, train's gate, prune, verify and import-sklearn, as a user calls them."""

import json
import shutil
from pathlib import Path

import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from export import ModelCard, publishing, versions
from export.comparison import Comparison
from serving import GrpcClient
from serving.cli import main
from serving.clients.results import VersionStatus

from .command import run
from .conftest import Trained

pytestmark = pytest.mark.slow

COMMANDS = ["publish", "versions", "promote", "canary", "rollback", "prune", "verify"]
FAR = Comparison(1, 60, 1.0, 3.0, 2.0, 0.4, 0.1)


@pytest.fixture
def base(trained: Trained, tmp_path: Path) -> Path:
    """A model with the version that the session trained."""
    return shutil.copytree(trained.base.parent, tmp_path / "models") / trained.base.name


@pytest.fixture
def too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every candidate loads, and is too far from the live version where there is one."""

    def validate(_directory: Path, *, live: Path | None, **_options: object) -> Comparison | None:
        return None if live is None else FAR

    monkeypatch.setattr(publishing, "validate", validate)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_options: None)


@pytest.mark.parametrize("command", [*COMMANDS, "import-sklearn"])
def test_every_command_has_examples_json_and_dry_run(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"tfkmeans {command} " in said
    assert "--json" in said
    assert "--dry-run" in said


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "publish"])
def test_the_address_of_an_object_store_is_refused_in_one_line(
    capfd: pytest.CaptureFixture[str], command: str
) -> None:
    rest = {"promote": ["1"], "canary": ["1"], "prune": ["--keep", "1"]}.get(command, [])
    assert main([command, "gs://bucket/models/people", *rest]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: gs://bucket/models/people: object stores have no rename")


def test_the_reason_why_a_server_has_not_loaded_a_version_stays_in_its_row(
    base: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = "Op type not registered\n  in node a\n\tof version 1"
    status = VersionStatus(1, "END", "NOT_FOUND", lines)
    monkeypatch.setattr(GrpcClient, "status", lambda _client: [status])
    assert main(["versions", str(base), "--server", "127.0.0.1:1"]) == 0
    _, row, _ = capfd.readouterr().out.splitlines()
    assert row.endswith("END (Op type not registered in node a of version 1)")


def test_versions_lists_a_model_whose_entry_has_another_policy(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(base, tmp_path / base.name)
    (tmp_path / "models.config").write_text(
        f"model_config_list {{ config {{ name: '{base.name}' base_path: '{copy}' }} }}"
    )
    assert main(["versions", str(copy), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert 1 in [each["version"] for each in said["versions"]]
    assert "its policy selects them" in said["server"]


@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "gs://b/m"],
        ["inspect", "--model", "gs://b/m"],
        ["assign", "rows.csv", "--model", "gs://b/m"],
        ["train", "rows.csv", "--clusters", "2", "--model", "gs://b/m"],
    ],
)
def test_the_address_of_a_store_is_named_as_it_was_given(
    capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(command) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "gs://b/m: " in line
    assert "publish" in line


def test_a_share_above_1_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "candidate", "base", "--min-rows-kept", "1.5"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "1.5 is not a share; give a number from 0 to 1" in line


@pytest.mark.parametrize("command", ["train", "publish", "promote", "import-sklearn"])
def test_a_folder_that_no_server_takes_is_refused_before_the_work(
    capfd: pytest.CaptureFixture[str], command: str
) -> None:
    rest = {
        "train": ["a.csv", "--clusters", "2", "--model"],
        "publish": ["a"],
        "import-sklearn": ["a", "--model"],
    }.get(command, [])
    version = ["1"] if command == "promote" else []
    assert main([command, *rest, "models/a", *version, "--served-at", "models/a"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "models/a is neither an absolute path nor an address" in line


@pytest.mark.usefixtures("too_far")
def test_train_refused_by_the_gate_says_figures_and_other_parameters_as_json_too(
    base: Path, trained: Trained, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["--columns", "height,weight", "--clusters", "2", "--n-init", "1", "--standardize"]
    asked += ["--distance", "cosine", "--feature-weight", "height=2", "--json"]
    assert main(["train", str(trained.csv), "--model", str(base), *asked]) == 3
    out, err = capfd.readouterr()
    assert (said := json.loads(out))["comparison"]["rows_kept"] == 0.4
    assert said["refused"] in err
    assert (
        "; other parameters: k = 2 (version 1: k = 3), standardised (version 1: not standardised), "
        "cosine distance (version 1: euclidean distance), weights height: 2 (version 1: no weights "
        "of features); --force publishes"
    ) in said["refused"]
    assert versions(base) == (1,)


@pytest.mark.usefixtures("too_far")
def test_a_candidate_too_far_is_exit_code_3_with_the_figures_unless_forced(
    base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(base / "1"), str(base)]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    for figure in ("+200.0%", "--max-inertia-rise 0.1", "40.0% of 60 rows keep their cluster"):
        assert figure in line
    assert versions(base) == (1,)
    assert main(["publish", str(base / "1"), str(base), "--json"]) == 3
    said = json.loads(capfd.readouterr().out)
    assert (said["version"], said["comparison"]["rows_kept"]) == (None, 0.4)
    assert "+200.0%" in said["refused"]

    loose = ["--max-inertia-rise", "2.5", "--min-rows-kept", "0.3"]
    assert main(["publish", str(base / "1"), str(base), *loose, "--dry-run", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert (said["dry_run"], said["version"], said["comparison"]["rows_kept"]) == (True, 2, 0.4)
    assert versions(base) == (1,)

    assert main(["publish", str(base / "1"), str(base), "--force", "--json"]) == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["forced"]) == 2
    assert "warning: published with --force" in err
    assert "--max-inertia-rise" in ModelCard.read(base / "2").forced[0]


@pytest.mark.usefixtures("near")
def test_train_writes_a_candidate_that_publish_takes_and_promotes_by_itself(
    trained: Trained, base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = ["train", str(trained.csv), "--clusters", "3", "--seed", "5", "--json"]
    candidate = tmp_path / "candidate"
    assert main([*rows, "--candidate", str(candidate)]) == 0
    assert json.loads(capfd.readouterr().out)["version"] is None
    assert main(["publish", str(candidate), str(base), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["version"] == 2
    assert said["server"].endswith(f"to make version 2 live: tfkmeans promote {base} 2")
    assert main([*rows, "--model", str(base), "--promote", "--poll-interval", "0"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["version"] == 3
    assert "move label stable to version 3" in said["server"]
    assert main(["versions", str(base)]) == 0
    table = capfd.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table[1:4]][2] == ["3", "stable"]
    assert main(["prune", str(base), "--keep", "1"]) == 0
    assert capfd.readouterr().out.splitlines()[:2] == [
        "removed version 2; kept 1, 3",  # not labelled, not loaded
        "rollback would go to version 1",
    ]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--clusters", "2"], "--candidate DIR"),
        (["--clusters", "2", "--model", "m", "--candidate", "c"], "--candidate DIR"),
        (["--clusters", "2", "--candidate", "c", "--promote"], "--promote"),
        (["--clusters", "2", "--model", "m", "--server", "h:1"], "--promote"),
        (["--clusters", "2", "--model", "gs://b/m"], "tfkmeans publish DIR BASE"),
    ],
)
def test_options_of_train_that_do_not_go_together_are_refused_before_the_work(
    trained: Trained, capfd: pytest.CaptureFixture[str], options: list[str], word: str
) -> None:
    assert main(["train", str(trained.csv), *options]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert word in line


def test_verify_passes_what_was_exported_and_finds_a_flipped_byte(base: Path) -> None:
    sound = run("verify", base, "--json")
    assert (sound.returncode, json.loads(sound.stdout)["ok"]) == (0, True), sound.stderr
    path = base / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    spoilt = run("verify", base, 1, "--json")
    assert spoilt.returncode == 3
    (found,) = json.loads(spoilt.stdout)["versions"]
    assert "variables.data-00000-of-00001 has changed since the export" in found["findings"][0]


def test_a_model_of_scikit_learn_is_imported_and_answers_as_predict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = np.random.default_rng(2).normal(size=(200, 2)).astype(np.float32)
    estimator = KMeans(3, random_state=0).fit(rows)
    joblib.dump(estimator, tmp_path / "model.joblib")
    base = tmp_path / "models" / "people"
    command = ["import-sklearn", str(tmp_path / "model.joblib"), "--model", str(base)]
    assert main([*command, "--columns", "height, weight", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["columns"] == ["height", "weight"]
    np.save(tmp_path / "rows.npy", rows)
    assert main(["assign", str(tmp_path / "rows.npy"), "--model", str(base)]) == 0
    lines = capfd.readouterr().out.splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == estimator.predict(rows).tolist()


def test_an_import_names_the_columns_that_the_model_takes_and_not_only_the_features_of_a_pca(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    numbers = np.random.default_rng(2).normal(size=(60, 2))
    people = pd.DataFrame(numbers, columns=["age", "height"]).assign(plan=["free", "paid"] * 30)
    encoded = ColumnTransformer([("plan", OneHotEncoder(), ["plan"])], remainder="passthrough")
    pipeline = make_pipeline(encoded, PCA(2), KMeans(2, n_init=1, random_state=0)).fit(people)
    joblib.dump(pipeline, tmp_path / "model.joblib")
    command = [
        "import-sklearn",
        str(tmp_path / "model.joblib"),
        "--model",
        str(tmp_path / "people"),
    ]
    assert main([*command, "--dry-run"]) == 0
    said = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
    assert "columns plan, age, height" in said
    assert "features 0, 1" in said


def test_the_version_of_scikit_learn_that_pickled_an_imported_model_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(2).normal(size=(200, 2))
    pipeline = make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(rows)
    with monkeypatch.context() as older:
        older.setattr(sklearn.base, "__version__", "1.2.2")
        joblib.dump(pipeline, tmp_path / "model.joblib")
    base = tmp_path / "models" / "people"
    command = ["import-sklearn", str(tmp_path / "model.joblib"), "--model", str(base), "--json"]
    assert main(command) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["pickled_by"] == "1.2.2"
    warnings = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert f"pickled by scikit-learn 1.2.2 and loaded by {sklearn.__version__}" in warnings[0]
    (source,) = ModelCard.read(base / "1").data.files
    assert source.endswith(
        f"model.joblib (KMeans, pickled by scikit-learn 1.2.2, read by {sklearn.__version__})"
    )


def test_a_file_that_is_no_joblib_file_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.joblib").write_text("nothing of the kind")
    for name, word in (("text.joblib", "cannot be loaded"), ("gone.joblib", "no such file")):
        assert main(["import-sklearn", str(tmp_path / name), "--model", str(tmp_path / "m")]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert word in line
