"""The clients come without TensorFlow, and keep coming without it."""

import re
import subprocess
import sys
from pathlib import Path

import serving


def run(program: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_every_public_name_of_the_clients_comes_without_tensorflow() -> None:
    stub = (Path(serving.__file__).parent / "__init__.pyi").read_text()
    names = re.findall(r"^from \.(?:errors|clients\.\w+) import (\w+)", stub, re.M)
    assert {"GrpcClient", "RestClient", "Assignment", "InvalidInput"} <= set(names)
    run(
        f"import sys; from serving import {', '.join(names)}\n"
        "assert not [name for name in sys.modules if name.startswith('tensorflow')]"
    )


def test_asking_a_server_brings_no_tensorflow() -> None:
    run(
        """
import sys
from tests.serving.fake_servers import FakeGrpcServer, FakeRestServer
from serving import GrpcClient, RestClient
for server, client in ((FakeGrpcServer, GrpcClient), (FakeRestServer, RestClient)):
    with server() as running, client(running.address, "customers") as asking:
        asking.wait_until_ready()
        assert asking.assign([[1, 2]]).cluster_index.tolist() == [0]
        assert asking.metadata().version == 2
assert not [name for name in sys.modules if name.startswith("tensorflow")]
"""
    )


def test_a_client_that_nobody_closed_does_not_keep_the_program() -> None:
    run(
        """
from tests.serving.fake_servers import FakeRestServer
from serving import GrpcClient, RestClient
with FakeRestServer() as running:
    client = RestClient(running.address, "customers")
    client.status()
other = GrpcClient("localhost:1", "customers")
"""
    )
