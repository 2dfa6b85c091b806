"""Classify and regress over REST: convert a JSON body to an Input message, and results to JSON."""

from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow_serving.apis import input_pb2

from serving.embedded.base64_strings import is_base64_object, read_base64_object
from serving.embedded.json_parser import MISSING, JsonObject, JsonValue
from serving.embedded.json_predict import type_name
from serving.embedded.json_writer import (
    float_texts,
    flush_subnormals,
    indent,
    object_text,
    string_text,
    value_error,
)
from serving.embedded.status import invalid_argument

_MAX_INT64 = 2**63 - 1


def read_examples_body(document: JsonObject) -> Any:
    """Read the Input message of a classify or regress body.

    Raises:
        StatusError: with the message of TF Serving (which names classify for regress too).
    """
    message = input_pb2.Input()
    context, examples = document.find("context"), document.find("examples")
    if context is not MISSING:
        message.example_list_with_context.context.CopyFrom(_example(context))
    if examples is MISSING:
        raise value_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise value_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise value_error(document, "'examples' value is an empty array")
    converted = [_example(example) for example in examples]
    if context is not MISSING:
        message.example_list_with_context.examples.extend(converted)
    else:
        message.example_list.examples.extend(converted)
    return message


def _example(value: JsonValue) -> Any:
    if not isinstance(value, JsonObject):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = feature_pb2.Feature()
        for element in content if isinstance(content, list) else [content]:
            _add_element(feature, name, element)
        # A message cannot contain a name that is not UTF-8, and no model has such a feature.
        key = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        example.features.feature[key].CopyFrom(feature)
    return example


def _add_element(feature: Any, name: str, element: JsonValue) -> None:
    """Add a value to a feature; the first value determines the kind of all."""
    match element:
        case bool():
            _list(feature, name, "int64_list").append(int(element))
        case float():
            _list(feature, name, "float_list").append(_float32(element))
        case int():
            values = _list(feature, name, "int64_list")
            if element > _MAX_INT64:
                raise invalid_argument(
                    f"Feature: {name} has uint64_t element. Only int64_t is supported."
                )
            values.append(element)
        case str():
            encoded = element.encode("utf-8", "surrogateescape")
            _list(feature, name, "bytes_list").append(encoded)
        case JsonObject() if is_base64_object(element):
            _list(feature, name, "bytes_list").append(read_base64_object(element))
        case _:
            raise invalid_argument(
                f"Feature: {name} has element with unexpected JSON type: {type_name(element)}"
            )


def _list(feature: Any, name: str, kind: str) -> Any:
    given = feature.WhichOneof("kind")
    if given not in {None, kind}:
        expected = given.removesuffix("_list")
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {expected}"
        )
    return getattr(feature, kind).value


def _float32(value: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(flush_subnormals(np.array(value, np.float32)))


def classification_text(result: Any) -> str:
    """Format the answer to classify: for each example a list of [label, score]."""
    rows = []
    for classifications in result.classifications:
        scores = float_texts(np.array([c.score for c in classifications.classes], np.float32))
        pairs = [
            f"[{string_text(entry.label)}, {score}]"
            for entry, score in zip(classifications.classes, scores, strict=True)
        ]
        rows.append(f"[{', '.join(pairs)}]")
    return object_text("results", f"[{', '.join(rows)}{indent(1)}]")


def regression_text(result: Any) -> str:
    """Format the answer to regress: a number for each example."""
    values = np.array([regression.value for regression in result.regressions], np.float32)
    return object_text("results", f"[{', '.join(float_texts(values))}]")
