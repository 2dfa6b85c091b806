"""The gRPC services: PredictionService and ModelService.

A thread of the pool of the server handles a call, from parsing the request to the bytes of the
answer.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)

from serving.embedded.examples import classify, multi_inference, regress
from serving.embedded.model_config import check_model_config_list
from serving.embedded.model_info import model_metadata, model_status
from serving.embedded.model_reference import ModelReference
from serving.embedded.prediction import DEFAULT_SIGNATURE, predict
from serving.embedded.request_monitor import Request, RequestMonitor
from serving.embedded.servable import Servable
from serving.embedded.served_models import ServedModels
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.tensor_proto import proto_of

Context = grpc.ServicerContext

#: The calls that TF Serving counts in its metrics.
_METHODS_IN_METRICS = {"Predict", "Classify", "Regress"}
_RELOAD = "HandleReloadConfigRequest"
#: 68 years. A longer time means no deadline (gRPC reports it as billions of years) and exceeds
#: TensorFlow's range.
_MAX_SECONDS_LEFT = 2**31


def _predict(models: ServedModels, request: Request, message: Any) -> Any:
    name = message.model_spec.signature_name
    with models.servable(request.model) as servable:
        request.version = servable.version
        outputs = predict(request, servable, name, message.inputs, message.output_filter)
    response = predict_pb2.PredictResponse(model_spec=_model_spec(servable, name))
    for alias, array in outputs.items():
        response.outputs[alias].CopyFrom(proto_of(array))
    return response


def _run_examples(
    run: Callable[[Request, Servable, str, Any], Any],
    response: Callable[..., Any],
    models: ServedModels,
    request: Request,
    message: Any,
) -> Any:
    name = message.model_spec.signature_name
    with models.servable(request.model) as servable:
        request.version = servable.version
        result = run(request, servable, name, message.input)
    return response(result=result, model_spec=_model_spec(servable, name))


def _multi_inference(models: ServedModels, request: Request, message: Any) -> Any:
    if message.tasks:
        request.model = ModelReference.of(message.tasks[0].model_spec)
    with models.servable(request.model) as servable:
        request.version = servable.version
        results = multi_inference(request, servable, message)
    for task, result in zip(message.tasks, results, strict=True):
        result.model_spec.CopyFrom(_model_spec(servable, task.model_spec.signature_name))
    return inference_pb2.MultiInferenceResponse(results=results)


def _model_metadata(models: ServedModels, request: Request, message: Any) -> Any:
    return model_metadata(models, request.model, message.metadata_field)


def _model_status(models: ServedModels, request: Request, _: Any) -> Any:
    return model_status(models, request.model)


def _reload_config(models: ServedModels, request: Request, message: Any) -> Any:
    if message.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    config = models.select(message.config.model_config_list)
    check_model_config_list(config, models.names())
    models.reconfigure(config, request.abandoned)
    return model_management_pb2.ReloadConfigResponse(status={})


#: The handlers of the methods of the services; a StatusError becomes the answer.
_METHODS: dict[str, Callable[[ServedModels, Request, Any], Any]] = {
    "Predict": _predict,
    "Classify": partial(_run_examples, classify, classification_pb2.ClassificationResponse),
    "Regress": partial(_run_examples, regress, regression_pb2.RegressionResponse),
    "MultiInference": _multi_inference,
    "GetModelMetadata": _model_metadata,
    "GetModelStatus": _model_status,
    _RELOAD: _reload_config,
}


def _model_spec(servable: Servable, signature_name: str) -> Any:
    spec = model_pb2.ModelSpec(
        name=servable.model, signature_name=signature_name or DEFAULT_SIGNATURE
    )
    spec.version.value = servable.version
    return spec


class _NotParsed(StatusError):
    """A request that is not a message of its method; gRPC itself refuses it without a message."""

    @property
    def grpc_message(self) -> str:
        return ""


class _UnknownMethods(grpc.GenericRpcHandler):
    """Refuses every method without a message, like gRPC in C++."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    def _refuse(self, raw: bytes, context: Context) -> bytes:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        raise AssertionError("abort raises")


def add_services(
    server: grpc.Server,
    models: ServedModels,
    monitor: RequestMonitor,
    reloading: ThreadPoolExecutor,
) -> None:
    """Add the services of the models to a server; services that are added later are unreachable.

    The threads of ``reloading`` wait for the models of a new config; those of the server do all
    other work.
    """
    for service in (
        prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
        model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
    ):
        handlers: dict[str, Any] = {}
        for method in service.methods:
            if method.name in _METHODS:
                answer = partial(_answer, method, models, monitor)
                handle: Any = partial(_handle, method.name, answer)
                if method.name == _RELOAD:
                    handle.experimental_thread_pool = reloading
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(handle)
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))
    server.add_generic_rpc_handlers((_UnknownMethods(),))


def _handle(
    name: str, answer: Callable[[Request, bytes], bytes], raw: bytes, context: Context
) -> bytes:
    """Answer a call; an error becomes the status of the call."""
    left = context.time_remaining()
    deadline = None if left is None or left >= _MAX_SECONDS_LEFT else time.monotonic() + left
    abandoned: Future[None] = Future()
    context.add_callback(partial(abandoned.set_result, None))
    try:
        return answer(Request(name, deadline=deadline, abandoned=abandoned), raw)
    except StatusError as error:
        code, message = error.code.grpc_code, error.grpc_message
    context.abort(code, message)
    raise AssertionError("abort raises")


def _answer(
    method: Any, models: ServedModels, monitor: RequestMonitor, request: Request, raw: bytes
) -> bytes:
    with monitor.observe("GRPC", request, is_counted=method.name in _METHODS_IN_METRICS):
        try:
            message: Any = GetMessageClass(method.input_type).FromString(raw)
        except DecodeError as error:
            reason = f"The request is no {method.input_type.full_name}"
            raise _NotParsed(Code.INTERNAL, reason) from error
        if "model_spec" in method.input_type.fields_by_name:
            if not message.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            request.model = ModelReference.of(message.model_spec)
        response: bytes = _METHODS[method.name](models, request, message).SerializeToString()
        return response
