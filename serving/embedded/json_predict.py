"""Predict over REST: convert a JSON body to named arrays, and named arrays to a JSON body.

The rules are those of TF Serving's ``json_tensor``: the inputs, the accepted JSON of each dtype,
and the order and messages of errors. A regular request is converted as a whole; an irregular one is
checked value by value to find the message of TF Serving.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.embedded.base64_strings import is_base64_object, read_base64_object
from serving.embedded.flat_tensor import Tensor, in_shape
from serving.embedded.json_parser import MISSING, JsonObject, JsonValue
from serving.embedded.json_writer import (
    flush_subnormals,
    indent,
    leaf_texts,
    many_lines,
    object_text,
    quote_value,
    single_line,
    string_text,
    value_error,
)
from serving.embedded.prediction import tensor_error
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.tensor_proto import (
    InvalidTensor,
    check_rank,
    dtype_name,
    dtype_of,
    fill_shape,
    shape_text,
)

_INT32 = range(-(2**31), 2**31)
#: The ranges of JSON integers for integer dtypes; small dtypes are truncated later.
_INTEGER_RANGES = {
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT16: _INT32,
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT64: range(-(2**63), 2**63),
    types_pb2.DT_UINT32: range(2**32),
    types_pb2.DT_UINT64: range(2**64),
}
#: The accepted types of JSON values by dtype; other dtypes accept none.
_JSON_TYPES: dict[int, set[type]] = {
    types_pb2.DT_FLOAT: {int, float},
    types_pb2.DT_DOUBLE: {int, float},
    types_pb2.DT_STRING: {str},
    types_pb2.DT_BOOL: {bool},
} | {dtype: {int} for dtype in _INTEGER_RANGES}
#: Strings of outputs with this suffix are written as base64.
_BYTES_SUFFIX = "_bytes"


# Body to arrays


def read_signature_name(document: JsonObject) -> str:
    """Return the ``signature_name`` of a body, "" if it has none.

    Raises:
        StatusError: it is not a string.
    """
    name = document.find("signature_name")
    if name is MISSING:
        return ""
    if not isinstance(name, str):
        raise value_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read_predict_body(
    document: JsonObject, signature_name: str, inputs: Mapping[str, Any]
) -> tuple[dict[str, Tensor], bool]:
    """Return the arrays of a body by input name, and whether body and answer have the row format.

    Args:
        document: the body.
        signature_name: the name in the body, for messages.
        inputs: the signature's TensorInfos by input name.

    Raises:
        StatusError: with the message of TF Serving.
    """
    if not inputs:
        raise invalid_argument(
            f"Failed to get input map for signature: {signature_name or 'DEFAULT'}"
        )
    instances, columns = document.find("instances"), document.find("inputs")
    if instances is MISSING and columns is MISSING:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    if instances is not MISSING and columns is not MISSING:
        raise value_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if instances is MISSING:
        return _read_columns(columns, inputs), False
    if not isinstance(instances, list):
        raise value_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise value_error(document, "No values in 'instances' array")
    return _read_rows(instances, inputs), True


def _read_columns(columns: JsonValue, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    if not isinstance(columns, JsonObject) or is_base64_object(columns):
        if len(inputs) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        (name,) = inputs
        return {name: _read_tensor(inputs, name, columns)}
    arrays = {}
    for name in sorted(inputs):
        value = columns.find(name)
        if value is MISSING:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _read_tensor(inputs, name, value)
    return arrays


def _read_tensor(inputs: Mapping[str, Any], name: str, value: JsonValue) -> Tensor:
    regular = _regular_array(value, inputs[name].dtype)
    if regular is not None:
        return regular
    tensor = _Tensor(inputs[name].dtype)
    tensor.add(value)
    return tensor.array(inputs, name, tensor.shape)


def _read_rows(instances: list[JsonValue], inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    first = instances[0]
    if not isinstance(first, JsonObject) and len(inputs) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    arrays: dict[str, Tensor] = {}
    for name, values in _row_columns(instances, inputs).items():
        regular = _regular_array(values, inputs[name].dtype)
        if regular is None:
            return _read_irregular_rows(instances, inputs)
        arrays[name] = regular
    return arrays or _read_irregular_rows(instances, inputs)


def _row_columns(
    instances: list[JsonValue], inputs: Mapping[str, Any]
) -> dict[str, list[JsonValue]]:
    """Return the instances as one list per input; empty if the instances differ in structure."""
    kinds = set(map(type, instances))
    if kinds == {JsonObject}:
        names = set(inputs)
        columns: dict[str, list[JsonValue]] = {name: [] for name in inputs}
        for instance in instances:
            if len(instance) != len(names) or {key for key, _ in instance.members} != names:
                return {}
            for key, value in instance.members:
                columns[key].append(value)
        return columns
    if JsonObject in kinds or len(inputs) > 1:
        return {}
    (name,) = inputs
    return {name: instances}


def _regular_array(value: JsonValue, dtype: int) -> Tensor | None:
    """Return the array of regular nested lists whose values the dtype accepts; else None."""
    shape: list[int] = []
    level = [value]
    while level and type(level[0]) is list:
        if set(map(type, level)) != {list} or len(sizes := set(map(len, level))) != 1:
            return None
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
    try:
        check_rank(shape)
    except InvalidTensor:
        return None
    return in_shape(_array_of(level, dtype), shape) if _are_all_of(level, dtype) else None


def _are_all_of(values: list[JsonValue], dtype: int) -> bool:
    """Whether a dtype accepts all of these values, none of which is a list."""
    if not set(map(type, values)) <= _JSON_TYPES.get(dtype, set()):
        return False
    if dtype not in _INTEGER_RANGES or not values:
        return True
    return min(values) in _INTEGER_RANGES[dtype] and max(values) in _INTEGER_RANGES[dtype]


def _array_of(values: list[Any], dtype: int) -> npt.NDArray[Any]:
    """Return the array [n] of values that the dtype accepts; strings may already be bytes."""
    wanted = tf.as_dtype(dtype).as_numpy_dtype
    if dtype == types_pb2.DT_STRING:
        return np.array([v if isinstance(v, bytes) else _encode(v) for v in values], np.object_)
    if dtype in _INTEGER_RANGES:
        wide = np.uint64 if dtype == types_pb2.DT_UINT64 else np.int64
        return np.array(values, wide).astype(wanted)
    if dtype in {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE}:
        with np.errstate(over="ignore", under="ignore"):
            return flush_subnormals(np.array(values, np.float64).astype(wanted))
    return np.array(values, wanted)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# Irregular requests, value by value


@dataclass
class _Tensor:
    """The values of one input, and the shape of the last added value."""

    dtype: int
    values: list[Any] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    first: tuple[int, tuple[int, ...]] | None = None

    def add_row(self, value: JsonValue) -> None:
        """Add a row, which must have the number of values and the shape of the first row."""
        size = self.add(value)
        if self.first is None:
            self.first = (size, self.shape)
        first_size, first_shape = self.first
        if size != first_size:
            raise invalid_argument(f"Expecting tensor size: {first_size} but got: {size}")
        if self.shape != first_shape:
            raise invalid_argument(
                f"Expecting shape {shape_text(first_shape)} but got: {shape_text(self.shape)}"
            )

    def add(self, value: JsonValue) -> int:
        """Add the values of nested lists; return their number.

        The first elements determine the shape; all others must have it too.
        """
        self.shape = _shape_of_first(value)
        before = len(self.values)
        # An iterator and its level for every open list; the stack does not limit the depth.
        stack = [(iter([value]), 0)]
        while stack:
            iterator, level = stack[-1]
            for element in iterator:
                if isinstance(element, list):
                    self._check_list(element, level)
                    stack.append((iter(element), level + 1))
                    break
                self._add_leaf(element, level)
            else:
                stack.pop()
        return len(self.values) - before

    def _check_list(self, element: list[JsonValue], level: int) -> None:
        if level >= len(self.shape):
            raise invalid_argument(
                f"Encountered list at unexpected level: {level} expected < {len(self.shape)}"
            )
        if len(element) != self.shape[level]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(element)} at level: {level} "
                f"expected size: {self.shape[level]}"
            )

    def _add_leaf(self, leaf: JsonValue, level: int) -> None:
        if level != len(self.shape):
            raise value_error(
                leaf,
                f"found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(self.shape)}",
            )
        self.values.append(_leaf(leaf, self.dtype))

    def array(self, inputs: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the values in ``shape``; extra values of names that a row repeats are cut."""
        try:
            check_rank(shape)
        except InvalidTensor as error:
            raise tensor_error(inputs, name, error) from error
        return fill_shape(_array_of(self.values, self.dtype), shape)


