"""JSON text to values, with RapidJSON's rules and RapidJSON's error messages.

A text is first read by the standard library's decoder, which is written in C. It takes a subset of
what RapidJSON takes, so what it refuses is read again here, by RapidJSON 1.1's own rules: ``Inf``,
its number arithmetic, its error and offset.

Values: ``None``, ``bool``, ``int`` (from -2**63 to 2**64-1), ``float``, ``str`` (bytes that are not
UTF-8 are surrogate escapes), ``list``, and ``JsonObject``.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from serving.embedded.rapidjson_number import RapidJsonError, read_number

JsonValue = Any


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The members of an object in the order of the text, repeated names included."""

    members: list[tuple[str, JsonValue]]

    def find(self, name: str) -> JsonValue:
        """The value of the first member of that name; ``MISSING`` when there is none."""
        for key, value in self.members:
            if key == name:
                return value
        return MISSING

    def items(self) -> Iterator[tuple[str, JsonValue]]:
        """The members, each name up to its first zero: TF Serving walks them by C strings."""
        for key, value in self.members:
            yield key.partition("\0")[0], value

    def __len__(self) -> int:
        return len(self.members)


MISSING: Final = object()
"""What ``JsonObject.find`` gives for a name that is not there: null is a value."""

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
#: What the standard decoder reads in another way than RapidJSON: escaped surrogates that are alone,
#: and exponents that may be too big for a double. Patterns with a literal beginning are found fast.
_NOT_FOR_STANDARD_DECODER = tuple(
    re.compile(pattern) for pattern in (rb"\\u[dD]", rb"e\+?[0-9]{3}", rb"E\+?[0-9]{3}")
)
_SPACE = re.compile(r"[ \n\r\t]*")


def _integer(text: str) -> int | float:
    value = int(text)
    if _MIN_INT <= value <= _MAX_INT:
        return value
    return float(read_number(text.encode() + b"\0", 0)[0])


_decoder = json.JSONDecoder(object_pairs_hook=JsonObject, parse_int=_integer)


def read_json(text: bytes, *, exact_doubles: bool = False) -> JsonValue:
    """The value that ``text`` begins with; what follows it is ignored.

    Args:
        text: JSON, UTF-8 with or without a byte order mark.
        exact_doubles: read every number by RapidJSON's arithmetic, whose last bit is not always
            that of the nearest double. Slower; of no consequence for 32-bit numbers.

    Raises:
        RapidJsonError: ``text`` is no JSON.
    """
    is_special = any(pattern.search(text) for pattern in _NOT_FOR_STANDARD_DECODER)
    if not exact_doubles and not is_special:
        try:
            decoded = text.decode("utf-8", "surrogateescape")
            start = _SPACE.match(decoded)
            value, _ = _decoder.raw_decode(decoded, start.end() if start else 0)
        except (ValueError, RecursionError):
            pass
        else:
            if isinstance(value, JsonObject):
                return value
    return _Reader(text).read()


_START = "The document is empty."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_MEMBER_END = "Missing a comma or '}' after an object member."
_ELEMENT_END = "Missing a comma or ']' after an array element."
_VALUE = "Invalid value."
_ESCAPES = {
    ord('"'): b'"',
    ord("/"): b"/",
    ord("\\"): b"\\",
    ord("b"): b"\b",
    ord("f"): b"\f",
    ord("n"): b"\n",
    ord("r"): b"\r",
    ord("t"): b"\t",
}
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(rb"[0-9A-Fa-f]{4}")
_WORDS: dict[int, tuple[bytes, JsonValue]] = {
    ord("n"): (b"null", None),
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
}


