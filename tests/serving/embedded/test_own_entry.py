"""A server of one model follows its entry in a config file, from its own folder, and no other."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.embedded import EmbeddedServer, InvalidModelConfig, InvalidOptions
from tests.serving.embedded.tiny_models import ask, eventually, predict, write_multiplier

pytestmark = pytest.mark.slow

ELSEWHERE = "/no/such/folder"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of a model ``m`` with the versions 1 to 3, each of which multiplies by it."""
    base = tmp_path / "m"
    base.mkdir()
    for version in (1, 2, 3):
        write_multiplier(base, version)
    return base


def entry(versions: str, name: str = "m", **labels: int) -> str:
    listed = " ".join(f"versions: {each}" for each in versions)
    marks = " ".join(f'version_labels {{ key: "{a}" value: {b} }}' for a, b in labels.items())
    return (
        f'config {{ name: "{name}" base_path: "{ELSEWHERE}" model_platform: "tensorflow" '
        f"model_version_policy {{ specific {{ {listed} }} }} {marks} }}"
    )


def write(base: Path, *entries: str) -> Path:
    """Replace the config whole, as a move of labels does."""
    path = base.parent / "models.config"
    aside = path.with_suffix(".new")
    aside.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return aside.rename(path)


@contextmanager
def served(base: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(
        model_name="m",
        model_base_path=base,
        entry_config_file=base.parent / "models.config",
        file_system_poll_wait_seconds=0.05,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        yield server


def reload(server: EmbeddedServer, *entries: str) -> model_management_pb2.ReloadConfigResponse:
    assert server.grpc_address is not None
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(f"model_config_list {{ {' '.join(entries)} }}", request.config)
    with grpc.insecure_channel(server.grpc_address) as channel:
        return model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request)


def available(server: EmbeddedServer) -> list[int]:
    _, text = ask(server.rest_address, "GET", "/v1/models/m")
    states = json.loads(text)["model_version_status"]
    return sorted(int(each["version"]) for each in states if each["state"] == "AVAILABLE")


def test_the_entry_says_versions_and_labels_and_the_folder_is_the_servers_own(base: Path) -> None:
    write(base, entry("12", stable=1, canary=2), entry("1", name="other"))
    with served(base) as server:
        assert available(server) == [1, 2]
        assert predict(server.rest_address, "m", "/labels/stable") == 1
        assert predict(server.rest_address, "m", "/labels/canary") == 2
        assert ask(server.rest_address, "GET", "/v1/models/other")[0] == 404


def test_without_a_file_the_latest_is_served_until_there_is_an_entry(base: Path) -> None:
    with served(base) as server:
        assert available(server) == [3]
        write(base, entry("1", name="other"))
        write(base, entry("1", name="other"), entry("1", stable=1))
        assert eventually(lambda: available(server), lambda there: there == [1])
        assert predict(server.rest_address, "m", "/labels/stable") == 1


def test_a_label_that_jumps_to_a_version_that_is_not_loaded_is_followed(base: Path) -> None:
    write(base, entry("1", stable=1))
    with served(base) as server:
        write(base, entry("2", stable=2))  # both steps of a move at once
        assert eventually(lambda: available(server), lambda there: there == [2])
        assert predict(server.rest_address, "m", "/labels/stable") == 2


@pytest.mark.parametrize("text", [None, "model_config_list { config {", "model_config_list {}"])
def test_a_file_that_goes_bad_or_away_changes_nothing_and_is_logged_once(
    base: Path, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(base, entry("1", stable=1))
    caplog.set_level(logging.INFO, "serving.embedded")

    def failures() -> list[str]:
        found = [each for each in caplog.records if getattr(each, "event", "") == "config_failed"]
        return [each.getMessage() for each in found]

    with served(base) as server:
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        assert eventually(failures, bool)
        assert str(path) in failures()[0]
        assert predict(server.rest_address, "m", "/labels/stable") == 1
        write(base, entry("2", stable=2))
        assert eventually(lambda: available(server), lambda there: there == [2])
    assert len(failures()) == 1


def test_of_a_reload_the_own_entry_is_taken_and_others_are_logged(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(base, entry("1", stable=1))
    caplog.set_level(logging.INFO, "serving.embedded")
    with served(base) as server:
        reload(server, entry("1", name="other"), entry("12", stable=1))
        assert available(server) == [1, 2]
        with pytest.raises(grpc.RpcError) as refused:
            reload(server, entry("1", name="other"))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no entry of model m, the only one of this server" in str(refused.value.details())
        assert available(server) == [1, 2]
    ignored = [each for each in caplog.records if getattr(each, "event", "") == "entry_ignored"]
    assert [each.getMessage() for each in ignored] == [
        "entry_ignored model=other this server serves m alone"
    ]


def test_a_file_that_cannot_be_read_at_the_start_is_one_line(base: Path) -> None:
    path = base.parent / "models.config"
    path.write_text("model_config_list { config {")
    with pytest.raises(InvalidModelConfig, match=str(path)), served(base):
        pass
    with pytest.raises(InvalidOptions, match="needs model_name and model_base_path"):
        EmbeddedServer(model_config_file=path, entry_config_file=path)
