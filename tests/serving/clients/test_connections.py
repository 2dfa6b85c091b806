"""Encrypted connections, headers for proxies, several addresses, compressed bodies."""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme

from serving import (
    AccessDenied,
    DeadlineExceeded,
    GrpcClient,
    InvalidInput,
    RestClient,
    ServerUnavailable,
    Tls,
)

from ..fake_servers import Failure, FakeGrpcServer, FakeRestServer, FakeServer
from .conftest import Wire

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

POINTS = np.ones((4, 2), np.float32)


@dataclass
class Papers:
    """An authority, the server's certificate for 127.0.0.1 and ``models.internal``, a client's."""

    folder: Path
    server: trustme.LeafCert

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def client(self) -> dict[str, Any]:
        return {"certificate": self.folder / "me.pem", "key": self.folder / "me.key"}


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    me = authority.issue_cert("me@example.org")
    me.private_key_pem.write_to_path(folder / "me.key")
    (folder / "me.pem").write_bytes(b"".join(blob.bytes() for blob in me.cert_chain_pems))
    trustme.CA().cert_pem.write_to_path(folder / "other.pem")
    return Papers(folder, authority.issue_cert("127.0.0.1", "models.internal"))


def secure_server(wire: Wire, papers: Papers, *, mutual: bool = False) -> FakeServer:
    """A server of that protocol which shows its certificate, and if asked wants to see one."""
    ca = papers.ca.read_bytes()
    if wire.start_server is FakeGrpcServer:
        chain = b"".join(blob.bytes() for blob in papers.server.cert_chain_pems)
        pair = (papers.server.private_key_pem.bytes(), chain)
        credentials = grpc.ssl_server_credentials([pair], ca if mutual else None, mutual)
        return FakeGrpcServer(credentials=credentials)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    papers.server.configure_cert(context)
    if mutual:
        context.load_verify_locations(cadata=ca.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return FakeRestServer(tls=context)


def test_a_server_that_shows_a_certificate_is_asked_encrypted(wire: Wire, papers: Papers) -> None:
    with (
        secure_server(wire, papers) as server,
        wire.client(server.address, "customers", tls=Tls(ca=papers.ca)) as client,
    ):
        client.wait_until_ready()
        assert client.assign(POINTS).cluster_index.shape == (4,)


def test_a_server_that_asks_who_we_are_is_shown(wire: Wire, papers: Papers) -> None:
    with secure_server(wire, papers, mutual=True) as server:
        with wire.client(
            server.address, "customers", tls=Tls(ca=papers.ca, **papers.client)
        ) as client:
            assert client.assign(POINTS).cluster_index.shape == (4,)
        with (
            wire.client(server.address, "customers", tls=Tls(ca=papers.ca)) as client,
            pytest.raises((ServerUnavailable, DeadlineExceeded)),
        ):
            client.assign(POINTS, timeout=2)


@pytest.mark.parametrize("doubt", ["authority", "name", "plain text"])
def test_a_server_that_cannot_be_trusted_is_not_asked(
    wire: Wire, papers: Papers, doubt: str
) -> None:
    tls = {
        "authority": Tls(ca=papers.folder / "other.pem"),
        "name": Tls(ca=papers.ca, server_name="elsewhere.example"),
        "plain text": None,
    }[doubt]
    with (
        secure_server(wire, papers) as server,
        wire.client(server.address, "customers", tls=tls) as client,
        pytest.raises((ServerUnavailable, DeadlineExceeded)),
    ):
        client.assign(POINTS, timeout=2)
    assert server.calls == []


def test_the_certificate_may_be_for_a_name_that_is_told(wire: Wire, papers: Papers) -> None:
    tls = Tls(ca=papers.ca, server_name="models.internal")
    with (
        secure_server(wire, papers) as server,
        wire.client(server.address, "customers", tls=tls) as client,
    ):
        assert client.assign(POINTS).cluster_index.shape == (4,)


def test_several_encrypted_servers_take_turns(wire: Wire, papers: Papers) -> None:
    with secure_server(wire, papers) as one, secure_server(wire, papers) as two:
        addresses = [one.address, two.address]
        with wire.client(addresses, "customers", tls=Tls(ca=papers.ca)) as client:
            _ask_until(client, lambda: bool(one.predicts() and two.predicts()))


def test_grpc_is_told_the_one_name_of_encrypted_servers_of_several_hosts(
    grpc_wire: Wire, papers: Papers
) -> None:
    addresses = ["127.0.0.1:1", "localhost:1"]
    with pytest.raises(InvalidInput, match=r"127.0.0.1, localhost: .* Tls\(server_name=...\)"):
        grpc_wire.client(addresses, "customers", tls=Tls(ca=papers.ca))
    grpc_wire.client(addresses, "customers", tls=Tls(ca=papers.ca, server_name="models.internal"))


def test_files_that_are_no_certificates_are_refused(wire: Wire, papers: Papers) -> None:
    nonsense = papers.folder / "nonsense.pem"
    nonsense.write_text("nonsense")
    for ca in (nonsense, papers.folder / "missing.pem"):
        with pytest.raises(InvalidInput, match=f"{ca.name} cannot be used"):
            wire.client("localhost:1", "customers", tls=Tls(ca=ca))
    with pytest.raises(InvalidInput, match="key is missing; a certificate and its key go together"):
        Tls(certificate="me.pem")


def test_rest_in_plain_text_is_not_what_tls_means() -> None:
    with pytest.raises(InvalidInput, match="is in plain text, and tls= was given"):
        RestClient("http://localhost:8501", "customers", tls=Tls())


def test_the_headers_go_with_every_request(connect: Callable[..., Client], server: Any) -> None:
    client = connect(headers={"Authorization": "Bearer 123", "x-team": "blue"})
    for call in (lambda: client.assign(POINTS), client.status, client.metadata):
        call()
    assert len(server.sent_headers) >= 3
    for headers in server.sent_headers:
        assert headers["authorization"] == "Bearer 123"
        assert headers["x-team"] == "blue"


@pytest.mark.parametrize(
    "headers",
    [
        {"a b": "SECRET"},
        {"a": "SECRET\n"},
        {"a": 80443},
        {"": "SECRET"},
        {"x-bin": "SECRET"},
        {"Content-Length": "80443"},
        {"transfer-encoding": "SECRET"},
        {"content-encoding": "SECRET"},
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(wire: Wire, headers: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent") as raised:
        wire.client("localhost:1", "customers", headers=headers)
    assert str(next(iter(headers.values()))) not in str(raised.value)


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_proxy_that_does_not_know_us_is_access_denied(
    client: Client, server: FakeServer, code: str
) -> None:
    server.failures.extend([Failure(code, "who are you?")] * 2)
    with pytest.raises(AccessDenied, match="who are you"):
        client.assign(POINTS)


def test_the_servers_are_asked_directly_whatever_the_environment_says(
    wire: Wire, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with wire.client(server.address, "customers") as client:
        assert client.assign(POINTS).cluster_index.shape == (4,)


def test_several_servers_take_turns(wire: Wire) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(wire.start_server()) for _ in range(3)]
        addresses = [server.address for server in servers]
        client = stack.enter_context(wire.client(addresses, "customers"))
        _ask_until(client, lambda: all(server.predicts() for server in servers))
        before = Counter({server.address: server.predicts() for server in servers})
        for _ in range(30):
            client.assign(POINTS)
        after = Counter({server.address: server.predicts() for server in servers})
        assert set((after - before).values()) == {10}


def test_a_server_that_is_gone_is_passed_over(wire: Wire) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(wire.start_server()) for _ in range(2))
        client = stack.enter_context(wire.client([one.address, two.address], "customers"))
        _ask_until(client, lambda: bool(one.predicts() and two.predicts()))
        one.stop()
        for _ in range(6):
            assert client.assign(POINTS).cluster_index.shape == (4,)


@contextmanager
def silent_place(*, takes: bool) -> Iterator[str]:
    """An address where nobody answers; without ``takes``, no connection is made either."""
    with ExitStack() as stack:
        hole = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=100 if takes else 0)
        )
        while not takes:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(hole.getsockname())
            except TimeoutError:
                break
        yield f"127.0.0.1:{hole.getsockname()[1]}"


@pytest.mark.parametrize("takes", [True, False], ids=["connects", "does not connect"])
def test_a_server_that_is_silent_costs_rest_no_more_than_one_call(
    rest_wire: Wire, takes: bool
) -> None:
    answered = 0
    with (
        rest_wire.start_server() as server,
        silent_place(takes=takes) as silent,
        rest_wire.client([silent, server.address], "customers", timeout=1) as client,
    ):
        for _ in range(6):
            with suppress(DeadlineExceeded):
                answered += client.assign(POINTS).cluster_index.shape == (4,)
    assert answered >= (5 if takes else 6)


def test_names_are_resolved_where_there_are_several(wire: Wire) -> None:
    with wire.start_server() as one, wire.start_server() as two:
        names = [each.address.replace("127.0.0.1", "localhost") for each in (one, two)]
        with wire.client(names, "customers") as client:
            _ask_until(client, lambda: bool(one.predicts() and two.predicts()))


def test_a_name_that_is_unknown_leaves_the_others(
    wire: Wire, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **options: Any) -> Any:
        if "nowhere" in str(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with wire.client(["nowhere:1", server.address], "customers") as client:
        for _ in range(3):
            assert client.assign(POINTS).cluster_index.shape == (4,)
    if wire.start_server is FakeGrpcServer:
        with pytest.raises(ServerUnavailable, match="nowhere:2 has no address"):
            wire.client(["nowhere:1", "nowhere:2"], "customers")


@pytest.mark.parametrize("addresses", [[], [1], None, 5, b"localhost:1"])
def test_a_list_without_addresses_is_refused(wire: Wire, addresses: Any) -> None:
    with pytest.raises(InvalidInput, match="is no address"):
        wire.client(addresses, "customers")


def test_grpc_does_not_mix_kinds_of_addresses() -> None:
    with pytest.raises(InvalidInput, match="some addresses are IPv4 and others IPv6"):
        GrpcClient(["127.0.0.1:1", "[::1]:1"], "customers")


def _ask_until(client: Any, condition: Callable[[], bool]) -> None:
    """gRPC connects to each address when it is there; until then the others answer."""
    for _ in range(2000):
        client.assign(POINTS)
        if condition():
            return
    raise AssertionError("some server was never asked")


def test_rest_bodies_can_be_compressed(rest_wire: Wire) -> None:
    points = np.random.default_rng(2).normal(size=(500, 2))
    with FakeRestServer() as server:
        with rest_wire.client(server.address, "customers") as client:
            plain = client.transform(points)
        with rest_wire.client(server.address, "customers", gzip=True) as client:
            zipped = client.transform(points)
            client.assign(POINTS)
    np.testing.assert_array_equal(plain.all_distances, zipped.all_distances)
    encodings = [headers.get("content-encoding") for headers in server.sent_headers]
    assert encodings == [None, None, None, "gzip", None]  # a small body is not worth it
    sizes = [int(headers.get("content-length", 0)) for headers in server.sent_headers]
    assert sizes[3] < 0.6 * sizes[1]


@pytest.mark.parametrize("address", ["localhost:99999", "localhost:0", ["a:1", "b:65536"]])
def test_a_port_that_there_is_not_is_refused_before_it_wraps(
    wire: Wire, address: str | list[str]
) -> None:
    with pytest.raises(InvalidInput, match="no port from 1 to 65535"):
        wire.client(address, "m")
