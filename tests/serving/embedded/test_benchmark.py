"""The benchmark of servers runs, against the embedded server and another one; no time is judged."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from serving.embedded import EmbeddedServer
from tests.conformance.fixture_models import write_fixture_models

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).parents[3] / "benchmarks" / "serving.py"


def test_every_server_protocol_and_size_is_measured(tmp_path: Path) -> None:
    write_fixture_models(tmp_path)
    base, report = tmp_path / "kmeans", tmp_path / "report.json"
    with EmbeddedServer(model_name="kmeans", model_base_path=base) as other:
        addresses = [str(other.grpc_address), str(other.rest_address)]
        command = [sys.executable, str(_SCRIPT), "--model", "kmeans", "--base", str(base)]
        brief = ["--rounds", "1", "--seconds", "0.05", "--connections", "2"]
        done = subprocess.run(
            [*command, "--other", "another", *addresses, *brief, "--json", str(report)],
            cwd=_SCRIPT.parents[1],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    results = json.loads(report.read_text())["results"]
    measured = [(row["server"], row["protocol"], row["rows"]) for row in results]
    assert measured == list(product(["embedded", "another"], ["gRPC", "REST"], [1, 32, 1024]))
    assert all(row["requests"] > 0 and row["p50_ms"] <= row["p99_ms"] for row in results)
    assert len(done.stdout.splitlines()) == 1 + len(results)