def _shape_of_first(value: JsonValue) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _leaf(leaf: JsonValue, dtype: int) -> Any:
    """Convert a value that is not a list for the dtype."""
    if type(leaf) in _JSON_TYPES.get(dtype, ()) and (
        dtype not in _INTEGER_RANGES or leaf in _INTEGER_RANGES[dtype]
    ):
        return leaf
    if isinstance(leaf, JsonObject):
        if dtype == types_pb2.DT_STRING:
            return read_base64_object(leaf)
    elif dtype not in _JSON_TYPES:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quote_value(leaf)} to type: {dtype_name(dtype)}",
        )
    raise value_error(leaf, f"Type: {type_name(leaf)} is not of expected type: {dtype_name(dtype)}")


def type_name(value: JsonValue) -> str:
    """Return RapidJSON's name of the type of a value."""
    match value:
        case None:
            return "Null"
        case bool():
            return "True" if value else "False"
        case JsonObject():
            return "Object"
        case list():
            return "Array"
        case str():
            return "String"
    return "Number"


def _read_irregular_rows(
    instances: list[JsonValue], inputs: Mapping[str, Any]
) -> dict[str, Tensor]:
    are_objects = _is_named(instances[0])
    tensors: dict[str, _Tensor] = {}
    for index, element in enumerate(instances):
        if _is_named(element) != are_objects:
            kinds = "object but got list" if are_objects else "value/list but got object"
            raise invalid_argument(f"Expecting {kinds} at item {index} of input list")
        members = list(element.items()) if are_objects else [(min(inputs), element)]
        for name, value in members:
            try:
                if name not in inputs:
                    raise invalid_argument(f"JSON object: does not have named input: {name}")
                tensors.setdefault(name, _Tensor(inputs[name].dtype)).add_row(value)
            except StatusError as error:
                key = f" key: {name}" if are_objects else ""
                raise invalid_argument(
                    f"Failed to process element: {index}{key} of 'instances' list. Error: {error}"
                ) from error
        if are_objects and {name for name, _ in members} != set(inputs):
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. "
                f"JSON object: {quote_value(element)} keys must be equal to: "
                f"{','.join(sorted(inputs))}"
            )
    return {
        name: tensor.array(inputs, name, (len(instances), *tensor.shape))
        for name, tensor in tensors.items()
    }