class _Reader:
    """RapidJSON's iterative parser: no recursion, so depth is limited by memory alone."""

    def __init__(self, text: bytes) -> None:
        # A zero byte ends the text wherever it stands, as in RapidJSON; here one always does.
        self._text = text + b"\0"
        self._at = 0
        for byte in b"\xef\xbb\xbf":
            if self._text[self._at] == byte:
                self._at += 1

    def read(self) -> JsonValue:
        if self._peek() == 0:
            raise RapidJsonError(_START, self._at)
        if self._peek() in b"],}:":
            raise RapidJsonError(_START, self._at)
        root: list[JsonValue] = []
        open_containers: list[tuple[Any, str]] = []
        self._open_or_scalar(root, "", open_containers)
        while open_containers:
            container, _ = open_containers[-1]
            if isinstance(container, JsonObject):
                self._object_step(container, open_containers)
            else:
                self._array_step(container, open_containers)
        return root[0]

    def _peek(self) -> int:
        """The next byte after white space; it is not taken."""
        while self._text[self._at] in b" \n\r\t":
            self._at += 1
        return self._text[self._at]

    def _open_or_scalar(
        self, parent: Any, key: str, open_containers: list[tuple[Any, str]]
    ) -> None:
        """Read a value into ``parent``; of a container only its beginning."""
        byte = self._text[self._at]
        value: JsonValue
        if byte == ord("{"):
            self._at += 1
            value = JsonObject([])
            open_containers.append((value, key))
        elif byte == ord("["):
            self._at += 1
            value = []
            open_containers.append((value, key))
        else:
            value = self._scalar(byte)
        if isinstance(parent, JsonObject):
            parent.members.append((key, value))
        else:
            parent.append(value)

    def _object_step(self, container: JsonObject, open_containers: list[tuple[Any, str]]) -> None:
        """Read the end of an object, or its next member up to the value."""
        byte = self._peek()
        if byte == ord("}"):
            self._at += 1
            open_containers.pop()
            return
        if container.members:
            self._expect(b",", _MEMBER_END)
            byte = self._peek()
        if byte != ord('"'):
            raise RapidJsonError(_NAME, self._at)
        key = self._string()
        self._peek()
        self._expect(b":", _COLON)
        self._value(container, key, open_containers)

    def _array_step(
        self, container: list[JsonValue], open_containers: list[tuple[Any, str]]
    ) -> None:
        """Read the end of an array, or its next element up to the value."""
        if self._peek() == ord("]"):
            self._at += 1
            open_containers.pop()
            return
        if container:
            self._expect(b",", _ELEMENT_END)
        self._value(container, "", open_containers)

    def _value(self, parent: Any, key: str, open_containers: list[tuple[Any, str]]) -> None:
        byte = self._peek()
        if byte in b"],}:\0":
            raise RapidJsonError(_VALUE, self._at)
        self._open_or_scalar(parent, key, open_containers)

    def _expect(self, byte: bytes, message: str) -> None:
        if self._text[self._at] != byte[0]:
            raise RapidJsonError(message, self._at)
        self._at += 1

    def _scalar(self, byte: int) -> JsonValue:
        if byte == ord('"'):
            return self._string()
        if byte in _WORDS:
            word, value = _WORDS[byte]
            for expected in word:
                self._expect(bytes([expected]), _VALUE)
            return value
        number, self._at = read_number(self._text, self._at)
        return number

    def _string(self) -> str:
        self._at += 1
        pieces = []
        while True:
            plain = _PLAIN.match(self._text, self._at)
            assert plain is not None
            pieces.append(plain.group())
            self._at = plain.end()
            byte = self._text[self._at]
            if byte == ord('"'):
                self._at += 1
                return b"".join(pieces).decode("utf-8", "surrogateescape")
            if byte == 0:
                raise RapidJsonError("Missing a closing quotation mark in string.", self._at)
            if byte != ord("\\"):
                raise RapidJsonError("Invalid escape character in string.", self._at)
            pieces.append(self._escape())

    def _escape(self) -> bytes:
        start = self._at
        byte = self._text[start + 1]
        if byte in _ESCAPES:
            self._at += 2
            return _ESCAPES[byte]
        if byte != ord("u"):
            raise RapidJsonError("Invalid escape character in string.", start)
        code = self._hex4(start)
        if 0xD800 <= code <= 0xDBFF:
            if self._text[self._at : self._at + 2] != b"\\u":
                raise RapidJsonError("The surrogate pair in string is invalid.", start)
            low = self._hex4(start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise RapidJsonError("The surrogate pair in string is invalid.", start)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        # A low surrogate that is alone is encoded like any other code, as RapidJSON 1.1 does.
        return chr(code).encode("utf-8", "surrogatepass")

    def _hex4(self, escape: int) -> int:
        digits = _HEX4.match(self._text, self._at + 2)
        if digits is None:
            raise RapidJsonError("Incorrect hex digit after \\u escape in string.", escape)
        self._at = digits.end()
        return int(digits.group(), 16)
