"""The REST API: an ASGI application.

A thread of the pool handles a request, from parsing the body to the text of the answer, so that the
event loop is free for the sockets.
"""

import asyncio
import re
import time
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.embedded.examples import classify, regress
from serving.embedded.http_responses import RAW_TARGET, MetricsPage, error_page, response
from serving.embedded.json_examples import (
    classification_text,
    read_examples_body,
    regression_text,
)
from serving.embedded.json_parser import JsonObject
from serving.embedded.json_predict import predict_text, read_predict_body, read_signature_name
from serving.embedded.json_writer import object_text, string_text
from serving.embedded.limits import ServerLimits
from serving.embedded.model_info import SIGNATURE_DEF, model_metadata, model_status
from serving.embedded.prediction import DEFAULT_SIGNATURE, predict
from serving.embedded.request_monitor import Request, RequestMonitor, request_line
from serving.embedded.rest_bodies import BodyRefused, inflate, read_document, receive_body
from serving.embedded.rest_paths import VersionNotNumeric, is_api, is_uri, route
from serving.embedded.served_models import ServedModels
from serving.embedded.status import Code, StatusError, invalid_argument

_JSON = "application/json"
#: The content type of libevent if the handler sets none.
_DEFAULT_TYPE = "text/html; charset=ISO-8859-1"
_METHODS = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}
#: The part of a URI before its path, which libevent removes.
_BEFORE_PATH = re.compile(rb"(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?")


class RestApplication:
    """ASGI application of the models' REST API, and of the page of metrics."""

    def __init__(
        self,
        models: ServedModels,
        monitor: RequestMonitor,
        pool: Executor,
        *,
        timeout: float | None,
        limits: ServerLimits,
        metrics_page: MetricsPage | None,
    ) -> None:
        """Create the application of the models.

        Args:
            models: the served models.
            monitor: the monitor of every request.
            pool: the threads that handle requests.
            timeout: the seconds after which the run of a request is stopped; None for no limit.
            limits: the limits on bodies.
            metrics_page: the page of metrics; None when it is off.
        """
        self._models = models
        self._monitor = monitor
        self._pool = pool
        self._timeout = timeout
        self._limits = limits
        self._metrics_page = metrics_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope, receive)
        abandoned: Future[None] = Future()
        try:
            body = await receive_body(request, self._limits)
            # The time of the sender does not count as time of the server.
            deadline = None if self._timeout is None else time.monotonic() + self._timeout
            answer = await self._answer(request, body, deadline, abandoned)
        except ClientDisconnect:
            return
        except BodyRefused as refused:
            answer = self._refuse(refused.status, request)
            answer.headers["connection"] = "close"  # the body is not read
        except asyncio.CancelledError:
            abandoned.set_result(None)
            answer = self._refuse_at_stop(request)
        await answer(scope, receive, send)

    async def _answer(
        self,
        request: HttpRequest,
        body: bytes,
        deadline: float | None,
        abandoned: "Future[None]",
    ) -> Response:
        target = _target(request.scope)
        page = self._metrics_page
        if request.method not in _METHODS:
            return self._refuse(HTTPStatus.NOT_IMPLEMENTED, request)
        if not is_uri(target):
            return self._refuse(HTTPStatus.BAD_REQUEST, request)
        if page is not None and page.is_at(target):
            return page.answer(target)
        if not is_api(target):
            return self._refuse(HTTPStatus.NOT_FOUND, request)
        if request.method == "OPTIONS":
            return self._preflight(request.headers.get("origin", ""))
        encoding = request.headers.get("content-encoding", "")
        work = Request("", deadline=deadline, abandoned=abandoned)
        process = partial(self._process, work, request.method, target, body, encoding)
        return await asyncio.get_running_loop().run_in_executor(self._pool, process)

    def _process(
        self, request: Request, method: str, target: bytes, body: bytes, encoding: str
    ) -> Response:
        try:
            with self._monitor.observe("REST", request):
                action, request.model = route(method, target)
                text = self._handle(request, action, body, encoding)
        except VersionNotNumeric as error:
            return response(error.code.http_status, b"", _JSON)
        except StatusError as error:
            text = object_text("error", string_text(error.message))
            return _json(error.code.http_status, text)
        return _json(HTTPStatus.OK, text)

    def _handle(self, request: Request, action: str, body: bytes, encoding: str) -> str:
        if action == "status":
            return _message_text(model_status(self._models, request.model))
        if action == "metadata":
            return _metadata_text(model_metadata(self._models, request.model, [SIGNATURE_DEF]))
        request.api = action
        document = read_document(
            inflate(body, encoding, self._limits), request.check_time, self._limits
        )
        name = read_signature_name(document)
        if action == "predict":
            return self._predict(request, document, name)
        return self._examples(request, document, name)

    def _predict(self, request: Request, document: JsonObject, name: str) -> str:
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
            if signature is None:
                raise invalid_argument(
                    f'Serving signature name: "{name or DEFAULT_SIGNATURE}" '
                    "not found in signature def"
                )
            arrays, is_row = read_predict_body(document, name, signature.inputs)
            outputs = predict(request, servable, name, arrays)
        return predict_text(outputs, is_row=is_row)

    def _examples(self, request: Request, document: JsonObject, name: str) -> str:
        examples = read_examples_body(document)
        with self._models.servable(request.model) as servable:
            request.version = servable.version
            if request.api == "classify":
                return classification_text(classify(request, servable, name, examples))
            return regression_text(regress(request, servable, name, examples))

    def _preflight(self, origin: str) -> Response:
        """Answer OPTIONS, which is counted as a request without a model."""
        with suppress(StatusError), self._monitor.observe("REST", Request("")):
            if "http://" not in origin and "https://" not in origin:
                reason = "OPTIONS without an Origin of http:// or https://"
                raise StatusError(Code.FAILED_PRECONDITION, reason)
            return response(HTTPStatus.OK, b"", _DEFAULT_TYPE)
        return response(HTTPStatus.BAD_REQUEST, b"", _DEFAULT_TYPE)

    def _refuse(self, status: HTTPStatus, request: HttpRequest) -> Response:
        """Answer a request that the HTTP server refuses."""
        self._monitor.log_refusal(request_line(request.method, _target(request.scope)), status)
        return error_page(status)

    def _refuse_at_stop(self, request: HttpRequest) -> Response:
        """Answer a request that was not complete at the end of the grace period of a stop."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        self._monitor.log_refusal(request_line(request.method, _target(request.scope)), status)
        return _json(status, object_text("error", string_text("The server is stopping")))


def _target(scope: Scope) -> bytes:
    """Return path and query as sent, also for an absolute URI."""
    return _BEFORE_PATH.sub(b"", scope[RAW_TARGET], count=1)


def _json(status: int, text: str) -> Response:
    return response(status, text.encode("utf-8", "surrogateescape"), _JSON)


def _message_text(message: Any) -> str:
    """Format a message in the layout of protobuf's C++ JSON writer."""
    text: str = json_format.MessageToJson(
        message,
        always_print_fields_with_no_presence=True,
        preserving_proto_field_name=True,
        indent=1,
        ensure_ascii=False,
    )
    return text + "\n"


def _metadata_text(metadata: Any) -> str:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    metadata.metadata[SIGNATURE_DEF].Unpack(signatures)
    return (
        f'{{\n"model_spec":{_message_text(metadata.model_spec)},\n'
        f'"metadata": {{"signature_def": {_message_text(signatures)}}}\n}}\n'
    )
