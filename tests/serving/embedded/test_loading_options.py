"""How often a load is tried, whether it is warmed up, and when the config is read anew."""

import logging
from pathlib import Path
from typing import Any

import pytest

from serving.embedded import EmbeddedServer, InvalidOptions, ModelLoadFailed
from serving.embedded.warmup import WARMUP_FILE
from tests.serving.embedded.tiny_models import eventually, predict, states, write_multiplier

pytestmark = pytest.mark.slow

_FAST = 0.05
_FAST_MICROS = 50_000


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of a model ``m`` whose version 1 multiplies by 1."""
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


def _events(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    records = caplog.records
    return [record.getMessage() for record in records if getattr(record, "event", "") == event]


def test_a_load_is_tried_again_as_often_as_asked(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serving.embedded")
    (base / "2").mkdir()
    with pytest.raises(ModelLoadFailed):
        EmbeddedServer(
            model_name="m",
            model_base_path=base,
            max_num_load_retries=2,
            load_retry_interval_micros=1000,
        ).start()
    failures = _events(caplog, "load_failed")
    assert len(failures) == 3
    assert all(line.startswith("load_failed model=m version=2 NOT_FOUND: ") for line in failures)
    assert [line.endswith("(tried again in 0.001 s)") for line in failures] == [True, True, False]


def test_a_version_that_is_mended_between_two_tries_serves(base: Path) -> None:
    with EmbeddedServer(
        model_name="m",
        model_base_path=base,
        file_system_poll_wait_seconds=_FAST,
        max_num_load_retries=1000,
        load_retry_interval_micros=_FAST_MICROS,
    ) as server:
        (base / "2").mkdir()
        eventually(lambda: states(server.rest_address, "m"), lambda s: 2 in s)
        # It is LOADING as long as it is tried, and the old one serves on.
        assert states(server.rest_address, "m") == {2: "LOADING", 1: "AVAILABLE"}
        assert predict(server.rest_address, "m") == 1
        (base / "2").rmdir()
        assert eventually(lambda: states(server.rest_address, "m"), lambda s: s[2] == "END") == {
            2: "END",
            1: "AVAILABLE",
        }
        write_multiplier(base, 2)
        assert eventually(lambda: predict(server.rest_address, "m"), lambda y: y == 2) == 2


def test_a_server_stops_while_a_load_is_to_be_tried_again(base: Path) -> None:
    with EmbeddedServer(
        model_name="m", model_base_path=base, file_system_poll_wait_seconds=_FAST
    ) as server:
        (base / "2").mkdir()
        eventually(lambda: states(server.rest_address, "m"), lambda s: 2 in s)
    assert server.rest_address is None


def test_without_warmup_a_failing_record_fails_no_load(base: Path) -> None:
    path = base / "1" / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no records")
    with EmbeddedServer(model_name="m", model_base_path=base, enable_model_warmup=False) as server:
        assert predict(server.rest_address, "m") == 1


def _write_config(path: Path, *models: Path) -> None:
    configs = "".join(
        f'config {{ name: "{base.name}" base_path: "{base}" model_platform: "tensorflow" }}'
        for base in models
    )
    aside = path.with_suffix(".new")
    aside.write_text(f"model_config_list {{ {configs} }}")
    aside.rename(path)


def test_a_new_config_file_is_read_and_a_bad_one_left(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "o"
    other.mkdir()
    write_multiplier(other, 7)
    config = tmp_path / "models.config"
    _write_config(config, base)
    with EmbeddedServer(
        model_config_file=config,
        model_config_file_poll_wait_seconds=_FAST,
        file_system_poll_wait_seconds=_FAST,
    ) as server:
        address = server.rest_address
        _write_config(config, base, other)
        assert eventually(lambda: predict(address, "o"), lambda y: y == 7) == 7
        config.write_text("no config")
        eventually(lambda: len(_events(caplog, "config_failed")), lambda n: n > 0)
        assert "Error parsing text-format" in _events(caplog, "config_failed")[0]
        assert (predict(address, "m"), predict(address, "o")) == (1, 7)
        _write_config(config, other)
        eventually(lambda: states(address, "m"), lambda s: s[1] == "END")
        assert predict(address, "m") == "Servable not found for request: Latest(m)"


def test_a_config_file_with_a_refused_label_is_taken_once_it_is_right(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = tmp_path / "o"
    other.mkdir()
    write_multiplier(other, 7)
    config = tmp_path / "models.config"
    _write_config(config, base, other)
    with EmbeddedServer(
        model_config_file=config,
        model_config_file_poll_wait_seconds=_FAST,
        file_system_poll_wait_seconds=_FAST,
    ) as server:
        address = server.rest_address
        config.write_text(
            f'model_config_list {{ config {{ name: "m" base_path: "{base}" '
            'model_platform: "tensorflow" version_labels { key: "z" value: 2 } } }'
        )
        eventually(lambda: _events(caplog, "config_failed"), bool)
        assert "not currently available" in _events(caplog, "config_failed")[0]
        assert (predict(address, "m"), predict(address, "o")) == (1, 7)
        write_multiplier(base, 2)
        assert eventually(lambda: predict(address, "m", "/labels/z"), lambda y: y == 2) == 2
        assert len(_events(caplog, "config_failed")) == 1


@pytest.mark.parametrize(
    "name",
    [
        "file_system_poll_wait_seconds",
        "model_config_file_poll_wait_seconds",
        "max_num_load_retries",
        "load_retry_interval_micros",
        "rest_api_timeout_in_ms",
    ],
)
def test_numbers_below_zero_are_refused_by_name(base: Path, name: str) -> None:
    options: dict[str, Any] = {name: -1}
    with pytest.raises(InvalidOptions, match=f"{name} -1"):
        EmbeddedServer(model_name="m", model_base_path=base, **options)


def test_a_poll_of_no_config_file_is_refused(base: Path) -> None:
    with pytest.raises(InvalidOptions, match="model_config_file"):
        EmbeddedServer(model_name="m", model_base_path=base, model_config_file_poll_wait_seconds=1)


def test_a_version_that_failed_and_was_mended_serves_at_the_next_start(base: Path) -> None:
    (base / "2").mkdir()
    server = EmbeddedServer(model_name="m", model_base_path=base, max_num_load_retries=0)
    with pytest.raises(ModelLoadFailed):
        server.start()
    (base / "2").rmdir()
    write_multiplier(base, 2)
    with server:
        assert predict(server.rest_address, "m") == 2
