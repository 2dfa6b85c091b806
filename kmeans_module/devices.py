"""The devices of this machine: their names, their memory, and how work is put on them.

TensorFlow puts work on a GPU by itself where it sees one. What is written for the CPU is therefore
put there by name: `on_cpu`.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal

import tensorflow as tf

from .errors import DeviceMemoryExhausted, InvalidParameter, NoSuchDevice

Kind = Literal["CPU", "GPU"]

#: A name of TensorFlow's, as in "/GPU:1" or "/device:gpu:1".
_NAME: Final = re.compile(r"/?(?:device:)?(CPU|GPU):(\d+)", re.IGNORECASE)

#: Of a GPU's memory this share is used: TensorFlow holds some of its own, and so do libraries.
_SHARE: Final = 0.9


def on_cpu() -> AbstractContextManager[Any]:
    """A block whose work TensorFlow does on the CPU, in this thread."""
    scope: AbstractContextManager[Any] = tf.device("/CPU:0")
    return scope


@contextmanager
def on_device(name: str, held: str) -> Iterator[None]:
    """A block whose work TensorFlow does on this device, in this thread.

    Args:
        name: of the device.
        held: what the device was to hold, for the error.

    Raises:
        DeviceMemoryExhausted: the device has no memory left.
    """
    try:
        with tf.device(name):
            yield
    except tf.errors.ResourceExhaustedError as error:
        raise DeviceMemoryExhausted(name, held) from error


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU. It takes none of its memory to know."""
    return bool(tf.config.list_physical_devices("GPU"))


def devices_of(kind: Kind) -> tuple[str, ...]:
    """The names of all devices of a kind; there may be no GPU."""
    return tuple(map(_short_name, tf.config.list_logical_devices(kind)))


def find_devices(device: str) -> tuple[str, ...]:
    """The names of the devices that are asked for.

    Args:
        device: "cpu" or "gpu", which are all of the kind, or names of TensorFlow's with commas
            between them.

    Raises:
        NoSuchDevice: one is not there.
        InvalidParameter: it is no name of a device.
    """
    if device in ("cpu", "gpu"):
        found = devices_of("GPU" if device == "gpu" else "CPU")
        if not found:
            raise _absent(device)
        return found
    names = [_NAME.fullmatch(each.strip()) for each in device.split(",")]
    if not all(names):
        raise InvalidParameter(
            f"device is {device!r}; give 'auto', 'cpu', 'gpu', or a name, as '/GPU:1'"
        )
    asked = tuple(f"/{match[1].upper()}:{int(match[2])}" for match in names if match)
    if len(set(asked)) < len(asked):
        raise InvalidParameter(f"device is {device!r}, which names one twice; name each once")
    there = {*devices_of("CPU"), *devices_of("GPU")}
    for name in asked:
        if name not in there:
            raise _absent(name)
    return asked


def kind_of(name: str) -> Kind:
    """The kind of a device by its name."""
    return "GPU" if name.startswith("/GPU") else "CPU"


def memory_of(name: str) -> int | None:
    """The bytes of a GPU that may be used now; None of a CPU, whose memory the rows lie in."""
    if kind_of(name) == "CPU":
        return None
    from tensorflow.python.client import device_lib

    limits = {_short_name(each): each.memory_limit for each in device_lib.list_local_devices()}
    used = tf.config.experimental.get_memory_info(name[1:])["current"]
    return max(int(_SHARE * limits[name]) - int(used), 0)


def cut_rows(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    """The rows of each of so many devices, from its first to before its last; none has no rows."""
    each = max(-(-(stop - start) // (parts * 512)), 1) * 512
    return [(first, min(first + each, stop)) for first in range(start, stop, each)]


def _short_name(device: Any) -> str:
    """ "/GPU:0" for "/device:GPU:0"."""
    match = _NAME.search(device.name)
    return device.name if match is None else f"/{match[1].upper()}:{int(match[2])}"


def _absent(device: str) -> NoSuchDevice:
    return NoSuchDevice(device, ", ".join([*devices_of("CPU"), *devices_of("GPU")]))
