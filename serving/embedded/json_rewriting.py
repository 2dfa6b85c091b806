"""Rewrite JSON that RapidJSON 1.1 accepts and newer versions refuse.

TF Serving has version 1.1. It accepts a lone low surrogate, reads a fraction or an exponent after
``NaN`` or ``Infinity`` as that of 0, ``NInf`` as ``Inf``, and a number above the largest double as
infinity unless its exponent alone is too big.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass, field

import rapidjson

_STRING = rb'"(?:[^"\\]|\\.?+)*+"?'
_NOT_FINITE = rb"N(?:aN|a?Inf(?:inity)?)|Inf(?:inity)?"
_NUMBER = rb"(?<![\d.])(?P<whole>0|[1-9]\d*)(?:\.(?P<fraction>\d+))?[eE]\+?(?P<exponent>\d+)"
_TOKEN = re.compile(
    rb"(?P<string>%b)|(?P<not_finite>%b)(?P<zero>(?=[.eE]))?|%b" % (_STRING, _NOT_FINITE, _NUMBER),
    re.DOTALL,
)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u....|u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
#: The largest significand of RapidJSON, and the most digits after the first.
_MAX_EXACT, _SIGNIFICANT = 2**53 - 1, 17
_MAX_EXPONENT = 308


@dataclass
class Rewriting:
    """A rewritten text, and the map of its offsets to the original.

    Attributes:
        text: the text that newer versions of RapidJSON accept.
    """

    text: bytes
    _ends: list[int] = field(default_factory=list)
    _growths: list[int] = field(default_factory=list)

    def original_offset(self, offset: int) -> int:
        """Return the offset in the original of a byte of the new text."""
        changes = bisect_left(self._ends, offset + 1)
        return offset - (self._growths[changes - 1] if changes else 0)


def rewrite_for_newer(text: bytes) -> Rewriting:
    """Replace the parts that only RapidJSON 1.1 accepts by equivalents that all versions accept."""
    pieces: list[bytes] = []
    ends: list[int] = []
    growths: list[int] = []
    copied = size = 0

    def replace(start: int, end: int, by: bytes) -> None:
        nonlocal copied, size
        pieces.extend((text[copied:start], by))
        size += start - copied + len(by)
        copied = end
        ends.append(size)
        growths.append(size - end)

    for token in _TOKEN.finditer(text):
        if token["string"] is not None:
            for escape in _ESCAPE.finditer(text, *token.span("string")):
                if escape["low"] is not None:
                    replace(*escape.span(), _surrogate_bytes(int(escape["low"], 16)))
        elif token["not_finite"] is not None:
            if token["zero"] is not None:
                replace(*token.span("not_finite"), b"0")
            elif token["not_finite"].startswith((b"NI", b"NaI")):
                replace(*token.span("not_finite"), b"Infinity")
        elif _is_infinity(token):
            replace(*token.span(), b"Infinity")
    return Rewriting(b"".join([*pieces, text[copied:]]), ends, growths)


def _surrogate_bytes(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass")


def _is_infinity(number: "re.Match[bytes]") -> bool:
    """Whether a number with an exponent is above the largest double, but accepted by 1.1."""
    try:
        rapidjson.loads(number.group(), number_mode=rapidjson.NM_NATIVE)
    except rapidjson.JSONDecodeError:
        exponent = number["exponent"].lstrip(b"0") or b"0"
        limit = _MAX_EXPONENT + _counted_fraction(number["whole"], number["fraction"] or b"")
        return (
            len(exponent) < 10 and int(exponent) <= limit and float(number["whole"]) < float("inf")
        )
    return False


def _counted_fraction(whole: bytes, fraction: bytes) -> int:
    """Return the number of digits of a fraction that RapidJSON uses for the significand."""
    value = int(whole[:20])
    significant = len(whole) - 1
    for counted, digit in enumerate(fraction):
        if value > _MAX_EXACT and significant >= _SIGNIFICANT:
            return counted
        value = value * 10 + digit - ord("0")
        significant += value > 0
    return len(fraction)
