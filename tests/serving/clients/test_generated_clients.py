"""The sync clients are what the script makes of the async ones, and nothing else."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest

from scripts import generate_sync_clients
from scripts.generate_sync_clients import FOLDER, SOURCES, target_of
from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, RestClient

PAIRS = [(AsyncGrpcClient, GrpcClient), (AsyncRestClient, RestClient)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the written and of the generated clients."""
    for source in SOURCES:
        for file in (FOLDER / source, target_of(FOLDER / source)):
            shutil.copy(file, tmp_path)
    return tmp_path


def test_the_committed_clients_are_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_sync_clients.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["source", "generated", "missing"])
def test_the_check_fails_on_a_stale_file_and_names_the_command_that_mends_it(
    folder: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    stale = folder / "client.py"
    if change == "missing":
        stale.unlink()
    else:
        changed = folder / "async_client.py" if change == "source" else stale
        changed.write_text(changed.read_text().replace("30.0", "31.0"))
    before = stale.read_text() if stale.is_file() else None

    assert generate_sync_clients.main(["--check"], folder) == 1
    message = capsys.readouterr().err
    assert message == f"{stale} is not what async_client.py gives; run: make format\n"
    assert (stale.read_text() if stale.is_file() else None) == before

    assert generate_sync_clients.main([], folder) == 0
    assert generate_sync_clients.main(["--check"], folder) == 0
    assert ("31.0" in stale.read_text()) == (change == "source")


@pytest.mark.parametrize("source", SOURCES)
def test_a_generated_file_says_what_it_is_made_from(source: str) -> None:
    first = target_of(FOLDER / source).read_text().splitlines()[0]
    assert first == f"# Generated from {source} by scripts/generate_sync_clients.py; do not edit."


def _before_example(method: Any) -> str:
    """The docstring up to its example, in which one awaits and the other does not."""
    return (inspect.getdoc(method) or "").partition("Example:")[0].replace("async with", "with")


@pytest.mark.parametrize(("written", "generated"), PAIRS)
def test_both_have_the_same_methods_with_the_same_signatures_and_docstrings(
    written: Any, generated: Any
) -> None:
    expected, found = _methods(written), _methods(generated)
    assert {"assign", "predict", "status", "close"} <= expected.keys()
    assert found.keys() == expected.keys()
    for name, method in expected.items():
        assert inspect.iscoroutinefunction(method), name
        assert not inspect.iscoroutinefunction(found[name]), name
        assert inspect.signature(found[name]) == inspect.signature(method), name
        assert _before_example(found[name]) == _before_example(method), name
        assert inspect.getdoc(method), name
    assert inspect.signature(generated) == inspect.signature(written)


@pytest.mark.parametrize(("written", "generated"), PAIRS)
def test_the_docstring_of_a_class_speaks_of_its_own_way_to_wait(
    written: Any, generated: Any
) -> None:
    assert "Event loops may share a client" in written.__doc__
    assert "await client.assign(points)" in written.__doc__
    assert "Threads may share a client" in generated.__doc__
    for word in ("await", "sync", "Async"):
        assert word not in generated.__doc__


def _methods(client: type) -> dict[str, Any]:
    return {
        name: method
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }
