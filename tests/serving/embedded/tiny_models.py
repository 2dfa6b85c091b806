"""Models that load in a moment, and what is asked of them over sockets."""

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tensorflow as tf

_DEADLINE = 20.0
_PAUSE = 0.02
T = TypeVar("T")


def write_multiplier(base: Path, version: int, factor: float | None = None) -> Path:
    """Write a version that multiplies by its own number (or ``factor``), and give its folder.

    The folder appears whole, as a publisher's does. ``y = factor * x``, both float32 [n].
    """
    by = tf.constant(float(version if factor is None else factor))
    function = tf.function(lambda x: {"y": x * by}, [tf.TensorSpec([None], tf.float32, "x")])
    aside = base / f".incoming-{version}"
    tf.saved_model.save(tf.Module(), str(aside), signatures={"serving_default": function})
    return aside.rename(base / str(version))


def write_gate(base: Path, version: int) -> Path:
    """Write a version whose answer waits until a file is there.

    Its signature writes the file named by ``started``, waits for the one named by ``gate``, and
    answers ``rounds`` [1]: how often it looked.
    """

    def wait(started: Any, gate: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.io.write_file(started[0], "running")]):
            first = tf.constant(0)
        (rounds,) = tf.while_loop(
            lambda _: tf.equal(tf.size(tf.io.matching_files(gate[0])), 0),
            lambda i: (i + 1,),
            (first,),
        )
        return {"rounds": tf.reshape(rounds, [1])}

    names = [tf.TensorSpec([1], tf.string, name) for name in ("started", "gate")]
    directory = base / str(version)
    signatures = {"serving_default": tf.function(wait, names)}
    tf.saved_model.save(tf.Module(), str(directory), signatures=signatures)
    return directory


def ask(
    address: str | None,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """An HTTP request, its body as JSON unless it is bytes; the status and the text answered."""
    assert address is not None
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(address, timeout=_DEADLINE)
    try:
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def predict(address: str | None, model: str, place: str = "", x: float = 1.0) -> Any:
    """What the multiplier answers for one number; the error's text when it is one."""
    status, text = ask(address, "POST", f"/v1/models/{model}{place}:predict", {"instances": [x]})
    answer = json.loads(text)
    return answer["predictions"][0] if status == http.HTTPStatus.OK else answer["error"]


def states(address: str | None, model: str) -> dict[int, str]:
    """The states of a model's versions as REST tells them."""
    _, text = ask(address, "GET", f"/v1/models/{model}")
    listed = json.loads(text).get("model_version_status", [])
    return {int(version["version"]): version["state"] for version in listed}


def eventually(get: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    """Ask again until the answer is the wanted one; after the deadline the last answer."""
    end = time.monotonic() + _DEADLINE
    while not wanted(value := get()) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return value
