"""``tfkmeans probe`` and ``tfkmeans metadata`` against servers that are well, and that are not."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.embedded import EmbeddedServer
from tests.serving.fake_servers import Failure, FakeGrpcServer

from .command import run
from .conftest import Trained
from .test_light_start import WITHOUT, python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(trained: Trained) -> Iterator[str]:
    with EmbeddedServer(
        model_name="people", model_base_path=trained.base, rest_api_port=0
    ) as server:
        assert server.grpc_address is not None
        yield server.grpc_address


def golden(trained: Trained) -> Path:
    return trained.base / "1" / "assets.extra" / "golden_requests.npz"


def test_a_healthy_server_is_exit_code_0_without_tensorflow(trained: Trained, served: str) -> None:
    for arguments in (
        ("--model", trained.base),
        ("--model", trained.base, "--version", "1"),
        ("--name", "people", "--golden", golden(trained)),
    ):
        process = python(
            WITHOUT, "tensorflow,pyarrow,httpx", "probe", "--server", served, *arguments
        )
        assert (process.returncode, process.stderr) == (0, "")
        assert process.stdout.startswith("ok: version 1 is AVAILABLE; golden request ")


def test_json_says_what_was_found(trained: Trained, served: str) -> None:
    process = run("probe", "--server", served, "--model", trained.base, "--json")
    said = json.loads(process.stdout)
    assert (process.returncode, said["ok"], said["server"]) == (0, True, served)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "nobody", "--golden", "{golden}"], "Could not find any versions of model"),
        (["--name", "people", "--golden", "{golden}", "--version", "9"], "version 9 of model"),
        (["--name", "people", "--golden", "{golden}", "--label", "nope"], "label: nope"),
        (["--name", "people", "--model", "{newer}", "--version", "2"], "version 2 of model"),
        (["--name", "people", "--model", "{other}"], "expected version 7 AVAILABLE"),
    ],
)
def test_a_server_without_that_version_is_exit_code_3(
    trained: Trained, served: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    newer, other = tmp_path / "newer", tmp_path / "other"
    for version in (newer / "1", newer / "2", other / "7"):
        shutil.copytree(trained.base / "1", version)
    given = [a.format(golden=golden(trained), newer=newer, other=other) for a in arguments]
    process = run("probe", "--server", served, *given)
    assert process.returncode == 3, process.stderr
    assert process.stdout == ""
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize("trouble", ["another answer", "a fault", "no access", "loading"])
def test_a_server_that_answers_otherwise_is_exit_code_3(trained: Trained, trouble: str) -> None:
    with FakeGrpcServer() as server:  # another model: its centroids are others
        if trouble == "a fault":
            server.failures.extend([Failure("INTERNAL", "broken")] * 9)
        elif trouble == "no access":
            server.failures.extend([Failure("PERMISSION_DENIED", "who are you?")] * 9)
        elif trouble == "loading":
            server.model.states = {1: "LOADING"}
        process = run(
            *("probe", "--server", server.address),
            *("--name", "customers", "--golden", golden(trained)),
        )
    assert process.returncode == 3, process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_where_nothing_answers_it_is_exit_code_2(trained: Trained) -> None:
    process = run("probe", "--server", "127.0.0.1:1", "--model", trained.base)
    assert process.returncode == 2
    assert "127.0.0.1:1" in process.stderr
    with FakeGrpcServer() as server:
        server.gate.clear()
        process = run(
            *("probe", "--server", server.address, "--timeout", "0.3"),
            *("--name", "customers", "--golden", golden(trained)),
        )
    assert process.returncode == 2
    assert re.search("no answer in 0.3 s|Deadline Exceeded", process.stderr)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "specify --model BASE, or --name NAME and --golden FILE"),
        (["--golden", "{golden}"], "specify --model BASE or --name NAME"),
        (["--name", "people", "--golden", "nope.npz"], "nope.npz: no such file"),
        (["--name", "people", "--golden", "{csv}"], "the golden requests are unreadable"),
        (["--model", "nope"], "nope"),
        (["--model", "{base}", "--header", "x"], "give NAME:VALUE"),
        (["--model", "{base}", "--tls-ca", "{csv}"], "cannot be used"),
        (["--model", "{base}", "--version", "9"], "9"),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_line(
    trained: Trained, served: str, arguments: list[str], said: str
) -> None:
    names = {"golden": golden(trained), "csv": trained.csv, "base": trained.base}
    process = run("probe", "--server", served, *(each.format(**names) for each in arguments))
    assert process.returncode == 2, process.stderr
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_metadata_tells_versions_and_signatures_without_tensorflow(
    trained: Trained, served: str
) -> None:
    process = python(
        WITHOUT, "tensorflow,pyarrow,httpx", "metadata", "--server", served, "--name", "people"
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.splitlines()[:3] == [
        f"people at {served}",
        "  version 1  AVAILABLE",
        "signatures of version 1",
    ]
    assert "    inputs   points float32 [*, 2]\n" in process.stdout
    assert "    outputs  all_distances float32 [*, 3]\n" in process.stdout


def test_metadata_as_json_has_all_of_it(trained: Trained, served: str) -> None:
    process = run("metadata", "--server", served, "--model", trained.base, "--json")
    said = json.loads(process.stdout)
    assert (said["model"], said["version"]) == ("people", 1)
    assert [each["state"] for each in said["versions"]] == ["AVAILABLE"]
    assert said["signatures"]["transform"]["outputs"] == {
        "all_distances": {"dtype": "float32", "shape": [None, 3]}
    }


def test_metadata_of_a_model_that_is_not_there_is_one_line(served: str) -> None:
    process = run("metadata", "--server", served, "--name", "nobody")
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1


def test_tls_to_a_server_without_it_is_one_line() -> None:
    with FakeGrpcServer() as server:
        asked = run(
            "metadata", "--server", server.address, "--name", "people", "--tls", "--timeout", 2
        )
    assert asked.returncode == 2
    (line,) = asked.stderr.splitlines()
    assert "TLS: the server does not support it" in line
