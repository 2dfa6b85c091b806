"""Classify and Regress: signatures that take serialized tf.Examples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    regression_pb2,
)

from serving.embedded.prediction import DEFAULT_SIGNATURE
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.tensor_proto import shape_text

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_INPUTS = "inputs"
_CLASSES = "classes"
_SCORES = "scores"
_OUTPUTS = "outputs"


def classify(request: Request, servable: Servable, signature_name: str, examples: Any) -> Any:
    """The ClassificationResult of an Input message.

    Raises:
        StatusError: no such signature, a signature of another kind, no examples, or the graph's
            own error.
    """
    signature = _signature(servable, signature_name)
    outputs = _check_classification(signature)
    run = _ExampleRun("Classify", request, servable, _serialize_examples(examples))
    return _classification(run, signature, outputs)


def regress(request: Request, servable: Servable, signature_name: str, examples: Any) -> Any:
    """The RegressionResult of an Input message; errors as those of ``classify``."""
    signature = _signature(servable, signature_name)
    _check_regression(signature)
    run = _ExampleRun("Regress", request, servable, _serialize_examples(examples))
    return _regression(run, signature)


def multi_inference(request: Request, servable: Servable, message: Any) -> list[Any]:
    """An InferenceResult, without its model_spec, per task of a MultiInferenceRequest.

    All tasks are tasks before the first one runs.
    """
    tasks = []
    seen: set[str] = set()
    for task in message.tasks:
        _check_task(task, message.tasks[0].model_spec.name, seen)
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        tasks.append((task.method_name, signature, _check_method(task.method_name, signature)))
    run = _ExampleRun("MultiInference", request, servable, _serialize_examples(message.input))
    results = []
    for method, signature, outputs in tasks:
        result = inference_pb2.InferenceResult()
        if method == CLASSIFY_METHOD:
            answer = _classification(run, signature, outputs)
            result.classification_result.CopyFrom(answer)
        else:
            result.regression_result.CopyFrom(_regression(run, signature))
        results.append(result)
    return results


def _check_task(task: Any, model: str, seen: set[str]) -> None:
    if not task.model_spec.name:
        raise invalid_argument("Found ModelSpec with an empty model name.")
    if task.model_spec.name != model:
        raise invalid_argument(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name."
        )
    name = task.model_spec.signature_name or DEFAULT_SIGNATURE
    if name in seen:
        raise invalid_argument(f"Duplicate evaluation of signature: {name}")
    seen.add(name)


def _check_method(method: str, signature: Any) -> list[str]:
    if method == CLASSIFY_METHOD:
        return _check_classification(signature)
    if method == REGRESS_METHOD:
        _check_regression(signature)
        return [_OUTPUTS]
    raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")


def _signature(servable: Servable, signature_name: str) -> Any:
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return signature


def _check_classification(signature: Any) -> list[str]:
    """The outputs that a classification signature has, of classes and scores."""
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in {1, 2}:
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if _INPUTS not in signature.inputs:
        raise _precondition("No classification inputs found in SignatureDef: ", signature)
    outputs = [name for name in (_CLASSES, _SCORES) if name in signature.outputs]
    if not outputs:
        raise _precondition(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: ',
            signature,
        )
    return outputs


def _check_regression(signature: Any) -> None:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise _precondition("No regression inputs found in SignatureDef: ", signature)
    if _OUTPUTS not in signature.outputs:
        raise _precondition("No regression outputs found in SignatureDef: ", signature)


def _precondition(text: str, signature: Any) -> StatusError:
    # The words before the fields are protobuf's mark of a text that is no format to parse.
    fields = text_format.MessageToString(signature)
    return invalid_argument(f"{text}goo.gle/debugonly  \n{fields}")


def _serialize_examples(examples: Any) -> npt.NDArray[Any]:
    """The examples of an Input message, serialized, of shape [n].

    The context goes before each example: protobuf merges concatenated messages, and what comes
    later wins.
    """
    context = b""
    messages: Iterable[Any] = ()
    match examples.WhichOneof("kind"):
        case "example_list":
            messages = examples.example_list.examples
        case "example_list_with_context":
            messages = examples.example_list_with_context.examples
            context = examples.example_list_with_context.context.SerializeToString()
    strings = [context + example.SerializeToString() for example in messages]
    if not strings:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(strings), np.object_)
    array[:] = strings
    return array


@dataclass(frozen=True)
class _ExampleRun:
    """The examples of a request, of shape [n], and what runs them."""

    api: str
    request: Request
    servable: Servable
    examples: npt.NDArray[Any]

    def outputs(self, signature: Any, names: list[str]) -> dict[str, npt.NDArray[Any]]:
        inputs = {_INPUTS: self.examples}
        arrays = self.request.run(self.api, self.servable, signature, inputs, names)
        self.request.examples = len(self.examples)  # once, for however many tasks
        return arrays


def _classification(run: _ExampleRun, signature: Any, outputs: list[str]) -> Any:
    arrays = run.outputs(signature, outputs)
    examples = run.examples
    for name, dtype in ((_CLASSES, tf.string), (_SCORES, tf.float32)):
        if name in arrays:
            _check_class_tensor(name, dtype, arrays[name], len(examples))
    classes, scores = arrays.get(_CLASSES), arrays.get(_SCORES)
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    columns = next(iter(arrays.values())).shape[1]
    for row in range(len(examples)):
        classifications = result.classifications.add()
        for column in range(columns):
            entry = classifications.classes.add()
            if classes is not None:
                entry.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                entry.score = scores[row, column]
    return result


def _check_class_tensor(name: str, dtype: Any, array: npt.NDArray[Any], rows: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}"
        )
    _check_output_dtype(f"{name} Tensor", dtype, array)
    if len(array) != rows:
        raise invalid_argument(f"Expected {name} output batch size of {rows}. Got: {len(array)}")


def _check_output_dtype(what: str, dtype: Any, array: npt.NDArray[Any]) -> None:
    given = tf.as_dtype(array.dtype)
    if given != dtype:
        name = types_pb2.DataType.Name
        raise invalid_argument(
            f"Expected {what} of {name(dtype.as_datatype_enum)}. Got: "
            f"{name(given.as_datatype_enum)}"
        )


def _regression(run: _ExampleRun, signature: Any) -> Any:
    output = run.outputs(signature, [_OUTPUTS])[_OUTPUTS]
    examples = run.examples
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(output.shape)}"
        )
    if len(output) != len(examples):
        raise invalid_argument(
            f"Input batch size did not match output batch size: {len(examples)} vs. {len(output)}"
        )
    _check_output_dtype("output Tensor", tf.float32, output)
    result = regression_pb2.RegressionResult()
    for value in output.ravel().tolist():
        result.regressions.add(value=value)
    return result
