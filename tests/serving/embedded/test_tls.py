"""gRPC over TLS, by an SSLConfig with the keys and certificates in it."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.embedded import EmbeddedServer, InvalidSslConfig
from tests.serving.embedded.tiny_models import predict, write_multiplier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a model of one version."""
    base = tmp_path_factory.mktemp("tls") / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


def _config(path: Path, authority: trustme.CA, more: str = "") -> Path:
    issued = authority.issue_cert("127.0.0.1")
    certificate = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    key = issued.private_key_pem.bytes().decode()
    path.write_text(
        f"server_key: {json.dumps(key)}\nserver_cert: {json.dumps(certificate)}\n{more}\n"
    )
    return path


def _verifying(authority: trustme.CA) -> str:
    ca = authority.cert_pem.bytes().decode()
    return f"custom_ca: {json.dumps(ca)}\nclient_verify: true"


@pytest.fixture(params=[False, True], ids=["server only", "client too"])
def server(
    request: pytest.FixtureRequest, base: Path, authority: trustme.CA, tmp_path: Path
) -> Iterator[tuple[EmbeddedServer, bool]]:
    """A server by TLS, and whether it asks for the client's certificate."""
    more = _verifying(authority) if request.param else ""
    path = _config(tmp_path / "ssl.config", authority, more)
    with EmbeddedServer(model_name="m", model_base_path=base, ssl_config_file=path) as running:
        yield running, request.param


def _state(address: str | None, credentials: grpc.ChannelCredentials | None) -> int:
    assert address is not None
    channel = (
        grpc.insecure_channel(address)
        if credentials is None
        else grpc.secure_channel(address, credentials)
    )
    with channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "m"
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        state: int = stub.GetModelStatus(request, timeout=10).model_version_status[0].state
        return state


def test_tls_is_spoken_by_grpc_alone(
    server: tuple[EmbeddedServer, bool], authority: trustme.CA
) -> None:
    running, verifies = server
    root = authority.cert_pem.bytes()
    issued = authority.issue_cert("client")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    known = grpc.ssl_channel_credentials(root, issued.private_key_pem.bytes(), chain)
    unknown = grpc.ssl_channel_credentials(root)
    assert _state(running.grpc_address, known) == 30
    with pytest.raises(grpc.RpcError):
        _state(running.grpc_address, None)
    if verifies:
        with pytest.raises(grpc.RpcError):
            _state(running.grpc_address, unknown)
    else:
        assert _state(running.grpc_address, unknown) == 30
    assert predict(running.rest_address, "m") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not exist"),
        ("server_key {", "Error parsing text-format tensorflow.serving.SSLConfig"),
        ('server_key: "/etc/key.pem"', "no PEM in server_key"),
        ("", "no PEM in server_key"),
    ],
)
def test_a_bad_ssl_config_is_named(base: Path, tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "ssl.config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidSslConfig, match=said) as caught:
        EmbeddedServer(model_name="m", model_base_path=base, ssl_config_file=path).start()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_clients_are_not_verified_without_an_authority(
    base: Path, authority: trustme.CA, tmp_path: Path
) -> None:
    path = _config(tmp_path / "ssl.config", authority, "client_verify: true")
    with pytest.raises(InvalidSslConfig, match="client_verify but no custom_ca"):
        EmbeddedServer(model_name="m", model_base_path=base, ssl_config_file=path).start()
