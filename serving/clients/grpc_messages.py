"""Messages of the gRPC API of TensorFlow Serving. Does not import TensorFlow."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from export.wire import packed_pb2, serving_pb2, tensor_pb2
from kmeans_module.contract import SignatureContract

from ..errors import InvalidInput, ServerError, ServingError, error_of_code
from .operations import GetMetadata, GetStatus, Operation, Predict
from .options import ClientOptions, WireFormat
from .results import ModelMetadata, Prediction, Signature, Tensor, VersionStatus
from .target import Target
from .tensor_sizes import Arrays, input_sizes
from .tensors import (
    dtype_name,
    packed_array,
    read_sizes,
    tensor_bytes,
    tensor_header,
    to_array,
)
from .validation import check_output

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

#: Every dtype of the contract has four bytes.
WIRE_FORMAT: Final = WireFormat(
    "gRPC", ClientOptions.__optional_keys__, value_bytes=4, tells_version=True
)

_CODE_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {code.value[0]: code.name for code in grpc.StatusCode}
)
#: The message of gRPC for an answer above its limit, which has another name in gRPC.
_TOO_LARGE: Final = "CLIENT: Received message larger than max"
#: The message of gRPC for a call beyond its deadline.
DEADLINE_EXCEEDED: Final = "Deadline Exceeded"
#: An internal signature of SavedModel, which a server lists and which cannot be called.
_INIT_OP: Final = "__saved_model_init_op"


#: The server methods that a client calls, with the readers of their answers; ``read_prediction``
#: reads that of ``Predict``, in one of two ways.
METHODS: Final[Mapping[str, Callable[[bytes], Message] | None]] = MappingProxyType(
    {
        PREDICT: None,
        GET_MODEL_STATUS: serving_pb2.GetModelStatusResponse.FromString,
        GET_MODEL_METADATA: serving_pb2.GetModelMetadataResponse.FromString,
    }
)


def build_request(operation: Operation) -> tuple[str, bytes]:
    """Return the method for an operation, and the bytes of the request.

    Raises:
        InvalidInput: the inputs are larger than a message can be.
    """
    match operation:
        case Predict(target, signature, inputs):
            return PREDICT, _predict_request(signature, inputs, target)
        case GetStatus(target):
            status = serving_pb2.GetModelStatusRequest(model_spec=_model_spec(target))
            return GET_MODEL_STATUS, status.SerializeToString()
        case GetMetadata(target):
            metadata = serving_pb2.GetModelMetadataRequest(
                model_spec=_model_spec(target), metadata_field=["signature_def"]
            )
            return GET_MODEL_METADATA, metadata.SerializeToString()


def read_answer(operation: Operation, answer: Any) -> Any:
    """Read the answer to an operation from the answer of its method.

    Raises:
        ServerError: the answer cannot be read, or an output is missing or has another dtype or
            shape.
    """
    match operation:
        case Predict():
            return read_prediction(answer, operation)
        case GetStatus():
            return read_status(answer)
        case GetMetadata(target):
            return read_metadata(answer, target)


def _model_spec(target: Target, signature_name: str = "") -> serving_pb2.ModelSpec:
    spec = serving_pb2.ModelSpec(name=target.model, signature_name=signature_name)
    if target.version is not None:
        spec.version.value = target.version
    elif target.label is not None:
        spec.version_label = target.label
    return spec


def _predict_request(signature: SignatureContract, inputs: Arrays, target: Target) -> bytes:
    """The request for all outputs of a signature, as the bytes of a PredictRequest."""
    pieces: list[Any] = [_model_spec_bytes(target, signature.name)]
    try:
        for name, array in inputs.items():
            if array.dtype == object:
                pieces.append(_text_input(name, array))
                continue
            # The bytes of the array are copied once, when they are joined; protobuf would copy them
            # twice, into the message and out of it.
            pieces += _input_header(name, array.dtype, array.shape), tensor_bytes(array)
    except ValueError as error:
        raise target.error(InvalidInput, str(error)) from None
    return b"".join(pieces)


def _text_input(name: str, array: NDArray[Any]) -> bytes:
    """An entry of ``inputs`` that holds texts."""
    tensor = tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_STRING, string_val=[text.encode() for text in array.tolist()]
    )
    tensor.tensor_shape.dim.add(size=len(array))
    return serving_pb2.PredictRequest(inputs={name: tensor}).SerializeToString()


@lru_cache
def _model_spec_bytes(target: Target, signature_name: str) -> bytes:
    spec = _model_spec(target, signature_name)
    return serving_pb2.PredictRequest(model_spec=spec).SerializeToString()


@lru_cache
def _input_header(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The bytes before the content of an entry of ``inputs``.

    An entry is a message of the name and the tensor; the fields of a message may have any order, so
    the content goes last.
    """
    tensor = tensor_header(dtype, shape).SerializeToString()
    length = math.prod(shape) * dtype.itemsize
    if length:
        tensor += _CONTENT_TAG + _varint(length)
    size = len(tensor) + length
    key = name.encode()
    entry = _KEY_TAG + _varint(len(key)) + key + _VALUE_TAG + _varint(size)
    return _INPUTS_TAG + _varint(len(entry) + size) + entry + tensor


