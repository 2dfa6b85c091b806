"""A mistake of the user is one line that names the value, the place and the mend; exit code 2."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from export.errors import PublishRefused
from serving.cli import main, training_input
from serving.errors import DeadlineExceeded, ServerError, ServerUnavailable

from .conftest import Trained

FILES = {
    "rows.csv": "name,height,weight\nann,1,2\nbob,3,4\n",
    "text.csv": "height,weight\n1,2\nNA,3\n3,heavy\n",
    "infinite.csv": "height,weight\n1,inf\n",
    "same.csv": "height,weight\n1,2\n1,2\n1,2\n",
    "zeros.csv": "height,weight\n0,0\n0,-0\n",
    "names.csv": "name,town\nann,rome\n",
    "late.csv": "t\n1700000000.1\n1700000000.2\n1700000000.3\n",
    "missing.csv": "height,weight\n1,\n,2\n",
    "twice.csv": "a,b,a\n1,2,3\n",
    "ragged.csv": "a,b\n1,2\n3\n",
    "header.csv": "a,b\n",
    "empty.csv": "",
    "rows.xls": "a\n1\n",
    "german.csv": "a;b\n1,5;2\n",
    "title.csv": "My rows\na,b\n1,2\n",
    "headerless.csv": "0.5,1.5,x\n0.7,1,y\n",
    "narrow.csv": "height\n1\n",
    "other.csv": "height,width\n1,2\n",
}


@pytest.fixture
def folder(tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.csv").write_bytes("größe\n1\n".encode("latin-1"))
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "home" / "photos").mkdir(parents=True)
    np.save(tmp_path / "wide.npy", np.zeros((1, 3)))
    whole = (tmp_path / "wide.npy").read_bytes()
    (tmp_path / "claims.npy").write_bytes(
        whole.replace(b"(1, 3), }" + b" " * 14, b"(1000000000000, 1), }  ")
    )
    (tmp_path / "cut.npy").write_bytes(whole[:50])
    golden = trained.base / "1" / "assets.extra" / "golden_requests.npz"
    (tmp_path / "cut.npz").write_bytes(golden.read_bytes()[:1000])
    (tmp_path / "good").symlink_to(trained.base)
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = "train {} --model new --clusters 2"
SCORE = "batch-score {} --model good"

AUTO_PORTS = "--port auto --rest-api-port auto"
MISTAKES = [
    # What the files are.
    (TRAIN.format("nothing.csv"), ["nothing.csv", "no such file"]),
    (TRAIN.format("folder.csv"), ["folder.csv", "a folder without a supported file"]),
    (TRAIN.format("cut.npy"), ["cut.npy", "is cut short", "after 50 bytes"]),
    (
        "probe --server localhost:1 --name people --golden cut.npz",
        ["cut.npz", "the golden requests are unreadable", "cut short"],
    ),
    (TRAIN.format("empty.csv"), ["empty.csv", "is empty"]),
    (TRAIN.format("header.csv"), ["header.csv", "no row with a value", "give at least one row"]),
    (TRAIN.format("header.csv --columns a"), ["header.csv", "has a header and no rows"]),
    (TRAIN.format("rows.xls"), ["rows.xls", "'.xls'", ".csv, .csv.gz, .tsv"]),
    (TRAIN.format("german.csv"), ["german.csv", "one column, 'a;b'", "--delimiter ';'"]),
    (TRAIN.format("title.csv"), ["title.csv", "row 1 holds 'a', 'b'", "--skip-rows 1"]),
    (TRAIN.format("headerless.csv"), ["headerless.csv", "(0.5, 1.5, x)", "--no-header"]),
    (TRAIN.format("latin.csv"), ["latin.csv", "not UTF-8", "save the file"]),
    (TRAIN.format("ragged.csv"), ["ragged.csv", "row 2 (line 3)", "1 cell,", "has 2"]),
    (TRAIN.format("twice.csv"), ["twice.csv", "columns 1 and 3", "'a'", "rename"]),
    (TRAIN.format("names.csv"), ["names.csv", "no column holds numbers", "text ('ann')"]),
    (TRAIN.format("missing.csv"), ["missing.csv", "each of the 2 rows", "--columns"]),
    (
        TRAIN.format("rows.csv narrow.csv"),
        ["narrow.csv", "'weight'", "columns: height", "--exclude"],
    ),
    (
        TRAIN.format("narrow.csv other.csv"),
        ["narrow.csv: no column 'width'", "other.csv"],
    ),
    (TRAIN.format("text.csv names.csv"), ["names.csv", "no column 'height'", "--exclude"]),
    # What is in them.
    (
        TRAIN.format("text.csv --columns weight"),
        ["text.csv", "row 3 (line 4)", "'weight'", "'heavy'", "--na-values"],
    ),
    (TRAIN.format("rows.csv --columns name"), ["row 1 (line 2)", "'name'", "'ann'"]),
    (TRAIN.format("infinite.csv"), ["infinite.csv", "row 1 (line 2)", "'weight'", "inf"]),
    (
        TRAIN.format("text.csv --columns height,weight"),
        ["leave the column out with --exclude or --columns"],
    ),
    (TRAIN.format("rows.csv --exclude wieght"), ["--exclude wieght", "'weight'", "columns: name"]),
    (TRAIN.format("rows.csv --exclude height,weight"), ["no column holds numbers", "'name'"]),
    (TRAIN.format("rows.csv --columns height --exclude weight"), ["--exclude weight", "--columns"]),
    (TRAIN.format("rows.csv --weight-column wieght"), ["'wieght'", "'weight'", "columns: name"]),
    (TRAIN.format("rows.csv --weight-column name"), ["'name' holds text", "not numbers"]),
    (
        TRAIN.format("rows.csv --weight-column height --columns height"),
        ["not a feature", "leave it"],
    ),
    ("select-k rows.csv --exclude wieght", ["--exclude wieght", "did you mean 'weight'"]),
    (TRAIN.format("rows.csv --columns hight"), ["'hight'", "'height'", "name, height, weight"]),
    (TRAIN.format("rows.csv --columns height,"), ["--columns 'height,'", "a,b"]),
    (TRAIN.format("rows.csv --columns height,height"), ["'height' is named twice"]),
    (TRAIN.format("same.csv"), ["2", "1 of 3 rows", "at most 1"]),
    (TRAIN.format("late.csv"), ["1 of 3 rows", "as float32", "subtract a constant from t"]),
    # How they are read.
    (TRAIN.format("rows.csv --delimiter ::"), ["--delimiter '::'", "one ASCII character"]),
    (
        TRAIN.format("rows.csv --decimal , --thousands ,"),
        ["--thousands ,", "also the decimal mark"],
    ),
    (TRAIN.format("rows.csv --skip-rows 9"), ["rows.csv", "the 9 of --skip-rows"]),
    (TRAIN.format("rows.csv --skip-rows x"), ["--skip-rows", "x is not a whole number"]),
    (TRAIN.format("rows.csv --na-values a,"), ["--na-values 'a,'", "is empty"]),
    (TRAIN.format("wide.npy --delimiter ;"), ["--delimiter", "applies to CSV only", "wide.npy"]),
    ("assign --point 1,2 --model good --no-header", ["--no-header", "the rows of FILE"]),
    ("compare good good --delimiter ;", ["--delimiter", "the rows of --rows"]),
    (SCORE.format("title.csv out"), ["title.csv", "--skip-rows 1"]),
    # What the options are.
    ("train rows.csv --clusters 2", ["--model", "tfkmeans train --help"]),
    (TRAIN.format("rows.csv --memory 5"), ["5 is less than 1 MB", "did you mean 5GB?"]),
    (TRAIN.format("rows.csv --memory 5kB"), ["5kB is less than 1 MB; see"]),
    (
        TRAIN.format("rows.csv --distance manhattan"),
        ["Invalid value for '--distance': 'manhattan' is not one of 'euclidean', 'cosine'"],
    ),
    ("train rows.csv --model new", ["--clusters", "tfkmeans train --help"]),
    ("train rows.csv --model new --clusters 0", ["'--clusters'", "0 is not", "at least 1"]),
    ("train rows.csv --model new --clusters 1.5", ["'--clusters'", "1.5 is not"]),
    ("train --model new --clusters 2", ["FILE"]),
    (TRAIN.format("rows.csv --init best"), ["'--init'", "best", "k-means++", "random"]),
    (TRAIN.format("rows.csv --n_init 3"), ["--n_init", "--n-init"]),
    (TRAIN.format("rows.csv --tol nan"), ["'--tol'", "nan", "at least 0"]),
    ("tain rows.csv", ["'tain'", "'train'"]),
    # Which k.
    ("select-k rows.csv --from 5 --to 3", ["--from 5", "above --to 3", "in order"]),
    ("select-k rows.csv --from 1", ["--from 1", "one cluster has no silhouette", "give 2 or more"]),
    ("select-k rows.csv --to 3", ["--to 3", "only 2 of 2 rows", "at most 2"]),
    ("select-k rows.csv --out k.png", ["--out k.png", "'.png'", ".json or .csv"]),
    ("select-k rows.csv --out no/k.csv", ["--out no/k.csv", "folder"]),
    ("select-k rows.csv --json --csv", ["--json and --csv", "one of them"]),
    ("select-k nothing.csv", ["nothing.csv", "no such file"]),
    (TRAIN.format("rows.csv --distance manhattan"), ["'--distance'", "cosine"]),
    (TRAIN.format("zeros.csv --distance cosine"), ["zeros.csv", "zeros", "euclidean"]),
    # What there is to look at.
    (TRAIN.format("rows.csv --report page.pdf"), ["--report page.pdf", ".html"]),
    (TRAIN.format("rows.csv --report no/page.html"), ["--report no/page.html", "folder no"]),
    (TRAIN.format("rows.csv --select-k k.json"), ["--select-k k.json", "--report"]),
    (TRAIN.format("rows.csv --tensorboard rows.csv"), ["--tensorboard rows.csv", "is a file"]),
    (TRAIN.format("rows.csv --tensorboard home"), ["--tensorboard home", "not empty", "new"]),
    ("report home", ["home", "contains no version"]),
    ("report good 7", ["good", "no version 7"]),
    ("report good --out home", ["--out home", ".html"]),
    ("report good --select-k rows.csv", ["rows.csv", "no curves", "select-k"]),
    ("report good --select-k k.json", ["k.json", "cannot be read"]),
    ("report good --rows nothing.csv", ["nothing.csv", "no such file"]),
    ("report good --rows narrow.csv --out page.html", ["narrow.csv", "'weight'"]),
    ("report good --no-header", ["--no-header", "--rows"]),
    ("compare good", ["B"]),
    ("compare good nowhere", ["nowhere", "no such folder"]),
    ("compare good good --rows narrow.csv", ["narrow.csv", "'weight'"]),
    ("compare good good --report page.txt", ["--report page.txt", ".html"]),
    # Which model.
    ("train rows.csv --model rows.csv --clusters 2", ["--model rows.csv", "is a file"]),
    ("train rows.csv --model home --clusters 2", ["--model home", "photos", "home/NAME"]),
    ("train rows.csv --model good/1 --clusters 2", ["--model good/1", "is a version"]),
    ("inspect", ["BASE"]),
    ("inspect nowhere", ["nowhere", "no such folder"]),
    ("inspect rows.csv", ["rows.csv", "is a file"]),
    ("inspect home", ["home", "contains no version"]),
    ("inspect good 9", ["good", "no version 9", "there is 1"]),
    ("inspect good one", ["'one'", "whole number"]),
    ("inspect good 1 --model good", ["given twice"]),
    ("assign rows.csv --model home", ["home", "contains no version"]),
    # Asking it.
    ("assign --model good", ["FILE", "--point"]),
    ("assign rows.csv --point 1,2 --model good", ["FILE", "--point"]),
    ("assign --point 1,2,3 --model good", ["--point 1,2,3", "3 values", "height, weight"]),
    ("assign --point 1,x --model good", ["--point 1,x", "1.5,2"]),
    ("assign --point 1,2 --model good --version 4", ["no version 4"]),
    ("assign --point 1,2 --model good --version latest", ["'--version'", "latest is not"]),
    ("assign --point 1,2 --model good --server nonsense", ["nonsense", "host:port"]),
    ("assign narrow.csv --model good", ["narrow.csv", "'weight'", "columns: height"]),
    ("assign wide.npy --model good", ["wide.npy", "3 columns", "takes 2: height, weight"]),
    # Scoring files.
    (SCORE.format("rows.csv rows.csv"), ["rows.csv", "is a file", "give a folder"]),
    (SCORE.format("rows.csv home"), ["home", "is not empty", "photos", "give a new folder"]),
    (SCORE.format("rows.csv ."), ["contains the input rows.csv"]),
    (SCORE.format("narrow.csv out"), ["narrow.csv", "no column 'weight'"]),
    (SCORE.format("rows.csv out --keep nam"), ["rows.csv", "no column 'nam'", "'name'"]),
    (SCORE.format("rows.csv out --keep name,name"), ["--keep", "'name' is named twice"]),
    (SCORE.format("rows.csv out --format xml"), ["'--format'", "'xml'", "parquet", "tfrecord"]),
    (SCORE.format("rows.csv out --limit 0"), ["'--limit'", "0 is not", "at least 1"]),
    (SCORE.format("'no/*.csv' out"), ["no/*.csv", "no file matches"]),
    (SCORE.format("rows.csv out --card good/1/assets.extra/model_card.json"), ["--card"]),
    (SCORE.format("rows.csv out --beam-option runner=X"), ["--beam-option", "--runner beam"]),
    (SCORE.format("rows.csv out --runner beam --limit 3"), ["--limit", "--runner beam"]),
    (SCORE.format("rows.csv out --runner beam --server a:1"), ["--server", "leave out"]),
    (SCORE.format("rows.csv out --server nonsense"), ["nonsense", "host:port"]),
    (SCORE.format("rows.csv out --server 127.0.0.1:1"), ["127.0.0.1:1"]),
    (SCORE.format("out.csv"), ["IN"]),
    ("batch-score rows.csv out", ["--model BASE", "--card FILE"]),
    # Values that are named with their options.
    ("promote good 1 --dry-run --label ''", ["'--label'", "not a valid name"]),
    ("promote good 1 --dry-run --label ' '", ["'--label'", "not a valid name"]),
    ("inspect good --label ''", ["'--label'", "not a valid name"]),
    ("probe --server a:1 --name ''", ["'--name'", "not a valid name"]),
    ("metadata --server a:1 --name a --tls-certificate rows.csv", ["--tls-certificate rows.csv"]),
    ("metadata --server a:1 --name a --tls-ca nope.pem", ["--tls-ca nope.pem", "no such file"]),
    ("prune home --keep 1", ["home", "contains no version"]),
    (
        SCORE.format("claims.npy out"),
        ["claims.npy", "claims 8,000,000,000,000 bytes", "numpy.save"],
    ),
    # Serving it.
    ("serve", ["BASE", "--model-config-file"]),
    ("serve good --model good", ["given twice"]),
    ("serve good --model-config-file c", ["--model-config-file c"]),
    ("serve --model-config-file nothing.config --port auto", ["nothing.config"]),
    ("serve good --port 99999", ["--port '99999'", "65535", "auto"]),
    ("serve good --port 0", ["port", "0"]),
    ("serve good --file-system-poll-wait-seconds -1", ["-1 is not", "at least 0"]),
    (f"serve {AUTO_PORTS} home", ["home"]),
    ("serve good --model_name x", ["--model_name", "--model-name"]),
    ("serve good --enable-batching", ["--enable-batching"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_value_place_and_mend(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: str, words: list[str]
) -> None:
    before = sorted(folder.iterdir())

    code = main(shlex.split(arguments))

    out, err = capfd.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert out == ""
    assert errors == err.splitlines()[-1:]
    assert "Traceback" not in err
    for word in words:
        assert word in errors[0]
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PublishRefused("good: refused: 3 rows differ"), 3),
        (ServerUnavailable("nobody", "good", "host:1"), 2),
        (DeadlineExceeded("too late", "good", "host:1"), 2),
        (ServerError("broken", "good", "host:1"), 1),
        (PermissionError(13, "Permission denied", "good/1"), 2),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_kind_of_error_has_its_exit_code_and_one_line(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(training_input.RowOptions, "read", fail)
    assert main(TRAIN.format("rows.csv").split()) == code
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line == ("interrupted" if code == 130 else line)
    if isinstance(error, PermissionError):
        assert line == "error: good/1: Permission denied"


def test_a_fault_of_ours_shows_where_and_asks_to_be_reported(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_input.RowOptions, "read", lambda *_, **__: 1 / 0)
    assert main(TRAIN.format("rows.csv").split()) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: internal error of tfkmeans: division by zero")
