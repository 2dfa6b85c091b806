"""What a server must hold for hours: whole with TFKMEANS_SOAK=1, a tenth otherwise."""

import gc
import http.client
import json
import os
import shutil
import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from serving.embedded import EmbeddedServer
from tests.serving.embedded.tiny_models import eventually, predict, states, write_multiplier

pytestmark = pytest.mark.slow

_IS_WHOLE = os.environ.get("TFKMEANS_SOAK") == "1"
_REQUESTS = 10_000 if _IS_WHOLE else 1_000
_CONNECTIONS = 32
_RELOADS = 50 if _IS_WHOLE else 5
_BODY = json.dumps({"instances": [1.0]})


def _ask_many(address: str, number: int, answered: list[float]) -> None:
    """Requests one after the other on a connection of their own; each must be answered."""
    connection = http.client.HTTPConnection(address, timeout=60)
    for _ in range(number):
        connection.request("POST", "/v1/models/m:predict", _BODY)
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, text
        answered.extend(json.loads(text)["predictions"])
    connection.close()


def _change_versions(base: Path, done: threading.Event, published: list[int]) -> None:
    """Publish a version after the other, and take away the oldest, until ``done``."""
    while not done.wait(0.05):
        version = published[-1] + 1
        write_multiplier(base, version)
        published.append(version)
        for old in published[:-2]:
            shutil.rmtree(base / str(old), ignore_errors=True)


def test_no_request_is_lost_or_half_answered_while_versions_change(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    published, answered, done = [1], [], threading.Event()
    answers: list[list[float]] = [[] for _ in range(_CONNECTIONS)]
    with EmbeddedServer(
        model_name="m", model_base_path=base, file_system_poll_wait_seconds=0.05
    ) as server:
        address = str(server.rest_address)
        with ThreadPoolExecutor(_CONNECTIONS + 1) as pool:
            changing = pool.submit(_change_versions, base, done, published)
            try:
                share = -(-_REQUESTS // _CONNECTIONS)
                asking = [pool.submit(_ask_many, address, share, got) for got in answers]
                for each in asking:
                    each.result()
            finally:
                done.set()
            changing.result()
    for got in answers:
        answered.extend(got)
        # A connection never sees an older version after a newer one.
        assert got == sorted(got)
    assert len(answered) >= _REQUESTS
    assert len(set(answered)) > 1, "no version changed meanwhile"
    assert set(answered) <= set(map(float, published))


def _has(wanted: dict[int, str], now: dict[int, str]) -> bool:
    return wanted.items() <= now.items()


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def test_memory_is_flat_over_reloads(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    template = write_multiplier(tmp_path, 1).rename(tmp_path / "template")
    shutil.copytree(template, base / "1")
    sizes = []
    with EmbeddedServer(
        model_name="m", model_base_path=base, file_system_poll_wait_seconds=0.02
    ) as server:
        address = server.rest_address
        for version in range(2, _RELOADS + 12):
            shutil.copytree(template, tmp_path / "next")
            (tmp_path / "next").rename(base / str(version))
            wanted = {version: "AVAILABLE", version - 1: "END"}
            now = eventually(lambda: states(address, "m"), partial(_has, wanted))
            assert _has(wanted, now)
            shutil.rmtree(base / str(version - 1))
            assert predict(address, "m") == 1
            sizes.append(_resident())
    # What the first loads fill is filled once; after them it must stay.
    settled = statistics.median(sizes[8:11])
    assert statistics.median(sizes[-3:]) <= 1.1 * settled
