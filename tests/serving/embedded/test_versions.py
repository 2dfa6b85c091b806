"""Versions come and go over a running server: policies, labels, failures, draining."""

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from serving.embedded import EmbeddedServer
from tests.serving.embedded.tiny_models import (
    ask,
    eventually,
    predict,
    states,
    write_gate,
    write_multiplier,
)

pytestmark = pytest.mark.slow

_FAST = 0.05


@contextmanager
def _served(base: Path) -> Iterator[str]:
    with EmbeddedServer(
        model_name="m",
        model_base_path=base,
        file_system_poll_wait_seconds=_FAST,
        max_num_load_retries=0,
    ) as server:
        assert server.rest_address is not None
        yield server.rest_address


def _config(base: Path, inner: str) -> Path:
    path = base.parent / "models.config"
    path.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" '
        f'model_platform: "tensorflow" {inner} }} }}'
    )
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of a model ``m`` whose version 1 multiplies by 1."""
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


def test_a_new_version_is_picked_up_and_the_old_one_unloaded(base: Path) -> None:
    with _served(base) as address:
        assert predict(address, "m", x=10) == 10
        write_multiplier(base, 2)
        assert eventually(lambda: predict(address, "m", x=10), lambda y: y == 20) == 20
        assert eventually(lambda: states(address, "m"), lambda s: s[1] == "END") == {
            2: "AVAILABLE",
            1: "END",
        }
        assert "Specific(m, 1)" in predict(address, "m", "/versions/1")


def test_the_old_version_answers_until_the_new_one_does(base: Path) -> None:
    with _served(base) as address:
        writer = threading.Thread(target=write_multiplier, args=(base, 2))
        writer.start()
        answers: list[Any] = []
        while not answers or answers[-1] != 2:
            answers.append(predict(address, "m"))
            assert len(answers) < 100_000, "version 2 never served"
        writer.join()
        assert set(answers) <= {1, 2}


def test_the_old_version_comes_back_when_the_new_one_is_removed(base: Path) -> None:
    write_multiplier(base, 2)
    with _served(base) as address:
        assert states(address, "m") == {2: "AVAILABLE"}
        shutil.rmtree(base / "2")
        assert eventually(lambda: predict(address, "m"), lambda y: y == 1) == 1
        assert eventually(lambda: states(address, "m"), lambda s: s[2] == "END")[2] == "END"


def test_a_model_without_versions_is_unloaded(base: Path) -> None:
    with _served(base) as address:
        (base / "1").rename(base / ".gone-1")
        assert eventually(lambda: states(address, "m"), lambda s: s[1] == "END") == {1: "END"}
        assert predict(address, "m") == "Servable not found for request: Latest(m)"


def test_a_base_path_that_is_away_unloads_nothing(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "serving.embedded")
    with _served(base) as address:
        base.rename(base.parent / "away")
        eventually(lambda: len(caplog.records), lambda n: n > 0)
        assert predict(address, "m") == 1
        (base.parent / "away").rename(base)
    assert [getattr(record, "event", None) for record in caplog.records] == ["poll_failed"]


def test_only_names_that_are_numbers_are_versions(base: Path) -> None:
    for name in (".incoming-7", "7.partial", "v8", "-9", "1e3"):
        shutil.copytree(base / "1", base / name)
    shutil.copytree(base / "1", base / "0003")
    with _served(base) as address:
        assert states(address, "m") == {3: "AVAILABLE"}


def test_a_version_that_does_not_load_ends_with_its_error_and_the_old_one_serves_on(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serving.embedded")
    with _served(base) as address:
        (base / "2").mkdir()
        assert eventually(lambda: states(address, "m"), lambda s: s.get(2) == "END") == {
            2: "END",
            1: "AVAILABLE",
        }
        assert predict(address, "m") == 1
        _, text = ask(address, "GET", "/v1/models/m/versions/2")
        status = json.loads(text)["model_version_status"][0]["status"]
        assert status["error_code"] == "NOT_FOUND"
        assert str(base / "2") in status["error_message"]
        # Mended and published as the next version, it serves.
        write_multiplier(base, 3)
        assert eventually(lambda: predict(address, "m"), lambda y: y == 3) == 3
    failed = [r for r in caplog.records if getattr(r, "event", "") == "load_failed"]
    assert len(failed) == 1
    assert failed[0].getMessage().startswith("load_failed model=m version=2 NOT_FOUND: ")


def test_every_load_and_unload_is_one_line_of_the_log(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serving.embedded")
    with _served(base):
        pass
    events = [(getattr(r, "event", ""), getattr(r, "version", 0)) for r in caplog.records]
    assert events == [("loaded", 1), ("unloaded", 1)]
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_policy_latest_n_serves_the_n_highest(base: Path) -> None:
    for version in (2, 3):
        write_multiplier(base, version)
    config = _config(base, "model_version_policy { latest { num_versions: 2 } }")
    with EmbeddedServer(model_config_file=config) as server:
        assert states(server.rest_address, "m") == {3: "AVAILABLE", 2: "AVAILABLE"}
        assert predict(server.rest_address, "m") == 3


def test_policy_all_serves_all_and_by_number(base: Path) -> None:
    write_multiplier(base, 4)
    config = _config(base, "model_version_policy { all {} }")
    with EmbeddedServer(model_config_file=config) as server:
        assert predict(server.rest_address, "m", "/versions/1") == 1
        assert predict(server.rest_address, "m", "/versions/4") == 4


_TWO_AND_LABELS = """
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }
"""


def test_policy_specific_serves_those_and_labels_name_them(base: Path) -> None:
    for version in (2, 3):
        write_multiplier(base, version)
    with EmbeddedServer(
        model_config_file=_config(base, _TWO_AND_LABELS),
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        assert states(server.rest_address, "m") == {2: "AVAILABLE", 1: "AVAILABLE"}
        assert predict(server.rest_address, "m", "/labels/stable") == 1
        assert predict(server.rest_address, "m", "/labels/canary") == 2
        assert predict(server.rest_address, "m", "/labels/old") == (
            "Unrecognized servable version label: old"
        )


def _reload(address: str | None, models: str) -> Any:
    assert address is not None
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(f"config {{ model_config_list {{ {models} }} }}", request)
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            return stub.HandleReloadConfigRequest(request, timeout=20)
        except grpc.RpcError as error:
            return error


def test_a_reload_replaces_the_config_and_waits_for_new_models(base: Path) -> None:
    other = base.parent / "other"
    other.mkdir()
    write_multiplier(other, 7)
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        answer = _reload(
            server.grpc_address,
            f'config {{ name: "o" base_path: "{other}" model_platform: "tensorflow" }}',
        )
        assert answer.status.error_code == 0
        assert predict(server.rest_address, "o") == 7
        assert predict(server.rest_address, "m") == "Servable not found for request: Latest(m)"
        assert states(server.rest_address, "m") == {1: "END"}


def test_a_served_model_keeps_its_platform(base: Path) -> None:
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        for platform, said in (
            ("other", "platform was tensorflow and new platform requested is other"),
            ("", "Illegal setting neither ModelServerConfig::model_type (deprecated)"),
        ):
            model = f'name: "m" base_path: "{base}" model_platform: "{platform}"'
            error = _reload(server.grpc_address, f"config {{ {model} }}")
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert said in error.details()


def test_a_config_with_a_refused_label_changes_nothing(base: Path) -> None:
    """Neither at once nor at the next polls: the config before stays."""
    write_multiplier(base, 5)
    other = base.parent / "n"
    other.mkdir()
    write_multiplier(other, 7)
    model = f'name: "m" base_path: "{base}" model_platform: "tensorflow"'
    both = (
        f'config {{ {model} }} config {{ name: "n" base_path: "{other}" model_type: TENSORFLOW }}'
    )
    refused = (
        f'config {{ {model} version_labels {{ key: "z" value: 77 }} }}',
        f'config {{ {model} version_labels {{ key: "z" value: 1 }} '
        "model_version_policy { specific { versions: 1 } } }",
    )
    config = base.parent / "models.config"
    config.write_text(f"model_config_list {{ {both} }}")
    with EmbeddedServer(model_config_file=config, file_system_poll_wait_seconds=_FAST) as server:
        for models in refused:
            error = _reload(server.grpc_address, models)
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        # A version that appears is loaded by a poll, which has followed a config by then.
        write_multiplier(other, 8)
        assert eventually(lambda: predict(server.rest_address, "n"), lambda y: y == 8) == 8
        assert states(server.rest_address, "m") == {5: "AVAILABLE"}


def test_a_label_of_a_version_that_went_is_set_again_only_if_allowed(base: Path) -> None:
    model = f'name: "m" base_path: "{base}" model_platform: "tensorflow"'
    labelled = f'config {{ {model} version_labels {{ key: "z" value: 1 }} }}'
    for is_allowed in (False, True):
        with EmbeddedServer(
            model_name="m",
            model_base_path=base,
            file_system_poll_wait_seconds=_FAST,
            allow_version_labels_for_unavailable_models=is_allowed,
        ) as server:
            assert _reload(server.grpc_address, labelled).status.error_code == 0
            write_multiplier(base, 2)
            eventually(lambda: states(server.rest_address, "m"), lambda s: s[1] == "END")
            answer = _reload(server.grpc_address, labelled)
            assert isinstance(answer, grpc.RpcError) != is_allowed
        shutil.rmtree(base / "2")


def test_a_label_moves_only_to_a_version_that_serves(base: Path) -> None:
    write_multiplier(base, 2)
    model = f'name: "m" base_path: "{base}" model_platform: "tensorflow"'
    both = "model_version_policy { specific { versions: 1 versions: 2 } }"
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        address = server.grpc_address
        error = _reload(
            address, f'config {{ {model} {both} version_labels {{ key: "stable" value: 1 }} }}'
        )
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.details() == (
            "Request to assign label to version 1 of model m, which is not currently available "
            "for inference"
        )
        assert _reload(address, f"config {{ {model} {both} }}").status.error_code == 0
        assert (
            eventually(lambda: states(server.rest_address, "m"), lambda s: len(s) == 2)[1]
            == "AVAILABLE"
        )
        _reload(address, f'config {{ {model} {both} version_labels {{ key: "stable" value: 1 }} }}')
        assert predict(server.rest_address, "m", "/labels/stable") == 1


def test_a_request_in_flight_is_answered_though_its_version_has_gone(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    answers = []
    with _served(base) as address:
        body = {"instances": [{"started": str(started), "gate": str(gate)}]}
        thread = threading.Thread(
            target=lambda: answers.append(ask(address, "POST", "/v1/models/m:predict", body))
        )
        thread.start()
        assert eventually(started.exists, bool)
        shutil.copytree(base / "1", tmp_path / "2")
        (tmp_path / "2").rename(base / "2")
        assert eventually(lambda: states(address, "m"), lambda s: s[1] == "UNLOADING") == {
            2: "AVAILABLE",
            1: "UNLOADING",
        }
        gate.touch()
        thread.join()
        assert eventually(lambda: states(address, "m"), lambda s: s[1] == "END")[1] == "END"
    assert [status for status, _ in answers] == [200]


def test_stop_answers_what_was_accepted(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    address, answers = server.rest_address, []
    body = {"instances": [{"started": str(started), "gate": str(gate)}]}
    client = threading.Thread(
        target=lambda: answers.append(ask(address, "POST", "/v1/models/m:predict", body))
    )
    client.start()
    assert eventually(started.exists, bool)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert eventually(lambda: _refuses(address), bool), "the port stays open while it stops"
    gate.touch()
    client.join()
    stopper.join()
    assert [status for status, _ in answers] == [200]


def _refuses(address: str | None) -> bool:
    try:
        ask(address, "GET", "/v1/models/m")
    except OSError:
        return True
    return False
