"""Write JSON in the layout of RapidJSON's PrettyWriter, with the number formats of TF Serving."""

import base64
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.embedded.double_text import double_text
from serving.embedded.flat_tensor import Tensor
from serving.embedded.json_parser import JsonObject, JsonValue
from serving.embedded.status import StatusError, invalid_argument

_INDENT = "    "
#: A quoted value in a message is cut after the token that reaches this many bytes.
_QUOTE_LIMIT = 256
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_ESCAPES = {chr(code): f"\\u{code:04X}" for code in range(0x20)} | {
    '"': '\\"',
    "\\": "\\\\",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def string_text(value: str) -> str:
    """Return a quoted string; only required characters are escaped."""
    return '"' + _ESCAPED.sub(lambda match: _ESCAPES[match.group()], value) + '"'


def object_text(name: str, value: str) -> str:
    """Return the text of an object with one member, whose value is given as text."""
    return f"{{\n{_INDENT}{string_text(name)}: {value}\n}}"


def indent(level: int) -> str:
    """Return a new line within ``level`` open containers."""
    return "\n" + _INDENT * level


# Floating-point numbers


def flush_subnormals(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Replace subnormal floats of an array of any shape by zeros.

    TF Serving's REST threads do the same.
    """
    is_subnormal = np.abs(values) < np.finfo(values.dtype).smallest_normal
    return np.where(is_subnormal, np.copysign(values.dtype.type(0), values), values)


def float_texts(values: npt.NDArray[Any]) -> list[str]:
    """Format a float32 or float64 array of shape [n].

    Six significant digits if they give the same number of that type again, else 9 or 17, which
    always do; with ``.0`` if there is neither a point nor an exponent.
    """
    digits = 9 if values.dtype == np.float32 else 17
    values = flush_subnormals(values)
    numbers = values.tolist()
    texts = [f"{number:.6g}" for number in numbers]
    with np.errstate(over="ignore"):
        again = np.array(texts, np.float64).astype(values.dtype)
    for index in np.flatnonzero(again != values).tolist():
        texts[index] = f"{numbers[index]:.{digits}g}"
    return [text if "." in text or "e" in text else _complete_number(text) for text in texts]


def _complete_number(text: str) -> str:
    if text[-1].isdigit():
        return text + ".0"
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, "NaN")


# Tensors


def leaf_texts(array: Tensor, *, as_bytes: bool, level: int) -> list[str] | None:
    """Format the values of an array in row-major order; None for dtypes that JSON does not support.

    An array without values is supported for any dtype.

    Args:
        array: the values.
        as_bytes: write strings as objects of base64.
        level: the number of open containers around each value.
    """
    flat = array.ravel()
    match array.dtype:
        case np.float32 | np.float64:
            return float_texts(flat)
        case np.bool_:
            return ["true" if value else "false" for value in flat.tolist()]
        case np.object_ if as_bytes:
            inner, outer = indent(level + 1), indent(level)
            encoded = (base64.b64encode(value).decode() for value in flat.tolist())
            return [f'{{{inner}"b64": "{text}"{outer}}}' for text in encoded]
        case np.object_:
            return [string_text(v.decode("utf-8", "surrogateescape")) for v in flat.tolist()]
        case np.int8 | np.uint8 | np.int16 | np.int32 | np.int64 | np.uint32 | np.uint64:
            return [str(value) for value in flat.tolist()]
    return None if flat.size else []


def single_line(texts: Sequence[str], shape: Sequence[int]) -> list[str]:
    """Join the values of an array of ``shape`` [n, ...] to n texts of one line each."""
    if 0 in shape[1:]:
        return [_empty_text(shape[1:])] * shape[0]
    for size in reversed(shape[1:]):
        starts = range(0, len(texts), size)
        texts = [f"[{', '.join(texts[start : start + size])}]" for start in starts]
    return list(texts)


def _empty_text(shape: Sequence[int]) -> str:
    """Format an array without values: the dimensions before the first 0 keep their brackets."""
    text = "[]"
    for size in reversed(shape[: list(shape).index(0)]):
        text = f"[{', '.join([text] * size)}]"
    return text


def many_lines(texts: Iterator[str], shape: Sequence[int], level: int) -> str:
    """Format an array of ``shape``, or a scalar, with one element per line."""
    if not shape:
        return next(texts)
    if not shape[0]:
        return "[]"
    inner = indent(level + 1)
    elements = [many_lines(texts, shape[1:], level + 1) for _ in range(shape[0])]
    return f"[{inner}{f',{inner}'.join(elements)}{indent(level)}]"


# Values in messages


def value_error(value: JsonValue, text: str) -> StatusError:
    """Make the error for an invalid value, which is quoted before ``text``."""
    return invalid_argument(f"JSON Value: {quote_value(value)} {text}")


def quote_value(value: JsonValue) -> str:
    """Quote a value for a message: pretty-printed, with arrays in one line.

    It is cut after the token that reaches 256 bytes; a string is one token, which is not cut.
    """
    pieces = []
    size = 0
    for piece in _pieces(value):
        pieces.append(piece)
        size += len(piece.encode("utf-8", "surrogateescape"))
        if size >= _QUOTE_LIMIT:
            break
    return "".join(pieces)


def _pieces(value: JsonValue) -> Iterator[str]:
    """Yield the tokens of a value, each with preceding white space. The stack does not limit the
    depth.
    """
    # The next token is on top: a text, or the text before a value, the value and its level.
    stack: list[str | tuple[str, JsonValue, int]] = [("", value, 0)]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case prefix, list() as elements, level:
                yield prefix + "["
                stack.append("]")
                # Each element has at least one byte, so no more elements can be quoted.
                for index, element in reversed(list(enumerate(elements[:_QUOTE_LIMIT]))):
                    stack.append((", " if index else "", element, level + 1))
            case prefix, JsonObject(members), level:
                yield prefix + "{"
                stack.append((indent(level) if members else "") + "}")
                for index, (name, member) in reversed(list(enumerate(members[:_QUOTE_LIMIT]))):
                    stack.append((": ", member, level + 1))
                    stack.append((("," if index else "") + indent(level + 1), name, level + 1))
            case prefix, scalar, _:
                yield prefix + _scalar_text(scalar)
                if isinstance(scalar, float) and not math.isfinite(scalar):
                    return  # RapidJSON's writer does not support NaN and infinity, and stops there


def _scalar_text(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return string_text(value)
        case float():
            return _double_text(value)
    return str(value)


def _double_text(value: float) -> str:
    return double_text(float(flush_subnormals(np.array(value)))) if math.isfinite(value) else ""
