"""Binary strings in JSON: ``{"b64": "..."}``."""

import base64
import re

from serving.embedded.json_parser import MISSING, JsonObject
from serving.embedded.json_writer import value_error
from serving.embedded.status import invalid_argument

_KEY = "b64"
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
_ENCODED = re.compile(r"([A-Za-z0-9+/]*)([=.]*)", re.ASCII)


def is_base64_object(value: object) -> bool:
    """Whether a value is an object with a single member, a base64 string."""
    return isinstance(value, JsonObject) and len(value) == 1 and isinstance(value.find(_KEY), str)


def read_base64_object(value: JsonObject) -> bytes:
    """Decode the bytes of such an object.

    White space is ignored; the padding is either complete or absent.

    Raises:
        StatusError: it is not such an object, or its string is not base64.
    """
    text = value.find(_KEY)
    if text is MISSING or not is_base64_object(value):
        raise value_error(value, "not formatted correctly for base64 data")
    match = _ENCODED.fullmatch(_SPACE.sub("", text))
    if match is None:
        raise invalid_argument("Unable to base64 decode")
    digits, padding = match.groups()
    missing = -len(digits) % 4
    if missing == 3 or len(padding) not in {0, missing}:
        raise invalid_argument("Unable to base64 decode")
    return base64.b64decode(digits + "=" * missing)
