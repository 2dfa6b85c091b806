"""Files that are damaged in any way: a line and exit code 2 or 3, never a fault of the command.

A tenth of the cases by default, and all of them with TFKMEANS_SOAK=1; the same ones each time. A
joblib file is a program, and no case here: what is in it is run.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import trustme
from pyarrow import feather, parquet

from export import sample_rows
from export.storage import LocalStorage
from serving.cli import main
from serving.cli.exit_codes import DONE, MISTAKE, REFUSED, exit_code
from serving.cli.selection_checkpoint import SelectionCheckpoint
from serving.embedded import EmbeddedServer
from serving.embedded.model_config import read_model_config
from serving.report import curves
from serving.tables.feature_selection import select_features
from serving.tables.input_files import open_table
from serving.tables.training_rows import read_training_rows
from tests.published_models import publish_unvalidated

from .mutations import mutate

pytestmark = pytest.mark.slow

_IS_WHOLE: Final = os.environ.get("TFKMEANS_SOAK") == "1"

#: Tables of rows, by how the names of their files end.
TABLES: Final = (
    *("csv", "csv.gz", "txt", "parquet", "arrow", "npy", "npz", "jsonl", "jsonl.gz"),
    *("tfrecord", "tfrecord.gz"),
)

#: Those that hold vectors besides.
VECTORS: Final = ("parquet", "arrow", "npz", "jsonl")


_FIXED: Final = pa.list_(pa.float32(), 2)


@dataclass(frozen=True)
class Workplace:
    """A model with two versions, and a file of every kind that is read."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "models" / "people"

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def run(self, *arguments: object) -> int:
        return main([str(each) for each in arguments])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("workplace"))
    points, _ = publish_unvalidated(
        place.folder, "people", ("height", "weight"), rows=60, versions=2
    )
    for version in (2, 1):
        assert place.run("promote", place.base, version, "--poll-interval", 0) == DONE
    _write_tables(place.folder, "rows", {"height": points[:, 0], "weight": points[:, 1]})
    _write_vectors(place.folder, points)
    scored = {"cluster_index": np.arange(60, dtype=np.int32) % 3, "distance": points[:, 0] ** 2}
    _write_tables(place.folder, "scored", scored)
    out = ["batch-score", place / "rows.csv", place / "out", "--model", place.base]
    assert place.run(*out, "--part-rows", 30) == DONE
    authority = trustme.CA()
    authority.cert_pem.write_to_path(place / "ca.pem")
    certificate = authority.issue_cert("localhost")
    key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    (place / "ssl.config").write_text(
        f"server_key: {_quoted(key)}\nserver_cert: {_quoted(chain)}\n"
    )
    (place / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    (place / "curves.json").write_text(
        '{"measured": [{"k": 2, "inertia": 7.5}, {"k": 3, "inertia": 2.5}], "suggestion": 2}'
    )
    (place / "checkpoint.json").write_text('[{"k": 2, "inertia": 7.5, "centroids": [[0.5]]}]')
    return place


def _quoted(pem: bytes) -> str:
    return " ".join(f'"{line}\\n"' for line in pem.decode().splitlines())


def _write_tables(folder: Path, stem: str, columns: dict[str, np.ndarray[Any, Any]]) -> None:
    table = pa.table(columns)
    rows = [columns, *zip(*columns.values(), strict=True)]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (folder / f"{stem}.csv").write_text(text + "\n")
    (folder / f"{stem}.txt").write_text(text.replace(",", ";") + "\n")
    (folder / f"{stem}.csv.gz").write_bytes(gzip.compress(text.encode()))
    parquet.write_table(table, folder / f"{stem}.parquet")
    feather.write_feather(table, folder / f"{stem}.arrow")
    np.save(folder / f"{stem}.npy", np.stack(list(columns.values()), axis=1).astype(np.float32))
    np.savez_compressed(folder / f"{stem}.npz", **columns)  # type: ignore[arg-type]
    lines = "".join(f"{json.dumps(row)}\n" for row in table.to_pylist())
    (folder / f"{stem}.jsonl").write_text(lines)
    (folder / f"{stem}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for ending, packing in (("tfrecord", ""), ("tfrecord.gz", "GZIP")):
        with tf.io.TFRecordWriter(str(folder / f"{stem}.{ending}"), packing) as writer:
            for row in table.to_pylist():
                features = {name: _feature(value) for name, value in row.items()}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def _write_vectors(folder: Path, points: np.ndarray[Any, Any]) -> None:
    lists = [None, *points.tolist()[1:]]
    table = pa.table(
        {"list": pa.array(lists, pa.list_(pa.float32())), "fixed": pa.array(lists, _FIXED)}
    )
    parquet.write_table(table, folder / "vectors.parquet")
    feather.write_feather(table, folder / "vectors.arrow", compression="uncompressed")
    np.savez(folder / "vectors.npz", list=points, number=points[:, 0])
    lines = (f"{json.dumps(row)}\n" for row in table.to_pylist())
    (folder / "vectors.jsonl").write_text("".join(lines))


def _feature(value: float) -> Any:
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


# What is asked of a damaged file: each gives the exit code of the command, or what it would be.


def _command(*words: str) -> Callable[[Workplace], int]:
    """A command; BASE, OUT and the names of files are places in the workplace."""

    def run(place: Workplace) -> int:
        known = {"BASE": place.base, "OUT": place / "out"}
        files = {word: place / word for word in words if "." in word and word[0].isalpha()}
        return place.run(*((known | files).get(word, word) for word in words))

    return run


def _reading(read: Callable[[Workplace], object]) -> Callable[[Workplace], int]:
    """What a command reads a file by, where the command itself would take seconds."""

    def run(place: Workplace) -> int:
        try:
            read(place)
        except Exception as error:
            code = exit_code(error)
            if code is None:
                raise
            return code
        return DONE

    return run


def _serve(**files: str) -> Callable[[Workplace], int]:
    def start(place: Workplace) -> None:
        options: Any = {name: place / file for name, file in files.items()}
        with EmbeddedServer(
            model_name="people",
            model_base_path=place.base,
            max_num_load_retries=0,
            **options,
        ):
            pass

    return _reading(start)


def _train_on(file: str) -> Callable[[Workplace], int]:
    def read(place: Workplace) -> None:
        table = open_table(place / file)
        read_training_rows([table], select_features([table]).names)

    return _reading(read)


PROBE: Final = ("probe", "--server", "127.0.0.1:1", "--name", "people", "--timeout", "0.2")
EXTRA: Final = "models/people/2/assets.extra"
CARD: Final = f"{EXTRA}/model_card.json"
GOLDEN: Final = f"{EXTRA}/golden_requests.npz"

#: The file, what is done with it, and how many cases there are in all.
CASES: Final[Sequence[tuple[str, Callable[[Workplace], int], int]]] = [
    (CARD, _command("inspect", "BASE", "2"), 400),
    (CARD, _command("versions", "BASE", "--json"), 200),
    (CARD, _command("monitor", "scored.csv", "--model", "BASE", "--version", "2"), 200),
    (GOLDEN, _command(*PROBE, "--golden", GOLDEN), 600),
    (f"{EXTRA}/sample_rows.npy", _reading(lambda place: sample_rows.read(place.base / "2")), 400),
    ("models/models.config", _command("versions", "BASE"), 400),
    ("models/models.config", _command("promote", "BASE", "2", "--poll-interval", "0"), 400),
    (
        "models/models.config",
        _reading(lambda place: read_model_config(place / "models/models.config")),
        400,
    ),
    ("models/people/history.jsonl", _command("rollback", "BASE", "--dry-run"), 400),
    ("models/people/history.jsonl", _command("prune", "BASE", "--keep", "1", "--dry-run"), 200),
    (
        "models/people/.publish.lock",
        _reading(lambda place: LocalStorage(place.base).next_number()),
        200,
    ),
    *(
        (f"scored.{ending}", _command("monitor", f"scored.{ending}", "--model", "BASE"), 400)
        for ending in TABLES
    ),
    *((f"rows.{ending}", _train_on(f"rows.{ending}"), 400) for ending in TABLES),
    *((f"vectors.{ending}", _train_on(f"vectors.{ending}"), 400) for ending in VECTORS),
    *(
        (f"rows.{ending}", _command("assign", f"rows.{ending}", "--model", "BASE"), 20)
        for ending in TABLES
    ),
    ("out/summary.json", _command("monitor", "OUT", "--model", "BASE"), 200),
    *(
        (
            file,
            _command("batch-score", "rows.csv", "OUT", "--model", "BASE", "--part-rows", "30"),
            20,
        )
        for file in (
            "out/manifest/job.json",
            "out/manifest/part-00000-00000.json",
            "out/summary.json",
        )
    ),
    ("curves.json", _reading(lambda place: curves.read(place / "curves.json")), 400),
    (
        "checkpoint.json",
        _reading(lambda place: SelectionCheckpoint(place / "checkpoint.json").read()),
        400,
    ),
    ("ca.pem", _command(*PROBE, "--golden", GOLDEN, "--tls-ca", "ca.pem"), 200),
    ("ssl.config", _serve(ssl_config_file="ssl.config"), 40),
    ("monitoring.config", _serve(monitoring_config_file="monitoring.config"), 40),
    (f"{EXTRA}/tf_serving_warmup_requests", _serve(), 40),
    *(
        (f"models/people/2/{file}", ask, 20)
        for file in ("saved_model.pb", "variables/variables.index")
        for ask in (_command("verify", "BASE", "2"), _serve())
    ),
]


# protobuf unescapes strings by a codec that warns of what it does not know, where Python shows it.
@pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize(("file", "ask", "times"), CASES)
def test_a_damaged_file_is_never_a_fault_of_the_command(
    workplace: Workplace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    ask: Callable[[Workplace], int],
    times: int,
) -> None:
    place = Workplace(tmp_path / "workplace")
    shutil.copytree(workplace.folder, place.folder)
    damaged = place / file
    whole = damaged.read_bytes()
    for number in range(times if _IS_WHOLE else max(1, times // 10)):
        for kept in ("models/models.config", "models/people/history.jsonl"):
            shutil.copy(workplace / kept, place / kept)
        damaged.write_bytes(mutate(whole, f"{file} {number}"))
        code = ask(place)
        said = capsys.readouterr().err
        assert code in (DONE, MISTAKE, REFUSED), f"case {number}: {said[-2000:]}"
        assert "Traceback" not in said, f"case {number}: {said[-2000:]}"
        if code != DONE:
            assert all(len(line) < 2000 for line in said.splitlines()), f"case {number}"
