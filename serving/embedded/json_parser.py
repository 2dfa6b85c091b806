"""JSON text to values, with RapidJSON's rules and RapidJSON's error messages.

A text is first read by the standard library's decoder, which is written in C. It takes a subset of
what RapidJSON takes, so what it refuses is read again here, by RapidJSON 1.1's own rules: ``Inf``,
its number arithmetic, its error and offset. Of that text too the C decoder reads the parts that it
takes, or the fault at the end of a big body would cost minutes.

Values: ``None``, ``bool``, ``int`` (from -2**63 to 2**64-1), ``float``, ``str`` (bytes that are not
UTF-8 are surrogate escapes), ``list``, and ``JsonObject``.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
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
#: Up to 15 digits, their sign and their point.
_ALWAYS_NEAREST = 16
#: Down to this many open containers the C decoder is tried on a value: each try of one that it does
#: not take may read all the rest in vain.
_TRIED_DEPTH = 4
#: How much of the text is given to the C decoder first, and again when a value is longer; bytes.
_FIRST_WINDOW, _LONGER = 2**8, 2**4
#: ``-Infinity``, and an escaped pair of surrogates, are cut off by less.
_LONGEST_WORD = 13
#: How many elements of an array are read at once, in bytes.
_RUN = 2**16
_STEPS_BETWEEN_PAUSES = 2**10


def _integer(text: str) -> int | float:
    value = int(text)
    if _MIN_INT <= value <= _MAX_INT:
        return value
    return float(read_number(text.encode() + b"\0", 0)[0])


def _exact_float(text: str) -> float:
    # So few digits and the power of ten are exact as doubles: RapidJSON divides them once, which
    # gives the nearest double, as Python does.
    if len(text) <= _ALWAYS_NEAREST and "e" not in text and "E" not in text:
        return float(text)
    return float(read_number(text.encode() + b"\0", 0)[0])


_decoder = json.JSONDecoder(object_pairs_hook=JsonObject, parse_int=_integer)
_exact_decoder = json.JSONDecoder(
    object_pairs_hook=JsonObject, parse_int=_integer, parse_float=_exact_float
)


def _is_special(text: bytes) -> bool:
    return any(pattern.search(text) for pattern in _NOT_FOR_STANDARD_DECODER)


def read_json(
    text: bytes, *, exact_doubles: bool = False, pause: Callable[[], None] = lambda: None
) -> JsonValue:
    """The value that ``text`` begins with; what follows it is ignored.

    Args:
        text: JSON, UTF-8 with or without a byte order mark.
        exact_doubles: read every number by RapidJSON's arithmetic, whose last bit is not always
            that of the nearest double. Slower; of no consequence for 32-bit numbers.
        pause: called now and then while a text is read that the C decoder does not take; what it
            raises ends the reading.

    Raises:
        RapidJsonError: ``text`` is no JSON.
    """
    decoder = _exact_decoder if exact_doubles else _decoder
    if not _is_special(text):
        try:
            decoded = text.decode("utf-8", "surrogateescape")
            start = _SPACE.match(decoded)
            value, _ = decoder.raw_decode(decoded, start.end() if start else 0)
        except (ValueError, RecursionError):
            pass
        else:
            if isinstance(value, JsonObject):
                return value
    return _Reader(text, decoder, pause).read()


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


def _add(parent: Any, key: str, value: JsonValue) -> None:
    if isinstance(parent, JsonObject):
        parent.members.append((key, value))
    else:
        parent.append(value)


class _Reader:
    """RapidJSON's iterative parser: no recursion, so depth is limited by memory alone."""

    def __init__(self, text: bytes, decoder: json.JSONDecoder, pause: Callable[[], None]) -> None:
        self._decoder = decoder
        self._pause = pause
        #: What is behind an element that is a container, when the last one is like the next.
        self._separator = b"],"
        self._no_run_before = 0
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
        for step in count():
            if not open_containers:
                break
            if step % _STEPS_BETWEEN_PAUSES == 0:
                self._pause()
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
        _add(parent, key, value)

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
        self._peek()
        container.extend(self._run())
        self._value(container, "", open_containers)

    def _value(self, parent: Any, key: str, open_containers: list[tuple[Any, str]]) -> None:
        byte = self._peek()
        if byte in b"],}:\0":
            raise RapidJsonError(_VALUE, self._at)
        if byte in b"[{" and len(open_containers) <= _TRIED_DEPTH:
            value = self._decoded()
            if value is not MISSING:
                _add(parent, key, value)
                return
        self._open_or_scalar(parent, key, open_containers)

    def _decoded(self) -> JsonValue:
        """The value that comes next, if the C decoder takes it as RapidJSON does; else MISSING."""
        size = _FIRST_WINDOW
        while True:
            # A character per byte, so that places in it are those of the text. No more of it than
            # need be: the decoder counts lines to tell of an error.
            window = self._text[self._at : self._at + size].decode("latin-1")
            try:
                _, end = self._decoder.raw_decode(window)
                break
            except json.JSONDecodeError as error:
                is_cut = error.pos > size - _LONGEST_WORD or error.msg.startswith("Unterminated")
                if not is_cut or self._at + size >= len(self._text):
                    return MISSING
                size *= _LONGER
            except (ValueError, RecursionError):
                return MISSING
        part = self._text[self._at : self._at + end]
        values = self._decoded_list(part)
        if not values:
            return MISSING
        self._at += end
        self._separator = part[len(part.rstrip(b"]}")) :] + b","
        return values[0]

    def _decoded_list(self, elements: bytes) -> list[JsonValue]:
        """The elements of a list without its brackets; none where RapidJSON has a word to say."""
        if _is_special(elements):
            return []
        try:
            values: list[JsonValue] = self._decoder.decode(
                f"[{elements.decode('utf-8', 'surrogateescape')}]"
            )
        except (ValueError, RecursionError):
            return []
        return values

    def _run(self) -> list[JsonValue]:
        """Elements that come next, each with the comma behind it; maybe none."""
        if self._at < self._no_run_before:
            return []
        separator = self._separator if self._text[self._at] in b"[{" else b","
        last = self._text.rfind(separator, self._at, self._at + _RUN)
        end = last + len(separator)
        values = self._decoded_list(self._text[self._at : end - 1]) if last >= 0 else []
        if values:
            self._at = end
        else:
            self._no_run_before = self._at + _RUN
        return values

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
