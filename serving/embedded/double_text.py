"""Format a double like RapidJSON 1.1, with Grisu2, whose digits are not always the shortest.

Grisu2 (Loitsch, "Printing floating-point numbers quickly and accurately with integers", 2010) works
on 64-bit significands and stops at the first digits within the number's own interval. RapidJSON 1.1
moves the last digit closer to the number only where fewer than 9 digits are behind the point of its
scaled significand.
"""

import math
from functools import cache

_SIGNIFICAND_BITS = 64
_HIDDEN_BIT = 2**52
_FIRST_POWER, _POWER_STEP = -348, 8
_LOG10_2 = 0.30102999566398114
_MAX_FIXED_EXPONENT, _MIN_FIXED_EXPONENT = 21, -6
_MAX_ROUNDED_DIGITS = 9


def double_text(value: float) -> str:
    """Format a finite double; with an exponent from 1e21 on and below 1e-6."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0"
    digits, exponent = _shortest_digits(abs(value))
    point = len(digits) + exponent
    if exponent >= 0 and point <= _MAX_FIXED_EXPONENT:
        return f"{sign}{digits}{'0' * exponent}.0"
    if 0 < point <= _MAX_FIXED_EXPONENT:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _MIN_FIXED_EXPONENT < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1}"


def _shortest_digits(value: float) -> tuple[str, int]:
    """Return the digits and the decimal exponent of a positive double, by Grisu2."""
    mantissa, binary = math.frexp(value)
    # A subnormal number has fewer bits, and no hidden one.
    exponent = max(binary - 53, -1074)
    significand = int(math.ldexp(mantissa, binary - exponent))
    upper, shift = _normalize(2 * significand + 1)
    scale = exponent - 1 - shift
    if significand == _HIDDEN_BIT:
        lower = (4 * significand - 1) << (exponent - 2 - scale)
    else:
        lower = (2 * significand - 1) << shift
    power = math.ceil((-61 - scale) * _LOG10_2 + 347) // _POWER_STEP + 1
    decimal = _FIRST_POWER + power * _POWER_STEP
    factor, factor_scale = _power_of_ten(decimal)
    middle = _times(_normalize(significand)[0], factor)
    highest = _times(upper, factor) - 1
    width = highest - (_times(lower, factor) + 1)
    digits, more = _digits(middle, highest, width, -(scale + factor_scale + _SIGNIFICAND_BITS))
    return digits, more - decimal


def _digits(middle: int, highest: int, width: int, point: int) -> tuple[str, int]:
    """Return the fewest digits of ``highest`` with a remainder below ``width``, and their exponent.

    All three are fixed-point numbers with ``point`` bits behind the point.
    """
    one = 1 << point
    distance = highest - middle
    whole, rest = str(highest >> point), highest & (one - 1)
    number = 0
    for exponent, digit in zip(range(len(whole) - 1, -1, -1), whole, strict=True):
        number = 10 * number + int(digit)
        left = highest - ((number * 10**exponent) << point)
        if left <= width:
            return _round(number, left, width, one * 10**exponent, distance), exponent
    exponent = 0
    while True:
        exponent -= 1
        rest, width = 10 * rest, 10 * width
        number = 10 * number + (rest >> point)
        rest &= one - 1
        if rest < width:
            aim = distance * 10**-exponent if -exponent < _MAX_ROUNDED_DIGITS else 0
            return _round(number, rest, width, one, aim), exponent


def _round(number: int, rest: int, width: int, unit: int, aim: int) -> str:
    """Return the digits, the last one decreased while the remainder gets closer to ``aim``."""
    while (
        rest < aim
        and width - rest >= unit
        and (rest + unit < aim or aim - rest > rest + unit - aim)
    ):
        number -= 1
        rest += unit
    return str(number)


def _normalize(significand: int) -> tuple[int, int]:
    """Return the significand, shifted to set its highest bit, and the number of bits."""
    shift = _SIGNIFICAND_BITS - significand.bit_length()
    return significand << shift, shift


def _times(left: int, right: int) -> int:
    """Return the rounded upper half of a product of two significands."""
    return (left * right + (1 << (_SIGNIFICAND_BITS - 1))) >> _SIGNIFICAND_BITS


@cache
def _power_of_ten(exponent: int) -> tuple[int, int]:
    """Return 10**exponent as a rounded significand and its binary exponent."""
    power = 10 ** abs(exponent)
    if exponent < 0:
        scale = _SIGNIFICAND_BITS - 1 + power.bit_length()
        return ((1 << (scale + 1)) // power + 1) >> 1, -scale
    scale = power.bit_length() - _SIGNIFICAND_BITS
    if scale <= 0:
        return power << -scale, scale
    return ((power >> (scale - 1)) + 1) >> 1, scale
