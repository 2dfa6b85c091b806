"""The built wheel in an environment of its own, without TensorFlow, used from an empty folder."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
#: What comes with an extra, and must not come without.
HEAVY = {"tensorflow", "pyarrow", "starlette", "uvicorn", "scipy", "tensorflow-serving-api"}

IMPORTING = r"""
import json, re, sys, time
from pathlib import Path
start = time.process_time()
from tfkmeans import GrpcClient, RestClient
from tfkmeans import Assignment, ServingError
seconds = time.process_time() - start
# Of this program only; getrusage also counts the process that started it.
status = Path("/proc/self/status")
found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
import serving
print(json.dumps({
    "seconds": seconds,
    "mebibytes": int(found[1]) / 1024 if found else 0,
    "place": serving.__file__,
    "modules": sorted(sys.modules),
}))
"""

ASKING = """
import asyncio, sys
from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, RestClient
over_grpc, over_rest = sys.argv[1:]
points = [[1.0, 2.0], [8.0, 9.0]]
for kind, address in ((GrpcClient, over_grpc), (RestClient, over_rest)):
    with kind(address, "people") as client:
        client.wait_until_ready()
        print(client.assign(points).cluster_index.tolist())
async def ask(kind, address):
    async with kind(address, "people") as client:
        return (await client.assign(points)).cluster_index.tolist()
print(asyncio.run(ask(AsyncGrpcClient, over_grpc)))
print(asyncio.run(ask(AsyncRestClient, over_rest)))
assert not [name for name in sys.modules if name.startswith("tensorflow")]
"""


def _needs_an_index(process: subprocess.CompletedProcess[str], what: str) -> None:
    """Skip where no package index is within reach; on a build machine that is a failure."""
    if process.returncode == 0:
        return
    said = f"{what}: {process.stderr.strip().splitlines()[-1:]}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(said)
    pytest.skip(said)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that has the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("light")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=120)
    place = folder / "venv" / "bin"
    installed = subprocess.run(
        [str(place / "pip"), "install", "--disable-pip-version-check", "--quiet", str(wheel)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    _needs_an_index(installed, "the wheel's requirements could not be installed")
    return place


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder that has nothing of the checkout."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, EmbeddedServer]]:
    """A published model, and a server of it in this process."""
    from export import publish_fit
    from kmeans_module import fit

    base = tmp_path_factory.mktemp("served") / "people"
    points = np.random.default_rng(0).normal(scale=5, size=(200, 2)).astype(np.float32)
    publish_fit(fit(points, 3), points, base, feature_names=["a", "b"])
    with EmbeddedServer(model_name="people", model_base_path=base) as server:
        yield base, server


def _run(
    light: Path, cwd: Path, *command: str, python: bool = False
) -> subprocess.CompletedProcess[str]:
    # No path of the checkout, whatever the tests themselves were started with.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    program = [str(light / "python"), "-c"] if python else [str(light / "tfkmeans")]
    return subprocess.run(
        [*program, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_is_installed_is_light(light: Path) -> None:
    listed = subprocess.run(
        [str(light / "pip"), "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert "tfkmeans" in names
    assert names.isdisjoint(HEAVY)


def test_the_clients_import_without_tensorflow_in_little_memory_and_time(
    light: Path, empty: Path
) -> None:
    process = _run(light, empty, IMPORTING, python=True)
    assert process.returncode == 0, process.stderr
    said = json.loads(process.stdout)
    assert str(light.parent) in said["place"]
    assert not [name for name in said["modules"] if name.startswith("tensorflow")]
    assert said["mebibytes"] < 100
    # The first start compiles; the processor's time is its own, whatever else the machine does.
    again = [json.loads(_run(light, empty, IMPORTING, python=True).stdout) for _ in range(3)]
    assert min(each["seconds"] for each in again) < 0.5


def test_all_four_clients_ask_a_server(
    light: Path, empty: Path, served: tuple[Path, EmbeddedServer]
) -> None:
    _, server = served
    assert server.grpc_address is not None
    assert server.rest_address is not None
    process = _run(light, empty, ASKING, server.grpc_address, server.rest_address, python=True)
    assert process.returncode == 0, process.stderr
    answers = process.stdout.splitlines()
    assert len(answers) == 4
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("assign --point 1,2 --model {base} --server {server}", "cluster_index,distance\n"),
        ("probe --server {server} --model {base}", "ok: version 1 is AVAILABLE"),
        ("probe --server {server} --name people --golden {golden}", "ok: version 1 is AVAILABLE"),
        ("metadata --server {server} --name people", "  version 1  AVAILABLE"),
        ("inspect {base}", "clusters"),
        ("versions {base} --server {server}", "AVAILABLE"),
        ("verify {base} --help", "Usage"),
        ("promote {base} 1 --dry-run", ""),
        ("--help", "assign"),
    ],
)
def test_the_commands_that_ask_a_server_run_there(
    light: Path,
    empty: Path,
    served: tuple[Path, EmbeddedServer],
    arguments: str,
    said: str,
) -> None:
    base, server = served
    given = arguments.format(
        base=base,
        server=server.grpc_address,
        golden=base / "1" / "assets.extra" / "golden_requests.npz",
    )
    process = _run(light, empty, *given.split())
    assert process.returncode == 0, process.stderr
    assert said in process.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("train {csv} --model new --clusters 2", "train"),
        ("serve {base} --port auto", "serve"),
        ("assign --point 1,2 --model {base}", "train"),
        ("batch-score {csv} out --model {base}", "batch"),
        ("publish {base}/1 new", "train"),
    ],
)
def test_a_command_whose_extra_is_missing_says_what_to_install(
    light: Path,
    empty: Path,
    served: tuple[Path, EmbeddedServer],
    arguments: str,
    extra: str,
) -> None:
    base, _ = served
    csv = empty / "rows.csv"
    csv.write_text("a,b\n1,2\n3,4\n")
    process = _run(light, empty, *arguments.format(base=base, csv=csv).split())
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert f"pip install 'tfkmeans[{extra}]'" in process.stderr.splitlines()[-1]
