"""The devices of this machine: names, memory and placement of work.

TensorFlow places work on a GPU by default if there is one. Code for the CPU is therefore placed
explicitly, by `on_cpu`.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal

from .device_names import short_name
from .errors import DeviceMemoryExhausted, NoSuchDevice
from .quiet_tensorflow import tf

Kind = Literal["CPU", "GPU"]

#: Messages of internal errors of TensorFlow when a GPU is full: of a copy, and of a program.
_NO_MEMORY: Final = re.compile("Dst tensor is not initialized|out of memory", re.IGNORECASE)

#: The used share of the memory of a GPU; TensorFlow and libraries need the rest.
_SHARE: Final = 0.9


def on_cpu() -> AbstractContextManager[Any]:
    """Return a context in which TensorFlow works on the CPU, in this thread."""
    scope: AbstractContextManager[Any] = tf.device("/CPU:0")
    return scope


@contextmanager
def on_device(name: str, held: str) -> Iterator[None]:
    """Return a context in which TensorFlow works on this device, in this thread.

    Args:
        name: the name of the device.
        held: the data for the device, for the error.

    Raises:
        DeviceMemoryExhausted: the device does not have enough memory.
    """
    try:
        with tf.device(name):
            yield
    except tf.errors.ResourceExhaustedError as error:
        raise DeviceMemoryExhausted(name, held) from error
    except tf.errors.InternalError as error:
        if not _NO_MEMORY.search(error.message):
            raise
        raise DeviceMemoryExhausted(name, held) from error


def has_gpu() -> bool:
    """Whether TensorFlow has a visible GPU. The check uses no GPU memory."""
    return bool(tf.config.get_visible_devices("GPU"))


def devices_of(kind: Kind) -> tuple[str, ...]:
    """Return the names of all devices of a kind; empty without a GPU."""
    return tuple(short_name(each.name) for each in tf.config.list_logical_devices(kind))


def find_devices(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the requested devices.

    Args:
        asked: the result of `parse_device`: ("cpu",) or ("gpu",) for all of a kind, or names.

    Raises:
        NoSuchDevice: a device does not exist.
    """
    if asked in (("cpu",), ("gpu",)):
        found = devices_of("GPU" if asked == ("gpu",) else "CPU")
        if not found:
            raise _absent(asked[0])
        return found
    there = {*devices_of("CPU"), *devices_of("GPU")}
    for name in asked:
        if name not in there:
            raise _absent(name)
    return asked


def kind_of(name: str) -> Kind:
    """Return the kind of a device by its name."""
    return "GPU" if name.startswith("/GPU") else "CPU"


def memory_of(name: str) -> int | None:
    """Return the usable bytes of a GPU; None for a CPU, whose memory already has the rows."""
    if kind_of(name) == "CPU":
        return None
    used = tf.config.experimental.get_memory_info(name[1:])["current"]
    return max(int(_SHARE * memory_limits()[name]) - int(used), 0)


def memory_limits() -> dict[str, int]:
    """Return the memory limit of TensorFlow in bytes on each of its devices, by name.

    The limits are those of its running context. `device_lib.list_local_devices` creates devices
    again, and ignores hidden and logical GPUs.
    """
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.eager.context import context

    context().ensure_initialized()
    found = pywrap_tfe.TFE_ContextListDevices(context()._handle)
    return {
        short_name(pywrap_tf_session.TF_DeviceListName(found, i)): int(
            pywrap_tf_session.TF_DeviceListMemoryBytes(found, i)
        )
        for i in range(pywrap_tf_session.TF_DeviceListCount(found))
    }


def cut_rows(start: int, stop: int, parts: int) -> list[tuple[int, int]]:
    """Split rows into one range (start, stop) per device; no range is empty."""
    each = max(-(-(stop - start) // (parts * 512)), 1) * 512
    return [(first, min(first + each, stop)) for first in range(start, stop, each)]


def _absent(device: str) -> NoSuchDevice:
    return NoSuchDevice(device, ", ".join([*devices_of("CPU"), *devices_of("GPU")]))
