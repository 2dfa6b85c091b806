"""The gRPC services: PredictionService and ModelService.

A call is process as bytes to bytes in a thread of the pool, from the parsing of the request to the
bytes of the answer, so that the event loop is free for the sockets.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

import grpc.aio
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

Context = grpc.aio.ServicerContext[Any, Any]


_SERVICES = (
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"],
)
#: The calls that TF Serving counts in its metrics.
_COUNTED = {"Predict", "Classify", "Regress"}
_RELOAD = "HandleReloadConfigRequest"


def add_services(
    server: grpc.aio.Server,
    models: ServedModels,
    monitor: RequestMonitor,
    pool: Executor,
    reloading: Executor,
) -> None:
    """Let a server answer for the models.

    Args:
        server: the server.
        models: the served models.
        monitor: what sees every request.
        pool: the threads that do the work.
        reloading: the threads that wait for the models of a new config.
    """
    answers = _Answers(models).by_method()
    for service in _SERVICES:
        handlers: dict[str, Any] = {}
        for method in service.methods:
            if method.name in answers:
                answer = partial(_answer, method, answers[method.name], monitor)
                handle = partial(
                    _handle, method.name, answer, reloading if method.name == _RELOAD else pool
                )
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(handle)
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        server.add_generic_rpc_handlers((generic,))


async def _handle(
    name: str,
    answer: Callable[[Request, bytes], bytes],
    pool: Executor,
    raw: bytes,
    context: Context,
) -> bytes:
    """Answer a call in a thread of the pool; an error is the call's status."""
    left = context.time_remaining()
    deadline = None if left is None else time.monotonic() + left
    abandoned: Future[None] = Future()
    request = Request(name, deadline=deadline, abandoned=abandoned)
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, answer, request, raw)
    except asyncio.CancelledError:
        abandoned.set_result(None)
        raise
    except StatusError as error:
        await context.abort(error.code.grpc_code, error.grpc_message)
    raise AssertionError("abort raises")


def _answer(
    method: Any,
    answer: Callable[[Request, Any], Any],
    monitor: RequestMonitor,
    request: Request,
    raw: bytes,
) -> bytes:
    with monitor.observe("GRPC", request, is_counted=method.name in _COUNTED):
        try:
            message = GetMessageClass(method.input_type).FromString(raw)
        except DecodeError as error:
            reason = f"The request is no {method.input_type.full_name}"
            raise StatusError(Code.INTERNAL, reason) from error
        response: bytes = answer(request, message).SerializeToString()
        return response


class _Answers:
    """What each method answers; a StatusError is its answer too."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def by_method(self) -> dict[str, Callable[[Request, Any], Any]]:
        """What answers a method, by its name in the service."""
        return {
            "Predict": self.predict,
            "Classify": self.classify,
            "Regress": self.regress,
            "MultiInference": self.multi_inference,
            "GetModelMetadata": self.model_metadata,
            "GetModelStatus": self.status,
            _RELOAD: self.reload_config,
        }

    def predict(self, request: Request, message: Any) -> Any:
        _set_model(request, message)
        name = message.model_spec.signature_name
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            outputs = predict(request, servable, name, message.inputs, message.output_filter)
        response = predict_pb2.PredictResponse(model_spec=_model_spec(servable, name))
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(proto_of(array))
        return response

    def classify(self, request: Request, message: Any) -> Any:
        _set_model(request, message)
        name = message.model_spec.signature_name
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            result = classify(request, servable, name, message.input)
        return classification_pb2.ClassificationResponse(
            result=result, model_spec=_model_spec(servable, name)
        )

    def regress(self, request: Request, message: Any) -> Any:
        _set_model(request, message)
        name = message.model_spec.signature_name
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            result = regress(request, servable, name, message.input)
        return regression_pb2.RegressionResponse(
            result=result, model_spec=_model_spec(servable, name)
        )

    def multi_inference(self, request: Request, message: Any) -> Any:
        if message.tasks:
            request.model = ModelReference.of(message.tasks[0].model_spec)
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            results = multi_inference(request, servable, message)
        response = inference_pb2.MultiInferenceResponse()
        for task, result in zip(message.tasks, results, strict=True):
            name = task.model_spec.signature_name
            result.model_spec.CopyFrom(_model_spec(servable, name))
            response.results.append(result)
        return response

    def model_metadata(self, request: Request, message: Any) -> Any:
        _set_model(request, message)
        return model_metadata(self._models, request.model, message.metadata_field)

    def status(self, request: Request, message: Any) -> Any:
        _set_model(request, message)
        return model_status(self._models, request.model)

    def reload_config(self, request: Request, message: Any) -> Any:
        if message.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        check_model_config_list(message.config.model_config_list, self._models.names())
        self._models.reconfigure(message.config.model_config_list, request.abandoned)
        return model_management_pb2.ReloadConfigResponse(status={})


def _set_model(request: Request, message: Any) -> None:
    if not message.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    request.model = ModelReference.of(message.model_spec)


def _model_spec(servable: Servable, signature_name: str) -> Any:
    spec = model_pb2.ModelSpec(
        name=servable.model, signature_name=signature_name or DEFAULT_SIGNATURE
    )
    spec.version.value = servable.version
    return spec
