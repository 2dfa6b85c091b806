"""The devices of this machine: their names, their memory, and how work is put on them.

TensorFlow puts work on a GPU by itself where it sees one. What is written for the CPU is therefore
put there by name: `on_cpu`.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Literal

from .device_names import short_name
from .errors import DeviceMemoryExhausted, NoSuchDevice
from .quiet_tensorflow import tf

Kind = Literal["CPU", "GPU"]

#: What TensorFlow says of a full GPU as an internal error: of a copy to it, and of a program.
_NO_MEMORY: Final = re.compile("Dst tensor is not initialized|out of memory", re.IGNORECASE)

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
    except tf.errors.InternalError as error:
        if not _NO_MEMORY.search(error.message):
            raise
        raise DeviceMemoryExhausted(name, held) from error


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU that is not hidden from it. It takes no memory to know."""
    return bool(tf.config.get_visible_devices("GPU"))


def devices_of(kind: Kind) -> tuple[str, ...]:
    """The names of all devices of a kind; there may be no GPU."""
    return tuple(short_name(each.name) for each in tf.config.list_logical_devices(kind))


def find_devices(asked: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the devices that are asked for, as `parse_device` gives them.

    Args:
        asked: ("cpu",) or ("gpu",), which are all of the kind, or names.

    Raises:
        NoSuchDevice: one is not there.
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
    """The kind of a device by its name."""
    return "GPU" if name.startswith("/GPU") else "CPU"


def memory_of(name: str) -> int | None:
    """The bytes of a GPU that may be used now; None of a CPU, whose memory the rows lie in."""
    if kind_of(name) == "CPU":
        return None
    used = tf.config.experimental.get_memory_info(name[1:])["current"]
    return max(int(_SHARE * memory_limits()[name]) - int(used), 0)


def memory_limits() -> dict[str, int]:
    """The bytes that TensorFlow may take on each device that it uses, by name.

    They are those of its running context. `device_lib.list_local_devices` makes devices anew, and
    knows neither hidden GPUs nor the logical ones that a GPU is cut into.
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
    """The rows of each of so many devices, from its first to before its last; none has no rows."""
    each = max(-(-(stop - start) // (parts * 512)), 1) * 512
    return [(first, min(first + each, stop)) for first in range(start, stop, each)]


def _absent(device: str) -> NoSuchDevice:
    return NoSuchDevice(device, ", ".join([*devices_of("CPU"), *devices_of("GPU")]))
