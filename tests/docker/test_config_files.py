"""The config files of docker/ and what its scripts write, by TensorFlow Serving's messages."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import DeadlineExceeded, GrpcClient, ServerUnavailable, Tls
from serving.embedded import EmbeddedServer
from serving.embedded.option_messages import MonitoringConfig, SSLConfig
from tests.other_users import let_others_pass

from ..debian_programs import require_program
from .conftest import DOCKER

pytestmark = pytest.mark.slow


def test_the_monitoring_config_turns_on_the_path_that_prometheus_is_told() -> None:
    # The Python package of TensorFlow Serving lacks this message: it is described by its fields.
    text = (DOCKER / "config" / "monitoring.config").read_text()
    monitoring = text_format.Parse(text, MonitoringConfig()).prometheus_config
    assert monitoring.enable
    assert (
        f"metrics_path: {monitoring.path}\n"
        in (DOCKER / "prometheus" / "prometheus.yaml").read_text()
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that make_certificates.sh wrote."""
    require_program("openssl")
    folder = tmp_path_factory.mktemp("tls") / "made"
    run = _script("make_certificates.sh", folder, "localhost", "127.0.0.1")
    assert run.returncode == 0, run.stderr
    return folder


def _script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER / name, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def tls_server(published: Path, certificates: Path) -> Iterator[str]:
    with EmbeddedServer(
        model_name="people", model_base_path=published, ssl_config_file=certificates / "ssl.config"
    ) as running:
        assert running.grpc_address is not None
        yield running.grpc_address


def test_the_made_ssl_config_holds_key_and_certificate_themselves(certificates: Path) -> None:
    config = text_format.Parse((certificates / "ssl.config").read_text(), SSLConfig())
    assert config.server_key == (certificates / "server-key.pem").read_text()
    assert config.server_cert == (certificates / "server.pem").read_text()
    assert not config.client_verify


def test_nobody_else_can_enter_the_folder_of_the_keys(certificates: Path) -> None:
    assert certificates.stat().st_mode & 0o777 == 0o700
    assert (certificates / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_the_servers_user_alone_reads_the_ssl_config(certificates: Path, tmp_path: Path) -> None:
    config = (certificates / "ssl.config").stat()
    assert config.st_mode & 0o777 == 0o600
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert services["serving-tls"]["user"] == "${TFS_USER:-65534:65534}"
    if os.geteuid() == 0:
        assert (config.st_uid, config.st_gid) == (65534, 65534)
    else:
        run = _script("make_certificates.sh", tmp_path / "tls")
        assert f"TFS_USER={os.getuid()}:{os.getgid()}" in run.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_who_may_not_give_the_ssl_config_away_is_told_to_start_the_server_as_this_user(
    tmp_path: Path,
) -> None:
    script = tmp_path / "make_certificates.sh"
    shutil.copy(DOCKER / script.name, script)
    let_others_pass(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 4713, 4713)
    run = subprocess.run(
        ["bash", script, home / "tls"],
        user=4713,
        group=4713,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[1:] == [
        "only this user can read it: start the server as TFS_USER=4713:4713"
    ]
    config = (home / "tls" / "ssl.config").stat()
    assert (config.st_uid, config.st_mode & 0o777) == (4713, 0o600)


def test_a_client_that_trusts_the_made_authority_is_answered(
    tls_server: str, certificates: Path
) -> None:
    with GrpcClient(tls_server, "people", tls=Tls(ca=certificates / "ca.pem")) as client:
        assert [each.state for each in client.status()] == ["AVAILABLE"]


def test_a_client_without_tls_is_not_answered(tls_server: str) -> None:
    unanswered = pytest.raises((ServerUnavailable, DeadlineExceeded))
    with GrpcClient(tls_server, "people", timeout=1) as client, unanswered:
        client.status()


def test_made_certificates_are_not_overwritten(certificates: Path) -> None:
    run = _script("make_certificates.sh", certificates)
    assert (run.returncode, run.stderr) == (
        2,
        f"error: {certificates}/ssl.config exists already; name another folder\n",
    )


def test_a_baked_version_is_live_under_its_label_and_readable_by_all(
    published: Path, tmp_path: Path
) -> None:
    context = tmp_path / "context"
    run = _script("bake.sh", published, 1, "--context", context)
    assert run.returncode == 0, run.stderr
    text = (context / "models" / "models.config").read_text()
    parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (entry,) = parsed.model_config_list.config
    assert (entry.name, entry.base_path) == ("people", "/models/people")
    assert list(entry.model_version_policy.specific.versions) == [1]
    assert dict(entry.version_labels) == {"stable": 1}
    for path in context.rglob("*"):
        assert path.stat().st_mode & 0o444 == 0o444
        assert not path.is_dir() or path.stat().st_mode & 0o111 == 0o111
    assert os.access(context / "health_check.sh", os.X_OK)

    # And a server takes it so, at the place where it lies here.
    (context / "models" / "models.config").write_text(
        text.replace('"/models/people"', f'"{context}/models/people"')
    )
    with EmbeddedServer(
        model_config_file=context / "models" / "models.config",
        allow_version_labels_for_unavailable_models=True,
        monitoring_config_file=context / "config" / "monitoring.config",
        rest_api_port="auto",
    ) as server:
        assert server.grpc_address is not None
        with GrpcClient(server.grpc_address, "people", label="stable") as client:
            assert client.assign([[0.0, 0.0]]).version == 1


def test_a_version_that_is_not_there_is_not_baked(published: Path, tmp_path: Path) -> None:
    run = _script("bake.sh", published, 9, "--context", tmp_path / "context")
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {published}/9 holds no SavedModel")
    assert not (tmp_path / "context").exists()
