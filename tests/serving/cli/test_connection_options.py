"""Every command with ``--server`` reaches the same servers: by TLS, headers and another name."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trustme
from typer.main import get_command

from export import validation
from serving.cli import main
from serving.cli.application import app
from serving.embedded import EmbeddedServer
from tests.published_models import publish_unvalidated
from tests.serving.fake_servers import FakeGrpcServer

pytestmark = pytest.mark.slow

OPTIONS = [
    *("--name", "--header", "--timeout"),
    *("--tls", "--tls-ca", "--tls-certificate", "--tls-key", "--tls-server-name"),
]


@dataclass(frozen=True)
class Encrypted:
    """A model that is served by TLS under another name than its folder's, and how it is reached."""

    base: Path
    rows: Path
    options: list[str]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """A server that shows the certificate of another host and asks for the client's own."""
    folder = tmp_path_factory.mktemp("encrypted")
    points, _ = publish_unvalidated(folder, "people", ("height", "weight"), rows=90, versions=3)
    rows = folder / "rows.csv"
    np.savetxt(rows, points, delimiter=",", header="height,weight", comments="")
    config = folder / "models" / "models.config"
    config.write_text(config.read_text().replace('name: "people"', 'name: "clients"'))
    authority = trustme.CA()
    issued, own = authority.issue_cert("models.example"), authority.issue_cert("us")
    texts = [b"".join(each.bytes() for each in issued.cert_chain_pems).decode()]
    texts += [issued.private_key_pem.bytes().decode(), authority.cert_pem.bytes().decode()]
    certificate, key, ca = map(json.dumps, texts)
    (folder / "ssl.config").write_text(
        f"server_cert: {certificate}\nserver_key: {key}\ncustom_ca: {ca}\nclient_verify: true\n"
    )
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    own.cert_chain_pems[0].write_to_path(str(folder / "own.pem"))
    own.private_key_pem.write_to_path(str(folder / "own.key"))
    with EmbeddedServer(
        model_config_file=config,
        rest_api_port=0,
        allow_version_labels_for_unavailable_models=True,
        ssl_config_file=folder / "ssl.config",
    ) as server:
        assert server.grpc_address is not None
        yield Encrypted(
            folder / "models" / "people",
            rows,
            [
                *("--server", server.grpc_address, "--timeout", "30"),
                *("--tls-ca", str(folder / "ca.pem"), "--tls-server-name", "models.example"),
                *("--tls-certificate", str(folder / "own.pem")),
                *("--tls-key", str(folder / "own.key")),
            ],
        )


def test_every_command_that_takes_a_server_takes_all_options_of_a_connection() -> None:
    with_server = {}
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        options = [option for each in command.params for option in each.opts]
        if "--server" in options:
            with_server[name] = [option for option in OPTIONS if option not in options]
    assert set(with_server) == {
        *("train", "promote", "canary", "rollback", "versions", "verify"),
        *("assign", "batch-score", "probe", "monitor", "metadata"),
    }
    assert not any(with_server.values()), with_server


def test_every_command_reaches_a_server_by_tls_and_under_the_name_of_its_entry(
    encrypted: Encrypted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Nothing listens there: whoever obeys it reaches nobody.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(validation, "validate", lambda *_arguments, **_keywords: None)
    base, rows = str(encrypted.base), str(encrypted.rows)
    for command in (
        ["promote", base, "2"],
        ["canary", base, "3"],
        ["versions", base],
        ["verify", base],
        ["rollback", base],
        ["assign", rows, "--model", base],
        ["batch-score", rows, str(tmp_path / "out"), "--model", base],
        ["monitor", rows, "--model", base],
        ["probe", "--model", base],
        ["metadata", "--model", base],
    ):
        assert main([*command, *encrypted.options]) == 0, (command, capsys.readouterr().err)
    text = (encrypted.base.parent / "models.config").read_text()
    assert text.count("config {") == 1
    assert 'name: "clients"' in text


def test_train_promotes_on_a_server_by_tls(
    encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from export import publishing

    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    trained = ["train", str(encrypted.rows), "--clusters", "3", "--model", str(encrypted.base)]
    assert main([*trained, "--promote", *encrypted.options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert f"move label stable to version {said['version']}" in said["server"]


@pytest.mark.parametrize(
    "command",
    [["promote", "{base}", "1"], ["versions", "{base}"], ["verify", "{base}"]],
)
def test_without_tls_the_server_is_not_reached_in_one_line(
    encrypted: Encrypted, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    address = encrypted.options[1]
    asked = [each.format(base=encrypted.base) for each in command]
    assert main([*asked, "--server", address, "--timeout", "5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert address in line


def test_a_header_and_another_name_reach_the_server(
    encrypted: Encrypted, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeGrpcServer() as server:
        server.model.states = {1: "AVAILABLE"}
        given = ["--server", server.address, "--name", "customers"]
        header = ["--header", "authorization: Bearer x"]
        assert main(["versions", str(encrypted.base), *given, *header]) == 0
        assert server.sent_headers[-1]["authorization"] == "Bearer x"
    assert "AVAILABLE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["versions", "{base}", "--tls"], "--tls: requires --server"),
        (["promote", "{base}", "1", "--tls-ca", "ca.pem"], "--tls-ca: requires --server"),
        (
            ["assign", "{rows}", "--model", "{base}", "--header", "a:b"],
            "--header: requires --server",
        ),
        (["promote", "{base}", "1", "--server", "a:1,b:2"], "a move accepts only one server"),
        (["promote", "{base}", "1", "--name", "others"], "is served as clients, not as"),
        (
            ["train", "{rows}", "--clusters", "2", "--candidate", "c", "--name", "people"],
            "--name people: a candidate has no served name yet",
        ),
        (
            ["verify", "{base}", "--server", "a:1", "--tls-key", "k"],
            "--tls-key k: add --tls-certificate FILE",
        ),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_line(
    encrypted: Encrypted, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    given = [each.format(base=encrypted.base, rows=encrypted.rows) for each in arguments]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
