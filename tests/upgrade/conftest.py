"""Copies of what version 0.1.0 left, in folders that tests may write to."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.cli import main
from tests.validation_in_process import validation_in_process

__all__ = ["validation_in_process"]

HERE = Path(__file__).parent
PUBLISHED = HERE / "published_by_0_1"
BEGUN = HERE / "begun_by_0_1"

#: The models; one of them is enough for a quick run.
MODELS = (
    "standardized",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("plain", "cosine", "imported")),
)

#: The options of ``train`` that make a model like the published one.
TRAIN_OPTIONS = {
    "plain": (),
    "standardized": ("--standardize",),
    "cosine": ("--standardize", "--distance", "cosine"),
    "imported": ("--standardize",),
}


def recorded_hashes() -> dict[str, str]:
    """The hash of each file by its path in this folder, as they were when it was committed."""
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def present_hashes() -> dict[str, str]:
    """The hash of each file by its path in this folder, as they are now."""
    files = [path for folder in (PUBLISHED, BEGUN) for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(HERE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="session", autouse=True)
def _recordings_stay_as_they_are() -> Iterator[None]:
    yield
    assert present_hashes() == recorded_hashes()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four models and their models.config, in a folder of the module's own."""
    folder = tmp_path_factory.mktemp("upgrade") / "models"
    shutil.copytree(PUBLISHED, folder)
    config = folder / "models.config"
    config.write_text(config.read_text().replace('"/models/', f'"{folder}/'))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command in this process; gives what it printed."""

    def call(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        ended = main([str(each) for each in arguments])
        said, complaint = capsys.readouterr()
        assert ended == code, complaint
        return said

    return call


@pytest.fixture
def run_json(run: Callable[..., str]) -> Callable[..., Any]:
    """Runs the command with ``--json``; gives the value that it printed."""

    def call(*arguments: object, code: int = 0) -> Any:
        return json.loads(run(*arguments, "--json", code=code))

    return call


def clusters_and_distances(lines: Sequence[str]) -> tuple[list[int], list[float]]:
    """Two columns of a CSV text, whose header names them."""
    header, *rows = (line.split(",") for line in lines)
    cluster, distance = header.index("cluster_index"), header.index("distance")
    return [int(row[cluster]) for row in rows], [float(row[distance]) for row in rows]
