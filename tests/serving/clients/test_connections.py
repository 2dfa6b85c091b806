"""Encrypted connections, headers for proxies, several addresses, compressed bodies."""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
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
    ModelNotFound,
    RestClient,
    ServerUnavailable,
    Tls,
)
from serving.clients.connection_failures import describe_failure

from ..fake_servers import Failure, FakeGrpcServer, FakeRestServer, FakeServer
from .conftest import Wire
from .name_server import NameServer
from .tunnel import Tunnel

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

POINTS = np.ones((4, 2), np.float32)


@dataclass
class Papers:
    """An authority, the certificates of servers, one for 127.0.0.1 and ``models.internal`` and one
    for ``localhost``, and a client's.
    """

    folder: Path
    server: trustme.LeafCert
    local: trustme.LeafCert

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
    certificates = (
        authority.issue_cert("127.0.0.1", "models.internal"),
        authority.issue_cert("localhost"),
    )
    return Papers(folder, *certificates)


def secure_server(
    wire: Wire, papers: Papers, *, mutual: bool = False, certificate: Any = None
) -> FakeServer:
    """A server of that protocol which shows its certificate, and if asked wants to see one."""
    ca = papers.ca.read_bytes()
    certificate = certificate or papers.server
    if wire.start_server is FakeGrpcServer:
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        pair = (certificate.private_key_pem.bytes(), chain)
        credentials = grpc.ssl_server_credentials([pair], ca if mutual else None, mutual)
        return FakeGrpcServer(credentials=credentials)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
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
            pytest.raises(
                ServerUnavailable, match=r"client certificate, give Tls\(certificate=..., key=...\)"
            ),
        ):
            client.assign(POINTS, timeout=2)


@pytest.mark.parametrize(
    ("doubt", "said"),
    [
        (
            "authority",
            r"TLS: the server's certificate is not trusted; give its authority as Tls\(ca",
        ),
        ("name", r"TLS: the server's certificate is for another name; .* Tls\(server_name=...\)"),
        ("plain text", r"closed the connection; if it accepts only TLS, give tls=Tls\(\)"),
    ],
)
@pytest.mark.parametrize("timeout", [0.5, 2])
def test_a_server_that_cannot_be_trusted_is_not_asked_and_the_error_says_why(
    wire: Wire, papers: Papers, doubt: str, said: str, timeout: float
) -> None:
    tls = {
        "authority": Tls(ca=papers.folder / "other.pem"),
        "name": Tls(ca=papers.ca, server_name="elsewhere.example"),
        "plain text": None,
    }[doubt]
    with (
        secure_server(wire, papers) as server,
        wire.client(server.address, "customers", tls=tls) as client,
        pytest.raises(ServerUnavailable, match=said) as raised,
    ):
        client.assign(POINTS, timeout=timeout)
    assert f"{server.address}: " in raised.value.message
    assert server.calls == []


def test_a_server_in_plain_text_does_not_speak_tls(wire: Wire, server: FakeServer) -> None:
    with (
        wire.client(server.address, "customers", tls=Tls()) as client,
        pytest.raises(ServerUnavailable, match="TLS: the server does not support it; omit tls"),
    ):
        client.assign(POINTS)


def test_without_a_file_those_are_trusted_whom_python_trusts(
    wire: Wire, papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(papers.folder / "none"))
    for ca, is_trusted in ((papers.folder / "other.pem", False), (papers.ca, True)):
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        with (
            secure_server(wire, papers) as server,
            wire.client(server.address, "customers", tls=Tls()) as client,
            nullcontext() if is_trusted else pytest.raises(ServerUnavailable, match="not trusted"),
        ):
            client.assign(POINTS)


def test_grpc_trusts_a_folder_of_authorities_as_python_does(
    grpc_wire: Wire, papers: Papers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'none'}:{tmp_path}")
    with secure_server(grpc_wire, papers) as server:
        with pytest.raises(InvalidInput, match=r"has an authority to trust; give Tls\(ca=...\)"):
            grpc_wire.client(server.address, "customers", tls=Tls())
        (tmp_path / "0123abcd.0").write_bytes(papers.ca.read_bytes())
        (tmp_path / "0123abcd.1").write_text("no certificate")
        with grpc_wire.client(server.address, "customers", tls=Tls()) as client:
            assert client.assign(POINTS).cluster_index.shape == (4,)


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


def test_encrypted_servers_of_several_hosts_show_each_its_own_name(
    wire: Wire, papers: Papers
) -> None:
    with (
        secure_server(wire, papers) as one,
        secure_server(wire, papers, certificate=papers.local) as two,
    ):
        addresses = [one.address, two.address.replace("127.0.0.1", "localhost")]
        with wire.client(addresses, "customers", tls=Tls(ca=papers.ca)) as client:
            _ask_until(client, lambda: bool(one.predicts() and two.predicts()))


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


