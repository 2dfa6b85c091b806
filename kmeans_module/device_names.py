"""Names of the devices of a fit, for `fit` and the commands; without TensorFlow."""

import re
from typing import Final

from .errors import InvalidParameter

#: Names of device kinds; "auto" uses devices if they are faster.
DEVICE_KINDS: Final = ("auto", "cpu", "gpu")

#: A device name of TensorFlow, such as "/GPU:1" or "/device:gpu:1".
_NAME: Final = re.compile(r"/?(?:device:)?(CPU|GPU):(\d+)", re.IGNORECASE)


def parse_device(device: object) -> tuple[str, ...]:
    """Parse one of `DEVICE_KINDS`, or names of single devices such as "/GPU:1".

    Case and spaces are ignored.

    Args:
        device: a kind, or names of TensorFlow devices separated by commas.

    Raises:
        InvalidParameter: it is neither.
    """
    if not isinstance(device, str):
        raise InvalidParameter(
            f"device is of {type(device)}; give 'auto', 'cpu', 'gpu', or a name such as '/GPU:1'"
        )
    kind = device.strip().lower()
    if kind in DEVICE_KINDS:
        return (kind,)
    matches = [_NAME.fullmatch(each.strip()) for each in device.split(",")]
    names = tuple(f"/{match[1].upper()}:{int(match[2])}" for match in matches if match)
    if len(names) < len(matches):
        raise InvalidParameter(
            f"unknown device {device!r}; give 'auto', 'cpu', 'gpu', or a name such as '/GPU:1'"
        )
    if len(set(names)) < len(names):
        raise InvalidParameter(f"device {device!r} names a device twice; name each once")
    return names


def short_name(name: str) -> str:
    """ "/GPU:0" for TensorFlow's "/job:localhost/replica:0/task:0/device:GPU:0"."""
    match = _NAME.search(name)
    return name if match is None else f"/{match[1].upper()}:{int(match[2])}"
