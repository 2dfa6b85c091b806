"""Parse JSON with RapidJSON, as TF Serving does, with its numbers, messages and offsets.

``python-rapidjson`` has a newer RapidJSON than the 1.1 of TF Serving, and is stricter: nothing may
follow the root, UTF-8 must not have a byte order mark, and Python's stack limits the nesting. This
module and ``json_rewriting`` bridge these differences.

Values: ``None``, ``bool``, ``int`` (from -2**63 to 2**64-1), ``float``, ``str`` (bytes that are not
UTF-8 are surrogate escapes), ``list``, and ``JsonObject``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import rapidjson

from serving.embedded.json_nesting import is_nested_deeper
from serving.embedded.json_rewriting import rewrite_for_newer

JsonValue = Any

#: Deeper nesting has no use and is slow: it may take ten times as long per byte as numbers.
MAX_LEVELS: Final = 16


class RapidJsonError(ValueError):
    """The text is not JSON.

    Attributes:
        offset: the byte where RapidJSON finds the fault.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class NestedTooBig(ValueError):
    """The text is nested more than ``MAX_LEVELS`` deep, and too long for such nesting.

    Attributes:
        size: the bytes of the text.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes of JSON are nested more than {MAX_LEVELS} levels deep")
        self.size = size


@dataclass(frozen=True, slots=True)
class JsonObject:
    """The members of an object in the order of the text, including repeated names."""

    members: list[tuple[str, JsonValue]]

    def find(self, name: str) -> JsonValue:
        """Return the value of the first member with a name; ``MISSING`` if there is none."""
        for key, value in self.members:
            if key == name:
                return value
        return MISSING

    def items(self) -> Iterator[tuple[str, JsonValue]]:
        """Yield the members, each name up to its first zero byte: TF Serving reads them as C
        strings.
        """
        for key, value in self.members:
            yield key.partition("\0")[0], value

    def __len__(self) -> int:
        return len(self.members)


MISSING: Final = object()
"""The result of ``JsonObject.find`` for a missing name, because null is a value."""

_ROOT_NOT_SINGULAR = "The document root must not be followed by other values."
#: The message of the newer RapidJSON for a control character in a string, and that of 1.1.
_ENCODING, _ESCAPE = "Invalid encoding in string.", "Invalid escape character in string."
_ERROR = re.compile(r"Parse error at offset (\d+): (.*)")
_BYTE_ORDER_MARK = re.compile(rb"\xef?\xbb?\xbf?")
#: Bytes that no value begins with; the end of the text is empty.
_NO_VALUE = {b"]", b"}", b",", b":", b""}
_SPACE = re.compile(rb"[ \n\r\t]*")
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.?+)*+"?|[^ \n\r\t,:\[\]{}"]*', re.DOTALL)
#: Bytes that are not UTF-8 are passed through RapidJSON as private characters of four bytes.
_PRIVATE_OF_ESCAPE = {0xDC80 + byte: 0x10FF80 + byte for byte in range(0x80)}
_ESCAPE_OF_PRIVATE = {private: escape for escape, private in _PRIVATE_OF_ESCAPE.items()}
_PRIVATE = re.compile("[\U0010ff80-\U0010ffff]")
_STEPS_BETWEEN_PAUSES = 2**10


class _Decoder(rapidjson.Decoder):
    """Objects as ``JsonObject``."""

    def start_object(self) -> list[tuple[str, JsonValue]]:
        return []

    def end_object(self, members: list[tuple[str, JsonValue]]) -> JsonObject:
        return JsonObject(members)


class _EscapingDecoder(_Decoder):
    """Private characters in names and strings as surrogate escapes."""

    def string(self, text: str) -> str:
        return text.translate(_ESCAPE_OF_PRIVATE)

    def end_object(self, members: list[tuple[str, JsonValue]]) -> JsonObject:
        return JsonObject([(self.string(name), value) for name, value in members])


_NUMBERS = rapidjson.NM_NATIVE | rapidjson.NM_NAN
_decoder = _Decoder(number_mode=_NUMBERS)
_escaping_decoder = _EscapingDecoder(number_mode=_NUMBERS)


def read_json(
    text: bytes, pause: Callable[[], None] = lambda: None, max_nested: int = 2**63
) -> JsonValue:
    """Parse the value at the beginning of ``text``; the rest is ignored.

    Args:
        text: JSON, UTF-8 with or without a byte order mark; a zero byte ends it.
        pause: called repeatedly while parsing a text that is nested deeper than Python's stack
            allows; its exceptions end the parsing.
        max_nested: the most bytes of a text that is nested more than ``MAX_LEVELS`` deep.

    Raises:
        RapidJsonError: ``text`` is not JSON.
        NestedTooBig: ``text`` is nested more than ``MAX_LEVELS`` deep, and longer than this.
    """
    mark = _BYTE_ORDER_MARK.match(text)
    assert mark is not None
    start = mark.end()
    body = text[start:].partition(b"\0")[0]
    if len(body) > max_nested and is_nested_deeper(body, MAX_LEVELS):
        raise NestedTooBig(len(body))
    try:
        return _read_bytes(body, pause)
    except RapidJsonError as error:
        refusal = error
    rewriting = rewrite_for_newer(body)
    try:
        if rewriting.text != body:
            return _read_bytes(rewriting.text, pause)
    except RapidJsonError as error:
        refusal = RapidJsonError(str(error), rewriting.original_offset(error.offset))
    raise RapidJsonError(str(refusal), start + refusal.offset)


def _read_bytes(body: bytes, pause: Callable[[], None]) -> JsonValue:
    """Parse the value at the beginning of ``body``; bytes that are not UTF-8 become private
    characters.
    """
    try:
        return _read(body, _decoder, pause)
    except UnicodeDecodeError:
        private = body.decode("utf-8", "surrogateescape").translate(_PRIVATE_OF_ESCAPE)
        body = private.encode()
    try:
        return _read(body, _escaping_decoder, pause)
    except RapidJsonError as error:
        added = 3 * len(_PRIVATE.findall(body[: error.offset].decode()))
        raise RapidJsonError(str(error), error.offset - added) from None


def _read(body: bytes, decoder: _Decoder, pause: Callable[[], None]) -> JsonValue:
    first = len(body) - len(body.lstrip(b" \n\r\t"))
    if body[first : first + 1] in _NO_VALUE:
        raise RapidJsonError("The document is empty.", first)
    try:
        return _decode(decoder, body)[0]
    except RecursionError:
        return _NestedReader(body, decoder, pause).read()


def _decode(decoder: _Decoder, body: bytes) -> tuple[JsonValue, int]:
    """Parse the value at the beginning of ``body``; return it and the number of parsed bytes."""
    try:
        return decoder(body), len(body)
    except rapidjson.JSONDecodeError as error:
        match = _ERROR.fullmatch(str(error))
        assert match is not None
        offset, message = int(match[1]), match[2]
    if message == _ROOT_NOT_SINGULAR:
        return decoder(body[:offset]), offset
    raise RapidJsonError(_ESCAPE if message == _ENCODING else message, offset)


class _NestedReader:
    """Parse containers without recursion: only memory limits their depth."""

    def __init__(self, body: bytes, decoder: _Decoder, pause: Callable[[], None]) -> None:
        self._body = body
        self._decoder = decoder
        self._pause = pause
        self._at = 0
        self._open: list[JsonValue] = []

    def read(self) -> JsonValue:
        root: list[JsonValue] = []
        self._value(root.append)
        for step in count():
            if not self._open:
                break
            if step % _STEPS_BETWEEN_PAUSES == 0:
                self._pause()
            container = self._open[-1]
            if isinstance(container, JsonObject):
                self._member(container.members)
            else:
                self._element(container)
        return root[0]

    def _member(self, members: list[tuple[str, JsonValue]]) -> None:
        """Read the end of an object, or its next member up to the value."""
        if self._is_end(b"}"):
            return
        if members:
            self._expect(b",", "Missing a comma or '}' after an object member.")
        if self._peek() != b'"':
            raise RapidJsonError("Missing a name for object member.", self._at)
        name = self._scalar()
        self._expect(b":", "Missing a colon after a name of object member.")
        self._value(lambda value: members.append((name, value)))

    def _element(self, elements: list[JsonValue]) -> None:
        """Read the end of an array, or its next element up to the value."""
        if self._is_end(b"]"):
            return
        if elements:
            self._expect(b",", "Missing a comma or ']' after an array element.")
        self._value(elements.append)

    def _value(self, add: Callable[[JsonValue], None]) -> None:
        """Read a value, or the beginning of a container."""
        byte = self._peek()
        if byte in {b"[", b"{"}:
            self._at += 1
            value: JsonValue = [] if byte == b"[" else JsonObject([])
            self._open.append(value)
        elif byte in _NO_VALUE:
            raise RapidJsonError("Invalid value.", self._at)
        else:
            value = self._scalar()
        add(value)

    def _scalar(self) -> JsonValue:
        match = _SCALAR.match(self._body, self._at)
        assert match is not None
        try:
            value, size = _decode(self._decoder, match.group())
        except RapidJsonError as error:
            raise RapidJsonError(str(error), self._at + error.offset) from None
        self._at += size
        return value

    def _peek(self) -> bytes:
        """Return the next byte after white space without consuming it; b"" at the end."""
        match = _SPACE.match(self._body, self._at)
        assert match is not None
        self._at = match.end()
        return self._body[self._at : self._at + 1]

    def _is_end(self, byte: bytes) -> bool:
        is_end = self._peek() == byte
        if is_end:
            self._at += 1
            self._open.pop()
        return is_end

    def _expect(self, byte: bytes, message: str) -> None:
        if self._peek() != byte:
            raise RapidJsonError(message, self._at)
        self._at += 1