def test_a_name_that_is_unknown_leaves_the_others(wire: Wire, server: FakeServer) -> None:
    unknown = "nowhere.invalid:1"
    with wire.client([unknown, server.address], "customers") as client:
        for _ in range(3):
            assert client.assign(POINTS).cluster_index.shape == (4,)
    with (
        wire.client(unknown, "customers") as client,
        pytest.raises(ServerUnavailable, match=f"{unknown}: the name has no address"),
    ):
        client.assign(POINTS, timeout=1)


# A connection that is refused at once may take a busy machine more than a tenth of a second.
@pytest.mark.parametrize("timeout", [0.5, 1, 30])
def test_where_nothing_listens_the_server_is_unavailable_whatever_the_deadline(
    wire: Wire, timeout: float
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with (
        wire.client(address, "customers") as client,
        pytest.raises(ServerUnavailable, match=f"{address}: connection refused; nothing listens"),
    ):
        client.assign(POINTS, timeout=timeout)


@pytest.mark.parametrize(
    ("cause", "question"),
    [
        (
            "UNKNOWN: connection attempt timed out before receiving SETTINGS frame",
            "is this the gRPC port?",
        ),
        ("illegal request line", "is this the REST port?"),
    ],
)
def test_the_port_of_the_other_protocol_is_suspected(cause: str, question: str) -> None:
    assert describe_failure("localhost:8500", None, cause).endswith(question)


@pytest.mark.parametrize("is_list", [False, True], ids=["one name", "a list"])
def test_a_name_that_gets_another_address_is_followed_within_five_seconds(
    grpc_wire: Wire, is_list: bool
) -> None:
    with NameServer(["127.0.0.1"]) as names, FakeGrpcServer() as first:
        port = first.address.rpartition(":")[2]
        named = f"dns://{names.place}/models.test:{port}"
        unknown = "nowhere.invalid:1"
        addresses = [named, unknown] if is_list else named
        with grpc_wire.client(addresses, "customers") as client:
            client.assign(POINTS)
            names.addresses = ["127.0.0.2"]
            first.stop()
            with FakeGrpcServer(int(port), host="127.0.0.2") as second:
                client.assign(POINTS, timeout=5)
                assert second.predicts() == 1


def test_a_list_whose_name_gets_other_addresses_while_the_other_answers_is_followed(
    grpc_wire: Wire,
) -> None:
    with NameServer(["127.0.0.1"]) as names, FakeGrpcServer() as first, FakeGrpcServer() as other:
        port = first.address.rpartition(":")[2]
        addresses = [f"dns://{names.place}/models.test:{port}", other.address]
        with grpc_wire.client(addresses, "customers") as client:
            _ask_until(client, lambda: bool(first.predicts() and other.predicts()))
            names.addresses = ["127.0.0.2"]
            first.stop()
            with FakeGrpcServer(int(port), host="127.0.0.2") as second:
                other.wait_until(lambda: bool(client.assign(POINTS) and second.predicts()))


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
def test_grpc_asks_a_server_at_a_path(grpc_wire: Wire, tmp_path: Path, form: str) -> None:
    with FakeGrpcServer(host=f"unix:{tmp_path}/models.sock") as server:
        place = form.format(tmp_path / "models.sock")
        with grpc_wire.client(place, "customers") as client:
            assert client.assign(POINTS).cluster_index.shape == (4,)
    assert server.predicts() == 1


@pytest.mark.parametrize("form", ["dns:///{}", "dns:{}", "ipv4:{}"])
def test_grpc_takes_addresses_as_grpc_spells_them(grpc_wire: Wire, form: str) -> None:
    with (
        FakeGrpcServer() as server,
        grpc_wire.client(form.format(server.address), "customers") as client,
    ):
        assert client.assign(POINTS).cluster_index.shape == (4,)


def test_a_password_in_an_address_goes_to_the_server_and_into_no_error(rest_wire: Wire) -> None:
    with FakeRestServer() as server:
        address = f"http://me:SECRET@{server.address}"
        with rest_wire.client(address, "customers") as client:
            client.assign(POINTS)
            server.failures.append(Failure("INVALID_ARGUMENT", "broken"))
            with pytest.raises(InvalidInput) as told:
                client.assign(POINTS)
            with pytest.raises(ModelNotFound) as missing:
                client.assign(POINTS, version=9)
    assert server.sent_headers[0]["authorization"] == "Basic bWU6U0VDUkVU"
    with rest_wire.client(address, "customers") as client:
        with pytest.raises(ServerUnavailable) as gone:
            client.assign(POINTS, timeout=1)
        with pytest.raises(InvalidInput) as mistaken:
            client.assign(POINTS, timeout=-1)
    with pytest.raises(InvalidInput) as refused:
        rest_wire.client("http://me:SECRET@localhost:99999", "customers")
    for raised in (told, missing, gone, mistaken, refused):
        assert "SECRET" not in f"{raised.value!r} {raised.value}"


def test_rest_goes_through_a_proxy_that_is_given(rest_wire: Wire) -> None:
    with FakeRestServer() as proxy:
        handle, paths = proxy.handle, []

        def pass_on(path: str, body: bytes | None) -> tuple[int, bytes]:
            paths.append(path)
            return handle(path.removeprefix("http://models.test:8501"), body)

        proxy.handle = pass_on  # type: ignore[method-assign]
        with rest_wire.client(
            "models.test:8501", "customers", proxy=f"http://me:SECRET@{proxy.address}"
        ) as client:
            assert client.assign(POINTS).cluster_index.shape == (4,)
    assert all(path.startswith("http://models.test:8501/v1/models/customers") for path in paths)
    assert proxy.sent_headers[-1]["proxy-authorization"] == "Basic bWU6U0VDUkVU"
    with (
        rest_wire.client(
            "models.test:8501", "customers", proxy=f"http://me:SECRET@{proxy.address}"
        ) as client,
        pytest.raises(ServerUnavailable, match=r"by the proxy .*connection refused") as raised,
    ):
        client.assign(POINTS)
    assert "SECRET" not in str(raised.value)


def test_rest_goes_encrypted_through_a_proxy(rest_wire: Wire, papers: Papers) -> None:
    with secure_server(rest_wire, papers) as server, Tunnel() as proxy:
        tls = Tls(ca=papers.ca)
        with rest_wire.client(server.address, "customers", tls=tls, proxy=proxy.address) as client:
            assert client.assign(POINTS).cluster_index.shape == (4,)
        assert proxy.requests[0].startswith(f"CONNECT {server.address} HTTP/1.1")


def test_a_proxy_that_does_not_let_us_pass_is_named(rest_wire: Wire) -> None:
    with (
        Tunnel("407 Proxy Authentication Required") as proxy,
        rest_wire.client("models.test:8501", "m", tls=Tls(), proxy=proxy.address) as client,
        pytest.raises(ServerUnavailable, match=f"by the proxy {proxy.address}: 407 Proxy Auth"),
    ):
        client.status()


@pytest.mark.parametrize(
    "proxy", ["ftp://me:SECRET@proxy:1", "me:SECRET@proxy:1", "", 5, "http://"]
)
def test_a_proxy_of_another_kind_is_refused(rest_wire: Wire, proxy: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"proxy=.* is not a proxy; give http://host:port"
    ) as raised:
        rest_wire.client("localhost:1", "customers", proxy=proxy)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("addresses", [[], [1], None, 5, b"localhost:1"])
def test_a_list_without_addresses_is_refused(wire: Wire, addresses: Any) -> None:
    with pytest.raises(InvalidInput, match="is not an address"):
        wire.client(addresses, "customers")


def test_addresses_of_both_kinds_of_ip_take_turns(wire: Wire, server: FakeServer) -> None:
    with wire.client(["[::1]:1", server.address], "customers") as client:
        for _ in range(3):
            assert client.assign(POINTS).cluster_index.shape == (4,)


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


@pytest.mark.parametrize(
    "address",
    [
        b"http://u:hidden@h:1",
        ["http://u:hidden@h:1", 5],
        [["http://u:hidden@h:1"]],
        {"http://u:hidden@h:1": 5}.items(),
        "http://h/?token=hidden",
        "http://u:hidden@h:1/?token=hidden",
        "http://u:hid://hidden@h:99999",
        "h:1?token=hidden",
        "http://h/?token=hid@hidden",
    ],
)
def test_an_address_that_is_none_is_refused_without_what_is_secret_in_it(
    wire: Wire, address: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"is not an address|has no port") as raised:
        wire.client(address, "customers")
    assert "hid" not in str(raised.value)


@pytest.mark.parametrize("proxy", [b"http://u:hidden@h:1", "ftp://u:hidden@h:1/?token=hidden"])
def test_a_proxy_that_is_none_is_refused_without_its_password(rest_wire: Wire, proxy: Any) -> None:
    with pytest.raises(InvalidInput, match="is not a proxy") as raised:
        rest_wire.client("h:1", "customers", proxy=proxy)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("option", ["ca", "certificate", "key", "server_name"])
def test_a_path_for_tls_that_is_none_is_refused(option: str) -> None:
    others: dict[str, Any] = {"certificate": "me.pem", "key": "me.key", option: 5}
    with pytest.raises(InvalidInput, match=f"{option} has type int; give"):
        Tls(**others)
