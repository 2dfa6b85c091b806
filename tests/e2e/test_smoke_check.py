"""scripts/smoke_check.sh: the whole way by itself, a right server, and servers that are not."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export import golden_requests
from kmeans_module.contract import SIGNATURES
from serving.embedded import EmbeddedServer
from serving.golden_check import Check, check_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "smoke_check.sh"

CENTERS = np.array([[0, 0], [8, 0], [0, 8]], np.float32)


@dataclass(frozen=True)
class Run:
    """A finished run of the script."""

    code: int
    lines: list[str]
    complaint: str

    def failed(self) -> list[str]:
        return [line for line in self.lines if line.startswith("FAIL ")]


def smoke_check(*arguments: str | Path, folder: Path, **variables: str) -> Run:
    """Run the script where a caller stands in ``folder``, which is also its place for scratch."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    process = subprocess.run(
        [SCRIPT, *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(scratch), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert list(scratch.iterdir()) == []
    return Run(process.returncode, process.stdout.splitlines(), process.stderr)


def write_versions(base: Path, versions: Sequence[int], centers: NDArray[np.float32]) -> None:
    """Versions of a model with clusters around ``centers``; all of them the same."""
    from export import make_card, write_candidate
    from kmeans_module import fit

    random = np.random.default_rng(7)
    points = np.concatenate(
        [center + random.normal(size=(40, len(center))) for center in centers]
    ).astype(np.float32)
    result = fit(points, len(centers), init=centers)
    card = make_card(
        result,
        points,
        feature_names=[f"x{i}" for i in range(points.shape[1])],
        model=base.name,
    )
    first, *others = (base / str(version) for version in versions)
    write_candidate(first, result, card, points)
    for other in others:
        shutil.copytree(first, other)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model ``toy`` with one version."""
    base = tmp_path_factory.mktemp("published") / "toy"
    write_versions(base, [1], CENTERS)
    return base


@contextmanager
def serving(base: Path, name: str = "toy") -> Iterator[tuple[str, str, str]]:
    """Serve a folder; gives host, gRPC port and REST port."""
    with EmbeddedServer(model_name=name, model_base_path=base) as server:
        assert server.grpc_address is not None
        assert server.rest_address is not None
        host, grpc_port = server.grpc_address.split(":")
        yield host, grpc_port, server.rest_address.split(":")[1]


@pytest.fixture(scope="module")
def right_server(published: Path) -> Iterator[tuple[str, str, str]]:
    with serving(published) as place:
        yield place


def test_by_itself_it_goes_the_whole_way_the_same_each_time_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    first, second = (smoke_check(folder=tmp_path) for _ in range(2))
    assert (first.code, first.complaint) == (0, "")
    assert all(line.startswith("ok ") for line in first.lines)
    assert [line.split(":")[0] for line in first.lines] == [
        "ok   publish",
        *[
            f"ok   {wire} {what}"
            for what in ("status", "metadata", *SIGNATURES)
            for wire in ("gRPC", "REST")
        ],
    ]
    assert second == first


def test_a_right_server_passes_from_any_folder_with_a_relative_base(
    published: Path, right_server: tuple[str, str, str], tmp_path: Path
) -> None:
    # A folder of the same name as the package must not be taken for it.
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("raise ImportError")
    base = os.path.relpath(published, tmp_path)
    run = smoke_check(*right_server, base, folder=tmp_path)
    assert (run.code, run.complaint) == (0, "")
    assert len(run.lines) == 2 * (2 + len(SIGNATURES))
    assert "ok   gRPC status: version 1 is AVAILABLE" in run.lines
    for wire in ("gRPC", "REST"):
        said = "4 golden requests answered as recorded; 1 without rows not asked"
        assert f"ok   {wire} assign: {said}" in run.lines


def test_a_server_is_asked_without_tensorflow(
    published: Path, right_server: tuple[str, str, str]
) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None; from serving.smoke_check import main; "
        "sys.exit(main(sys.argv[1:]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *right_server, published],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_it_asks_the_version_that_both_the_server_and_the_folder_have(
    published: Path, tmp_path: Path
) -> None:
    base, served = tmp_path / "base" / "toy", tmp_path / "served" / "toy"
    for folder, versions in ((base, (1, 2, 3)), (served, (1, 2))):
        for version in versions:
            shutil.copytree(published / "1", folder / str(version))
    with serving(served) as place:
        run = smoke_check(*place, base, folder=tmp_path)
    assert run.code == 0
    assert "ok   gRPC status: version 2 is AVAILABLE; BASE's highest is 3" in run.lines
    assert any("gRPC metadata: version 2 has" in line for line in run.lines)


@pytest.mark.parametrize(
    ("centers", "difference"),
    [
        pytest.param(
            [[0, 0], [0, 8], [8, 0]],  # the same, in another order
            r"cluster_index\[\d+\] = (?P<expected>\d) of golden request \d+, got (?P<got>\d)",
            id="another-cluster",
        ),
        pytest.param(
            [[0.01, 0], [8.01, 0], [0.01, 8]],
            r"distance\[\d+\] = (?P<expected>\S+) of golden request \d+, got (?P<got>\S+)",
            id="another-distance",
        ),
    ],
)
def test_a_server_of_other_centroids_fails_with_what_was_expected_and_what_came(
    published: Path, tmp_path: Path, centers: list[list[float]], difference: str
) -> None:
    served = tmp_path / "served" / "toy"
    write_versions(served, [1], np.array(centers, np.float32))
    with serving(served) as place:
        run = smoke_check(*place, published, folder=tmp_path)
    assert run.code == 3
    # fit_step takes its centroids from the caller, and so the other model's is no other.
    wrong = [name for name in SIGNATURES if name != "fit_step"]
    assert [line.split(":")[0] for line in run.failed()] == [
        f"FAIL {wire} {name}" for name in wrong for wire in ("gRPC", "REST")
    ]
    for line in run.failed():
        if "assign" in line:
            found = re.search(difference + r" \(\d+ of \d+ values differ\)$", line)
            assert found is not None, line
            assert found["expected"] != found["got"]


@pytest.mark.parametrize(
    ("share", "signatures_that_fail"), [(0.5e-5, set()), (2e-5, set(SIGNATURES))]
)
def test_floats_may_differ_by_1e_5_of_the_largest_in_their_column(
    published: Path,
    right_server: tuple[str, str, str],
    tmp_path: Path,
    share: float,
    signatures_that_fail: set[str],
) -> None:
    shutil.copytree(published, tmp_path / "toy")
    requests = golden_requests.read(tmp_path / "toy" / "1")
    for request in requests:
        for name, recorded in request.outputs.items():
            if recorded.size and recorded.dtype == np.float32:
                columns = recorded.shape[-1] if recorded.ndim > 1 else 1
                column = recorded.reshape(-1, columns)[:, 0]
                largest = 1.0 if name == "silhouette" else np.abs(column).max()
                recorded.flat[0] += share * largest
    golden_requests.write(tmp_path / "toy" / "1", requests)
    failed = {check.subject.split()[1] for check in failed_checks(right_server, tmp_path / "toy")}
    assert failed == signatures_that_fail


def failed_checks(place: tuple[str, str, str], base: Path) -> list[Check]:
    """The checks that do not pass."""
    host, grpc_port, rest_port = place
    found = check_server(f"{host}:{grpc_port}", f"{host}:{rest_port}", base, base.name)
    return [check for check in found if not check.passed]


def test_a_server_of_a_model_with_another_width_fails(published: Path, tmp_path: Path) -> None:
    served = tmp_path / "served" / "toy"
    write_versions(served, [1], np.pad(CENTERS, [(0, 0), (0, 1)]))
    with serving(served) as place:
        run = smoke_check(*place, published, folder=tmp_path)
    assert run.code == 3
    assert (
        "FAIL gRPC metadata: expected serving_default to have points float32 [*, 2], "
        "got float32 [*, 3]" in run.lines
    )
    (assign,) = (line for line in run.failed() if "REST assign" in line)
    assert assign.startswith("FAIL REST assign: expected an answer, got InvalidInput: ")


def test_a_server_without_the_model_fails(
    published: Path, right_server: tuple[str, str, str], tmp_path: Path
) -> None:
    shutil.copytree(published, tmp_path / "other")
    run = smoke_check(*right_server, tmp_path / "other", folder=tmp_path)
    assert run.code == 3
    assert len(run.lines) == 1
    assert run.lines[0].startswith(
        "FAIL gRPC status: expected model 'other' AVAILABLE, "
        "got ModelNotFound: Could not find any versions of model other"
    )


def test_a_server_without_a_version_of_the_folder_fails(
    published: Path, right_server: tuple[str, str, str], tmp_path: Path
) -> None:
    shutil.copytree(published / "1", tmp_path / "toy" / "4")
    run = smoke_check(*right_server, tmp_path / "toy", folder=tmp_path)
    assert run.code == 3
    assert run.lines == ["FAIL gRPC status: expected version 4 AVAILABLE, got version 1 AVAILABLE"]


def test_where_nothing_answers_it_ends_with_2(published: Path, tmp_path: Path) -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
        run = smoke_check("127.0.0.1", port, port, published, folder=tmp_path)
    assert (run.code, run.lines) == (2, [])
    assert re.fullmatch(r"error: .*'toy' at 127.0.0.1:\d+\)\n", run.complaint)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["127.0.0.1"], "1 arguments where there are none or four; usage: "),
        (["127.0.0.1", "8500", "8501", "models/toy", "1"], "5 arguments where"),
        (["127.0.0.1", "http", "8501", "models/toy"], "GRPC_PORT 'http' is not a port"),
        (["127.0.0.1", "8500", "0", "models/toy"], "REST_PORT '0' is not a port"),
        (["127.0.0.1", "8500", "8501", "models/toy"], "models/toy: no such folder"),
    ],
)
def test_a_mistake_in_the_call_is_one_line_and_2(
    arguments: list[str], complaint: str, tmp_path: Path
) -> None:
    run = smoke_check(*arguments, folder=tmp_path)
    assert (run.code, run.lines) == (2, [])
    assert run.complaint.startswith(f"error: {complaint}")
    assert run.complaint.count("\n") == 1


def checkout(folder: Path, *pythons: Path) -> Path:
    """A checkout that has nothing but the script, and programs that tell how they were called."""
    script = folder / "scripts" / SCRIPT.name
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    for python in pythons:
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\necho "$0 $PYTHONPATH $*"\n')
        python.chmod(0o755)
    return script


@pytest.mark.parametrize("has_venv", [True, False])
def test_it_runs_the_python_of_the_checkout_or_else_of_the_path(
    tmp_path: Path, has_venv: bool
) -> None:
    root = tmp_path / "a checkout"
    of_path, of_venv = tmp_path / "bin" / "python3", root / ".venv" / "bin" / "python"
    script = checkout(root, of_path, *([of_venv] if has_venv else []))
    run = subprocess.run(
        [script, "a", "b c"],
        env={"PATH": f"{of_path.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    python = of_venv if has_venv else of_path
    assert run.stdout.splitlines()[-1] == f"{python} {root} -P -m serving.smoke_check a b c"


def test_without_the_packages_it_says_how_to_install_them(tmp_path: Path) -> None:
    script = checkout(tmp_path)
    run = subprocess.run([script], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == (
        f"error: python3 lacks what tfkmeans needs; make setup in {tmp_path} installs it\n"
    )
