"""Classify and Regress: signatures over serialized tf.Examples."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving.embedded.prediction import DEFAULT_SIGNATURE
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable, check_inputs
from serving.embedded.signature import Signature
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.tensor_proto import shape_text

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_INPUTS = "inputs"
_CLASSES = "classes"
_SCORES = "scores"
_OUTPUTS = "outputs"


def classify(request: Request, servable: Servable, signature_name: str, examples: Any) -> Any:
    """Return the ClassificationResult of an Input message.

    Raises:
        StatusError: an unknown signature, a signature of another kind, no examples, or an error of
            the graph.
    """
    return _run_one("Classify", CLASSIFY_METHOD, request, servable, signature_name, examples)


def regress(request: Request, servable: Servable, signature_name: str, examples: Any) -> Any:
    """Return the RegressionResult of an Input message; errors as in ``classify``."""
    return _run_one("Regress", REGRESS_METHOD, request, servable, signature_name, examples)


def _run_one(
    api: str, method: str, request: Request, servable: Servable, signature_name: str, examples: Any
) -> Any:
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    outputs = _check_signature(method, signature)
    strings = _serialize_examples(examples)
    return _run(api, request, servable, strings, method, signature, outputs)


def multi_inference(request: Request, servable: Servable, message: Any) -> list[Any]:
    """Return an InferenceResult without model_spec for each task of a MultiInferenceRequest.

    All tasks are checked before the first one runs.
    """
    tasks = []
    seen: set[str] = set()
    for task in message.tasks:
        _check_task(task, message.tasks[0].model_spec.name, seen)
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = servable.signatures.get(name)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        tasks.append((task.method_name, signature, _check_signature(task.method_name, signature)))
    strings = _serialize_examples(message.input)
    results = []
    for method, signature, outputs in tasks:
        field = "classification_result" if method == CLASSIFY_METHOD else "regression_result"
        result = _run("MultiInference", request, servable, strings, method, signature, outputs)
        results.append(inference_pb2.InferenceResult(**{field: result}))
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


def _check_signature(method: str, signature: Signature) -> list[str]:
    """Check that a signature fits the method; return the outputs that the method runs."""
    if method not in {CLASSIFY_METHOD, REGRESS_METHOD}:
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")
    is_classification = method == CLASSIFY_METHOD
    kind = "classification" if is_classification else "regression"
    number = len(signature.outputs)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if is_classification and number not in {1, 2}:
        raise invalid_argument(f"Expected one or two output Tensors, found {number}")
    if not is_classification and number != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise _precondition(f"No {kind} inputs found in SignatureDef: ", signature)
    known = (_CLASSES, _SCORES) if is_classification else (_OUTPUTS,)
    outputs = [name for name in known if name in signature.outputs]
    if outputs:
        return outputs
    if not is_classification:
        raise _precondition("No regression outputs found in SignatureDef: ", signature)
    raise _precondition(
        "Expected classification signature outputs to contain at least one of "
        f'"{_CLASSES}" or "{_SCORES}". Signature was: ',
        signature,
    )


def _precondition(text: str, signature: Signature) -> StatusError:
    # The words before the fields are protobuf's marker of text that must not be parsed.
    fields = text_format.MessageToString(signature.message)
    return invalid_argument(f"{text}goo.gle/debugonly  \n{fields}")


def _serialize_examples(examples: Any) -> npt.NDArray[Any]:
    """Serialize the examples of an Input message, shape [n].

    The context precedes each example: protobuf merges concatenated messages, and later fields
    override earlier ones.
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
    return np.array(strings, np.object_)


def _run(
    api: str,
    request: Request,
    servable: Servable,
    examples: npt.NDArray[Any],
    method: str,
    signature: Signature,
    outputs: list[str],
) -> Any:
    check_inputs(signature, {_INPUTS: types_pb2.DT_STRING})
    arrays: dict[str, Any] = request.run(api, servable, signature, {_INPUTS: examples}, outputs)
    request.examples = len(examples)  # once for all tasks
    read = _classification if method == CLASSIFY_METHOD else _regression
    return read(arrays, len(examples))


def _classification(arrays: dict[str, npt.NDArray[Any]], rows: int) -> Any:
    for name, dtype in ((_CLASSES, tf.string), (_SCORES, tf.float32)):
        if name in arrays:
            _check_class_tensor(name, dtype, arrays[name], rows)
    classes, scores = arrays.get(_CLASSES), arrays.get(_SCORES)
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    columns = next(iter(arrays.values())).shape[1]
    for row in range(rows):
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


def _regression(arrays: dict[str, npt.NDArray[Any]], rows: int) -> Any:
    output = arrays[_OUTPUTS]
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(output.shape)}"
        )
    if len(output) != rows:
        raise invalid_argument(
            f"Input batch size did not match output batch size: {rows} vs. {len(output)}"
        )
    _check_output_dtype("output Tensor", tf.float32, output)
    result = regression_pb2.RegressionResult()
    for value in output.ravel().tolist():
        result.regressions.add(value=value)
    return result
