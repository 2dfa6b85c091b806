"""JSON is read as RapidJSON 1.1 reads it: what it takes, and what it says of what it does not."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded import json_parser
from serving.embedded.json_parser import JsonObject, RapidJsonError, read_json


def _plain(value: Any) -> Any:
    """A value with its objects as lists of members."""
    if isinstance(value, JsonObject):
        return [(name, _plain(member)) for name, member in value.members]
    return [_plain(element) for element in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        (b"  ", "The document is empty.", 2),
        (b"]", "The document is empty.", 0),
        (b" ,", "The document is empty.", 1),
        (b"hello", "Invalid value.", 0),
        (b"{bad", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a"', "Missing a colon after a name of object member.", 4),
        (b'{"a" 1', "Missing a colon after a name of object member.", 5),
        (b'{"a":', "Invalid value.", 5),
        (b'{"a":1', "Missing a comma or '}' after an object member.", 6),
        (b'{"a":1 /* c */}', "Missing a comma or '}' after an object member.", 7),
        (b"[", "Invalid value.", 1),
        (b"[1", "Missing a comma or ']' after an array element.", 2),
        (b"[1 2", "Missing a comma or ']' after an array element.", 3),
        (b"[01]", "Missing a comma or ']' after an array element.", 2),
        (b"[0x1]", "Missing a comma or ']' after an array element.", 2),
        (b"[1,]", "Invalid value.", 3),
        (b"[tru]", "Invalid value.", 4),
        (b"[nulL]", "Invalid value.", 4),
        (b"[+1]", "Invalid value.", 1),
        (b"[.5]", "Invalid value.", 1),
        (b"[-]", "Invalid value.", 2),
        (b"[NaX]", "Invalid value.", 3),
        (b"[NIx]", "Invalid value.", 2),
        (b"[Infinitx]", "Invalid value.", 9 - 1),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1e+]", "Miss exponent in number.", 4),
        (b'{"a": 1e999}', "Number too big to be stored in double.", 6),
        (b"[" + b"9" * 400 + b"]", "Number too big to be stored in double.", 1),
        (b'["a', "Missing a closing quotation mark in string.", 3),
        (b'["a\x00"]', "Missing a closing quotation mark in string.", 3),
        (b'["\x01"]', "Invalid escape character in string.", 2),
        (b'["\\x"]', "Invalid escape character in string.", 2),
        (b'["\\u12g4"]', "Incorrect hex digit after \\u escape in string.", 2),
        (b'["\\ud800"]', "The surrogate pair in string is invalid.", 2),
        (b'["\\ud800\\u0041"]', "The surrogate pair in string is invalid.", 2),
        (b'{"a": 9e309}', "Number too big to be stored in double.", 6),
        (b"[1.8e308bad]", "Missing a comma or ']' after an array element.", 8),
        (b'["\\udc00", "\\udc00\xff", bad]', "Invalid value.", 22),
        (b'["\\ud83d\\ude00\\udc01", NaN.5, bad]', "Invalid value.", 30),
        (b"[NaN.]", "Miss fraction part in number.", 5),
        (b'\xef\xbb\xbf{"a":bad}', "Invalid value.", 8),
        (b'{"\xff": "\xc3\xa4\xfe", "a":bad}', "Invalid value.", 17),
    ],
)
def test_what_is_no_json_is_told_with_its_offset(text: bytes, message: str, offset: int) -> None:
    with pytest.raises(RapidJsonError) as caught:
        read_json(text)
    assert (str(caught.value), caught.value.offset) == (message, offset)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": 1} and more', [("a", 1)]),
        (b'{"a": 1}}', [("a", 1)]),
        (b'\xef\xbb\xbf {"a": 1}', [("a", 1)]),
        (b'{"a": 1, "a": 2}', [("a", 1), ("a", 2)]),
        (b'{"a": []}\x00', [("a", [])]),
        (b'{"a": [Inf, -Inf, Infinity, -Infinity]}', [("a", [math.inf, -math.inf] * 2)]),
        (b'{"a": "\\u00e4\\n\\/\\ud83d\\ude00"}', [("a", "\u00e4\n/\U0001f600")]),
        (b'{"a": "\xff"}', [("a", "\udcff")]),
        (b'{"\xfe": ["\xc3\xa4\xff"]}', [("\udcfe", ["\u00e4\udcff"])]),
        (b'{"\xc3\xa4": null}', [("\u00e4", None)]),
        (b'{"a": [true, false, {}, ""]}', [("a", [True, False, [], ""])]),
        (
            b'{"a": [1.8e308, -1.8e308, 345031731973705033.703E300]}',
            [("a", [math.inf, -math.inf, math.inf])],
        ),
        (b'{"a": [NInf, -NInfinity, NaInf]}', [("a", [math.inf, -math.inf, math.inf])]),
        (b'{"a": [NaN.5, -NaN.5, Infinity.25e1, NaNe5]}', [("a", [0.5, -0.5, 2.5, 0.0])]),
        (b'{"a": "\\udc00"}', [("a", "\udced\udcb0\udc80")]),
        (b'{"\\\\udc00": "\\ud83d\\ude00\\\\udc00"}', [("\\udc00", "\U0001f600\\udc00")]),
        (b'{"a": 18446744073709551615}', [("a", 2**64 - 1)]),
        (b'{"a": -9223372036854775808}', [("a", -(2**63))]),
    ],
)
def test_what_rapidjson_takes_is_taken(text: bytes, value: Any) -> None:
    assert _plain(read_json(text)) == value


@pytest.mark.parametrize(
    "text", [b"18446744073709551616", b"-9223372036854775809", b"1.0", b"1e0", b"-0.0", b"1E2"]
)
def test_numbers_beyond_64_bits_and_with_point_or_exponent_are_doubles(text: bytes) -> None:
    (read,) = read_json(b'{"a": [%s]}' % text).find("a")
    assert isinstance(read, float)
    assert read == float(text)


def test_depth_is_limited_by_memory_alone() -> None:
    depth = 100_000
    value = read_json(b'{"a": ' + b"[" * depth + b"]" * depth + b"}").find("a")
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("text", "double"),
    [
        # By hand: the digits as a double, times or over a power of ten as a double.
        (b"0.1234567890123456789", 12345678901234568 / 1e17),
        (b"2.5000000000000001e-5", 25000000000000001 / 1e21),
        (b"123456789012345678901234567890", 1.2345678901234566e29),
        (b"1e-400", 0.0),
    ],
)
def test_doubles_are_those_of_rapidjsons_arithmetic(text: bytes, double: float) -> None:
    assert read_json(b'{"a": %s}' % text).find("a") == double


_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
_values = st.recursive(
    _scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=_values, ascii_only=st.booleans())
def test_what_was_written_is_read(value: Any, ascii_only: bool) -> None:
    text = json.dumps({"v": value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert _close(_plain(read_json(text)), [("v", _with_members(value))])


def _with_members(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _with_members(member)) for name, member in value.items()]
    return [_with_members(element) for element in value] if isinstance(value, list) else value


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float):
        # RapidJSON scales the digits by a power of ten, which may miss the nearest double.
        return math.isclose(one, other, rel_tol=1e-14, abs_tol=2.3e-308)
    return type(one) is type(other) and one == other


_pieces = st.sampled_from(
    [
        r"[",
        r"]",
        r"{",
        r"}",
        r",",
        r":",
        r"1",
        r"-2.5",
        r"1e5",
        r"1e999",
        r"Inf",
        r"NaN",
        r"-Infinity",
        r"null",
        r"true",
        r"0.1234567890123456789",
        r"5e-324",
        r"01",
        r'"a"',
        r'"a":',
        r'"ä"',
        r'"\ud83d\ude00"',
        r'"\ud83d"',
        r'"\x"',
    ]
) | st.sampled_from([" ", "\n", "\0", "[1,2],", '{"a":1},', "1,", "[[1.5],[2]],", '{"a":['])
_structured = st.recursive(
    _scalars | st.floats(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=20,
).map(lambda value: json.dumps(value, ensure_ascii=False))


def _outcome(text: bytes) -> str:
    try:
        return repr(_plain(read_json(text)))
    except RapidJsonError as error:
        return f"{error} at {error.offset}"


def _outcome_of_nested_reader(text: bytes) -> str:
    decode = json_parser._decode
    is_first = iter([True])

    def decode_unless_first(decoder: Any, body: bytes) -> Any:
        if next(is_first, False):
            raise RecursionError
        return decode(decoder, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_parser, "_decode", decode_unless_first)
        return _outcome(text)


@given(
    pieces=st.lists(_pieces | _structured, max_size=12),
    within=st.sampled_from(["%s", '{"a": %s', '{"a": [%s]}', "[[[%s", '{"a": [[1, 2], %s, 3]}']),
    byte=st.sampled_from([b"", b"\xff"]),
)
def test_what_is_nested_too_deep_for_the_library_is_read_alike(
    pieces: list[str], within: str, byte: bytes
) -> None:
    """Its values, and its errors' words and places."""
    text = (within % " ".join(pieces)).encode("utf-8", "surrogatepass")
    text = text.replace(b'"a"', b'"a%s"' % byte)
    assert _outcome_of_nested_reader(text) == _outcome(text)


class _HadEnough(Exception):
    pass


def test_the_reading_of_what_is_nested_deep_can_be_ended() -> None:
    calls = iter(range(3))

    def pause() -> None:
        if next(calls) == 2:
            raise _HadEnough

    with pytest.raises(_HadEnough):
        read_json(b'{"a": ' + b"[" * 10_000, pause=pause)
