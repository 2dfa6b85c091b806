"""Import TensorFlow without its news of the machine on stderr.

Some of it (that there is no GPU, that oneDNN is on) is written before TensorFlow reads its own log
level, so that only the file descriptor can be kept quiet. Imports no TensorFlow by itself.
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

#: TensorFlow's own variable; who sets it to 0 or 1 wants to read its messages.
LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"

_STDERR: Final = 2

#: What TensorFlow imports where it is there, and goes on without: the optimizers of Keras, half of
#: the time of the import, so that a SavedModel may hold one; and two libraries for the Keras that
#: it once had. ``tf.keras`` is loaded when it is first asked for.
_LEFT_OUT: Final = ("keras.src.optimizers", "h5py", "scipy")

#: News in the two forms of TensorFlow's log: its levels I and W, and two errors that say no more
#: than that there is no driver of a GPU (303), and that a library was registered twice.
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
    """Import TensorFlow in the block for a program of ours, in little more than half of the time.

    It is imported without what such a program has no use of. What the program consists of then is
    never looked through for garbage again, not even when the program ends.
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
    """Look for no garbage meanwhile: an import makes many objects, and next to no garbage."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keep the news of TensorFlow's start from stderr, where the block imports TensorFlow.

    What else is written meanwhile is written after the block; all of it where the block raises.
    The variable ``TF_CPP_MIN_LOG_LEVEL`` of the environment becomes 2 where it is not set.
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
    """`quiet_start` where TensorFlow is not imported yet, and its messages are not asked for."""
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
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
            kept.seek(0)
            lines = kept.readlines()
            shown = [line for line in lines if not (is_whole and _NEWS.match(line))]
            if shown:
                os.write(_STDERR, b"".join(shown))


def _settle(*, is_level_set: bool) -> None:
    """Where TensorFlow was imported, let it look for its devices, and log no more than elsewhere.

    In a notebook it sets the level of its log to INFO, and tells there of each model that is saved.
    """
    if tf := sys.modules.get("tensorflow"):
        tf.config.list_physical_devices()
        if not is_level_set and tf.get_logger().level == logging.INFO:
            tf.get_logger().setLevel(logging.WARNING)


def _open_stand_in() -> tuple[int, IO[bytes]] | None:
    """A copy of stderr, and a file that can take its place for a while.

    None where stderr is closed, or no temporary file can be made: then nothing is held back.
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
    """The ``__getattr__`` of a package whose names are imported when they are first asked for."""

    def find_quietly(name: str) -> Any:
        with quiet_start():
            return find(name)

    return find_quietly