def _is_named(element: JsonValue) -> bool:
    """Whether an instance is an object of named inputs; a base64 object is a value."""
    return isinstance(element, JsonObject) and not is_base64_object(element)


# Arrays to body


def predict_text(outputs: Mapping[str, Tensor], *, is_row: bool) -> str:
    """Format the answer to a predict body: ``predictions`` in row format, else ``outputs``.

    Raises:
        StatusError: JSON does not support a dtype; or, in row format, the outputs have no common
            first dimension.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return _row_text(outputs) if is_row else _column_text(outputs)


def _row_text(outputs: Mapping[str, Tensor]) -> str:
    count = _batch_size(outputs)
    level = 3 if len(outputs) > 1 else 2
    columns = []
    for name, array in outputs.items():
        texts = _leaves(name, array, level + array.ndim - 1)
        prefix = f"{indent(level)}{string_text(name)}: " if len(outputs) > 1 else ""
        columns.append([prefix + text for text in single_line(texts, array.shape)])
    if not count:
        return object_text("predictions", "[]")
    if len(outputs) == 1:
        return object_text("predictions", f"[{', '.join(columns[0])}{indent(1)}]")
    opening, closing = f"{indent(2)}{{", f"{indent(2)}}}"
    rows = f"{closing},{opening}".join(map(",".join, zip(*columns, strict=True)))
    return object_text("predictions", f"[{opening}{rows}{closing}{indent(1)}]")


def _batch_size(outputs: Mapping[str, Tensor]) -> int:
    count = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if count is not None and len(array) != count:
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)
    return count or 0


def _column_text(outputs: Mapping[str, Tensor]) -> str:
    level = 2 if len(outputs) > 1 else 1
    members = []
    for name, array in outputs.items():
        texts = _leaves(name, array, level + array.ndim)
        members.append((name, many_lines(iter(texts), array.shape, level)))
    if len(members) == 1:
        return object_text("outputs", members[0][1])
    inner = f",{indent(2)}".join(f"{string_text(name)}: {text}" for name, text in members)
    return object_text("outputs", f"{{{indent(2)}{inner}{indent(1)}}}")


def _leaves(name: str, array: Tensor, level: int) -> list[str]:
    as_bytes = array.dtype == np.object_ and name.endswith(_BYTES_SUFFIX)
    texts = leaf_texts(array, as_bytes=as_bytes, level=level)
    if texts is None:
        name_of_dtype = dtype_name(dtype_of(array))
        raise invalid_argument(f"Failed to write JSON value for tensor type: {name_of_dtype}")
    return texts