def _tag(number: int) -> bytes:
    """The tag of a field of bytes or of a message; the numbers here are below 16."""
    return bytes([number << 3 | 2])


def _varint(value: int) -> bytes:
    """Encode a number as protobuf does: seven bits in each byte, the lowest bits first."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


_INPUTS_TAG: Final = _tag(serving_pb2.PredictRequest.INPUTS_FIELD_NUMBER)
_CONTENT_TAG: Final = _tag(tensor_pb2.TensorProto.TENSOR_CONTENT_FIELD_NUMBER)
_KEY_TAG, _VALUE_TAG = _tag(1), _tag(2)  # of an entry of any map


def read_prediction(answer: bytes, operation: Predict) -> Prediction:
    """The outputs of the contract, in its order, and the version that computed them."""
    target, signature = operation.target, operation.signature
    try:
        packed = packed_pb2.PackedPredictResponse.FromString(answer)
    except DecodeError as error:
        raise target.error(ServerError, f"the answer cannot be read: {error}") from error
    # A field in several pieces has lost all but the last piece.
    whole = packed.ByteSize() == len(answer)
    known = input_sizes(signature, operation.inputs)
    outputs, tensors = {}, packed.outputs
    for declared in signature.outputs:
        name = declared.name
        tensor = tensors.get(name)
        if tensor is None:
            message = f"the answer to {signature.name} has no output {name}"
            raise target.error(ServerError, message)
        try:
            # Checked before memory is allocated: a few bytes may claim any size.
            shape = read_sizes(tensor.tensor_shape)
            check_output(signature, declared, dtype_name(tensor.dtype), shape, known, target)
            array = packed_array(tensor, shape) if whole else None
            if array is None:
                array = to_array(serving_pb2.PredictResponse.FromString(answer).outputs[name])
        except (DecodeError, ValueError) as error:
            raise target.error(ServerError, f"the output {name} cannot be read: {error}") from error
        outputs[name] = array
    spec = packed.model_spec
    return Prediction(outputs, spec.version.value if spec.HasField("version") else None)


def read_status(answer: serving_pb2.GetModelStatusResponse) -> list[VersionStatus]:
    """The states of a model's versions, in the server's order."""
    states = serving_pb2.ModelVersionStatus.State
    return [
        VersionStatus(
            version=each.version,
            state=states.Name(each.state) if each.state in states.values() else str(each.state),
            error_code=_CODE_NAMES.get(each.status.error_code, str(each.status.error_code)),
            error_message=each.status.error_message,
        )
        for each in answer.model_version_status
    ]


def read_metadata(answer: serving_pb2.GetModelMetadataResponse, target: Target) -> ModelMetadata:
    """The version that answered, and its signatures."""
    try:
        # Any.Unpack requires the full name of the type, and our name differs from TensorFlow's.
        found = tensor_pb2.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    except DecodeError as error:
        message = f"the signatures cannot be read: {error}"
        raise target.error(ServerError, message) from error
    return ModelMetadata(answer.model_spec.version.value, read_signatures(found))


def read_signatures(found: tensor_pb2.SignatureDefMap) -> dict[str, Signature]:
    """The callable signatures, by name."""
    return {
        name: Signature(_read_tensors(each.inputs), _read_tensors(each.outputs))
        for name, each in sorted(found.signature_def.items())
        if name != _INIT_OP
    }


def _read_tensors(tensors: Mapping[str, tensor_pb2.TensorInfo]) -> dict[str, Tensor]:
    return {
        name: Tensor(dtype_name(each.dtype), _read_shape(each.tensor_shape))
        for name, each in sorted(tensors.items())
    }


def _read_shape(shape: tensor_pb2.TensorShapeProto) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)


def error_of(failure: grpc.RpcError, target: Target) -> ServingError:
    """Return the error for a call that gRPC reports as failed."""
    assert isinstance(failure, grpc.Call | grpc.aio.AioRpcError)
    message = failure.details() or failure.code().name
    if _TOO_LARGE in message:
        message += "; send fewer rows in one call, or raise answer_bytes"
    return target.error(error_of_code(failure.code().name, message), message)
