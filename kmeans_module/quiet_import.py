"""Import TensorFlow without its informational messages on stderr.

Some of them (there is no GPU, oneDNN is on) are written before TensorFlow reads its log level, so
only redirecting the file descriptor hides them. This module itself does not import TensorFlow.
"""

import gc
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

#: TensorFlow's variable for its log level; 0 and 1 show its messages.
LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"

_STDERR: Final = 2

#: Optional imports of TensorFlow: the optimizers of Keras (half of the time of the import), for
#: SavedModels that contain one; and two libraries for a former Keras. ``tf.keras`` is loaded at its
#: first use.
_LEFT_OUT: Final = ("keras.src.optimizers", "h5py", "scipy")

#: Informational messages in the two formats of TensorFlow's log: levels I and W, and two harmless
#: errors: there is no GPU driver (303), and a library was registered twice.
_NEWS: Final = re.compile(
    rb"WARNING: All log messages before absl"
    rb"|To enable the following instructions:"
    rb"|[IW]\d{4} [\d:. ]+\S+\.cc:\d+\]"
    rb"|\d{4}-\d\d-\d\d [\d:.]+: [IW] "
    rb"|.*failed call to cuInit: .*303"
    rb"|.*Unable to register cu\w+ (factory|plugin)"
)


@contextmanager
def program_start() -> Iterator[None]:
    """Import TensorFlow in this context for our own programs, in little more than half of the time.

    The import omits modules that our programs do not use. Later garbage collections skip all
    objects that exist at the end of the context, even when the program ends.
    """
    modules: dict[str, Any] = sys.modules
    if "tensorflow" in modules:
        yield
        return
    left_out = [name for name in _LEFT_OUT if name not in modules]
    modules.update(dict.fromkeys(left_out))
    with _without_collection():
        try:
            yield
        finally:
            for name in left_out:
                del modules[name]
        gc.freeze()


@contextmanager
def _without_collection() -> Iterator[None]:
    """Turn off garbage collection in this context: an import makes many objects, but little
    garbage.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hide the informational messages of a TensorFlow import in this context from stderr.

    Other text is written after the context. If it raises anything but KeyboardInterrupt, all text
    is written. The environment
    variable ``TF_CPP_MIN_LOG_LEVEL`` is set to 2 if it is not set.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    with _without_collection():
        if os.environ.get(LOG_LEVEL) in ("0", "1"):
            yield
        else:
            with _held_news():
                yield


@contextmanager
def _held_news() -> Iterator[None]:
    """`quiet_start` if TensorFlow is not imported yet, and its messages are not requested."""
    os.environ.setdefault(LOG_LEVEL, "2")
    is_level_set = logging.getLogger("tensorflow").level != logging.NOTSET
    opened = _open_stand_in()
    if opened is None:
        yield
        _settle(is_level_set=is_level_set)
        return
    stderr, kept = opened
    is_whole = False
    with kept:
        try:
            os.dup2(kept.fileno(), _STDERR)
            yield
            _settle(is_level_set=is_level_set)
            is_whole = True
        except KeyboardInterrupt:
            is_whole = True  # the user has seen no fault
            raise
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            kept.seek(0)
            lines = kept.readlines()
            shown = [line for line in lines if not (is_whole and _NEWS.match(line))]
            if shown:
                os.write(_STDERR, b"".join(shown))


def _settle(*, is_level_set: bool) -> None:
    """If TensorFlow was imported, let it find its devices, and set its usual log level.

    In a notebook TensorFlow sets its log level to INFO, and logs each saved model.
    """
    if tf := sys.modules.get("tensorflow"):
        tf.config.list_physical_devices()
        if not is_level_set and tf.get_logger().level == logging.INFO:
            tf.get_logger().setLevel(logging.WARNING)


def _open_stand_in() -> tuple[int, IO[bytes]] | None:
    """Return a copy of stderr, and a temporary file to replace it.

    None if stderr is closed, or no temporary file can be created; then no message is hidden.
    """
    try:
        stderr = os.dup(_STDERR)
    except OSError:
        return None
    try:
        return stderr, tempfile.TemporaryFile()
    except OSError:
        os.close(stderr)
        return None


def quietly(find: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package whose names are imported at their first use."""

    def find_quietly(name: str) -> Any:
        with quiet_start():
            return find(name)

    return find_quietly
