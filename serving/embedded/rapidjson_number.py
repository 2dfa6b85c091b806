"""Numbers as RapidJSON 1.1 reads them: which text is one, and which double it becomes.

RapidJSON's default precision multiplies or divides the digits by a power of ten, which is not
always the nearest double; and TF Serving's REST threads take subnormal numbers for zero.
"""

import math
import re
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_TOO_BIG = "Number too big to be stored in double."
_INVALID = "Invalid value."
_DIGITS = re.compile(rb"[0-9]*")
_MAX_EXPONENT = 308
_POWERS_OF_TEN = tuple(float(f"1e{n}") for n in range(_MAX_EXPONENT + 1))
_MAX_EXACT = 2**53 - 1
_MAX_DIGITS = 17
#: One more digit might take a double of this size over the limit.
_LAST_SAFE_DOUBLE = 1.7976931348623157e307


class RapidJsonError(ValueError):
    """The text is no JSON.

    Attributes:
        offset: the byte where RapidJSON notices.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _Significand(NamedTuple):
    """The digits read so far: as an integer while exact, as a double when no longer so."""

    integer: int
    double: float | None
    digits: int
    exponent: int
    end: int


def flush_subnormal(value: float) -> float:
    """``value``, or a zero of its sign when it is too small for a normal double."""
    if abs(value) < sys.float_info.min:
        return math.copysign(0.0, value)
    return value


def flush_subnormals(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Floats of any shape, those too small for a normal number of their dtype as zeros."""
    is_subnormal = np.abs(values) < np.finfo(values.dtype).smallest_normal
    return np.where(is_subnormal, np.copysign(values.dtype.type(0), values), values)


def read_number(text: bytes, start: int) -> tuple[int | float, int]:
    """The number at ``start`` of a text that ends in a zero byte, and the offset behind it.

    Raises:
        RapidJsonError: there is no number, or one too big for a double.
    """
    is_negative = text[start] == ord("-")
    at = start + is_negative
    if text[at] in b"IN":
        value, at = _not_finite(text, at, is_negative)
        if text[at] not in b".eE":
            return value, at
        significand = _Significand(0, None, 0, 0, at)
    else:
        significand = _integer_part(text, at, start, is_negative)
    significand = _fraction(text, significand)
    double, at = _with_exponent(text, significand, start)
    if double is None:
        return (-significand.integer if is_negative else significand.integer), at
    return (-double if is_negative else double), at


def _not_finite(text: bytes, at: int, is_negative: bool) -> tuple[float, int]:
    """``NaN``, ``Inf`` or ``Infinity``.

    RapidJSON 1.1 looks for ``Inf`` where it ceased to find ``NaN``: ``NInf`` is infinite too.
    """
    matched = _matched(text, at, b"NaN")
    at += matched
    if matched == len(b"NaN"):
        return float("nan"), at
    at = _after(text, at, b"Inf")
    if text[at] == ord("i"):
        at = _after(text, at, b"inity")
    return (float("-inf") if is_negative else float("inf")), at


def _after(text: bytes, at: int, word: bytes) -> int:
    """The offset behind a word, which must be at ``at``; the error's is where it ceases to be."""
    matched = _matched(text, at, word)
    if matched < len(word):
        raise RapidJsonError(_INVALID, at + matched)
    return at + matched


def _matched(text: bytes, at: int, word: bytes) -> int:
    """How many bytes of a word are at ``at``; the text ends in a zero."""
    matched = 0
    while matched < len(word) and text[at + matched] == word[matched]:
        matched += 1
    return matched


def _integer_part(text: bytes, at: int, start: int, is_negative: bool) -> _Significand:
    match = _DIGITS.match(text, at)
    digits = match.group() if match else b""
    if not digits:
        raise RapidJsonError(_INVALID, at)
    if digits.startswith(b"0"):
        return _Significand(0, None, 0, 0, at + 1)
    limit = 2**63 if is_negative else 2**64 - 1
    # Python refuses to read more than some thousand digits; no 20 of them fit 64 bits.
    if len(digits) <= 20 and int(digits) <= limit:
        return _Significand(int(digits), None, len(digits) - 1, 0, at + len(digits))
    kept = max(k for k in (18, 19, 20) if k <= len(digits) and int(digits[:k]) <= limit)
    double = float(int(digits[:kept]))
    for digit in digits[kept:]:
        if double >= _LAST_SAFE_DOUBLE:
            raise RapidJsonError(_TOO_BIG, start)
        double = double * 10 + (digit - ord("0"))
    return _Significand(0, double, kept - 1, 0, at + len(digits))


def _fraction(text: bytes, significand: _Significand) -> _Significand:
    integer, double, count, _, at = significand
    if text[at] != ord("."):
        return significand
    match = _DIGITS.match(text, at + 1)
    digits = match.group() if match else b""
    if not digits:
        raise RapidJsonError("Miss fraction part in number.", at + 1)
    end = at + 1 + len(digits)
    used = 0
    if double is None:
        while used < len(digits) and integer <= _MAX_EXACT:
            integer = integer * 10 + digits[used] - ord("0")
            used += 1
            count += integer != 0
        double = float(integer)
    exponent = -used
    for digit in digits[used:]:
        if count >= _MAX_DIGITS:
            break
        double = double * 10.0 + (digit - ord("0"))
        exponent -= 1
        count += double > 0.0
    return _Significand(0, double, count, exponent, end)


def _with_exponent(text: bytes, significand: _Significand, start: int) -> tuple[float | None, int]:
    """The double that an exponent makes of the digits; None when the number is an integer."""
    integer, double, _, exponent, at = significand
    if text[at] in b"eE":
        double = float(integer) if double is None else double
        at += 1
        is_negative = text[at] == ord("-")
        at += text[at] in b"+-"
        match = _DIGITS.match(text, at)
        digits = match.group() if match else b""
        if not digits:
            raise RapidJsonError("Miss exponent in number.", at)
        at += len(digits)
        # More than some thousand digits are no int for Python; nine say enough.
        size = int(digits.lstrip(b"0")[:9] or b"0")
        if is_negative:
            exponent -= size
        elif len(digits) > 1 and size > _MAX_EXPONENT - exponent:
            raise RapidJsonError(_TOO_BIG, start)
        else:
            exponent += size
    if double is None:
        return None, at
    return flush_subnormal(_scaled(double, exponent)), at


def _scaled(significand: float, exponent: int) -> float:
    if exponent < -_MAX_EXPONENT:
        significand = flush_subnormal(significand / 1e308)
        exponent += _MAX_EXPONENT
        if exponent < -_MAX_EXPONENT:
            return 0.0
    if exponent >= 0:
        return significand * _POWERS_OF_TEN[exponent]
    return significand / _POWERS_OF_TEN[-exponent]
