"""Monitor a request from arrival to answer: deadline, metrics, and the log of failures.

Both protocols answer within ``RequestMonitor.observe``: every failure of a request is logged, and a
fault of this server becomes an INTERNAL error of that request only.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from serving.embedded.flat_tensor import Tensor
from serving.embedded.limits import ServerLimits
from serving.embedded.metrics import ServingMetrics
from serving.embedded.model_reference import ModelReference
from serving.embedded.servable import Servable
from serving.embedded.signature import Signature
from serving.embedded.status import Code, StatusError

#: Control characters of terminals: C0, DEL and C1.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: The name in the metrics for further unknown models once there are too many.
_OTHER_MODELS = "(other)"

_logger = logging.getLogger("serving.embedded")


@dataclass
class Request:
    """A request in progress.

    Attributes:
        api: the name of the method in the metrics; empty for status and metadata.
        model: the name of the model.
        deadline: the ``time.monotonic`` at which the run is stopped; None for no deadline.
        abandoned: done when the caller no longer waits; None if this cannot be observed.
        version: the version that answers, after it was found.
        runs: the API and the seconds of each run of a graph.
        examples: the number of tf.Examples that were run.
    """

    api: str
    model: ModelReference = field(default_factory=ModelReference)
    deadline: float | None = None
    abandoned: "Future[None] | None" = None
    version: int | None = None
    runs: list[tuple[str, float]] = field(default_factory=list)
    examples: int = 0

    def run(
        self,
        api: str,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
    ) -> dict[str, Tensor]:
        """Run a signature within the remaining time; see ``Servable.run``."""
        self.check_time()
        began = time.monotonic()
        timeout = 0 if self.deadline is None else max(1, round((self.deadline - began) * 1000))
        results = servable.run(signature, inputs, outputs, timeout_in_ms=timeout)
        self.runs.append((api, time.monotonic() - began))
        return results

    def check_time(self) -> None:
        """Check that time is left and that the caller still waits.

        Raises:
            StatusError: DEADLINE_EXCEEDED, or CANCELLED if the caller no longer waits.
        """
        if self.deadline is not None and self.deadline <= time.monotonic():
            # The message of the session for a timeout inside a run.
            raise StatusError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
        if self.abandoned is not None and self.abandoned.done():
            raise StatusError(Code.CANCELLED, "The caller no longer waits for the answer")


class RequestMonitor:
    """Counts and measures requests, and logs each failed request in one line."""

    def __init__(
        self, metrics: ServingMetrics, is_served: Callable[[str], bool], limits: ServerLimits
    ) -> None:
        """Create a monitor for requests to all models.

        Args:
            metrics: the metrics of the requests.
            is_served: returns whether a model of that name is configured.
            limits: the limits on text of callers in the metrics and the log.
        """
        self._metrics = metrics
        self._is_served = is_served
        self._limits = limits
        self._unknown: set[str] = {""}
        self._lock = threading.Lock()

    @contextmanager
    def observe(
        self, entrypoint: str, request: Request, *, is_counted: bool = True
    ) -> Iterator[None]:
        """Monitor the block that answers a request.

        Args:
            entrypoint: ``GRPC`` or ``REST``.
            request: the request; the block may still set its attributes.
            is_counted: whether TF Serving counts this kind of request.

        Raises:
            StatusError: that of the block; INTERNAL for any other exception, which is logged with
                its traceback.
        """
        began = time.monotonic()
        failure = None
        try:
            yield
        except StatusError as error:
            failure = error
            raise
        except MemoryError as error:
            text = "The request needs more memory than there is"
            failure = StatusError(Code.RESOURCE_EXHAUSTED, text)
            raise failure from error
        except Exception as error:
            _logger.exception("a fault of the server in answering a request")
            text = "Internal error of the server; its log has the cause"
            failure = StatusError(Code.INTERNAL, text)
            raise failure from error
        finally:
            if failure is not None:
                version = request.model.version if request.version is None else request.version
                self._log(entrypoint, failure.code.name, str(failure), request.model.name, version)
            name = self._name_in_metrics(request.model.name)
            if is_counted:
                code = Code.OK if failure is None else failure.code
                seconds = time.monotonic() - began
                self._metrics.request(name, request.api, entrypoint, code, seconds)
            for api, run_seconds in request.runs:
                self._metrics.run(name, api, run_seconds)
            if request.examples:
                self._metrics.examples(name, request.examples)
            del failure  # its traceback refers to this frame, and so to the request's arrays

    def log_refusal(self, what: str, status: HTTPStatus) -> None:
        """Log a request that the HTTP server refused, in one line."""
        self._log("REST", status.phrase, f"{self._cut(what)}: {status.value} {status.phrase}")

    def _log(
        self,
        entrypoint: str,
        code: str,
        reason: str,
        model: str = "",
        version: int | None = None,
    ) -> None:
        reason, model = _one_line(self._cut(reason)), _one_line(self._cut(model)) or "-"
        _logger.warning(
            "request_failed model=%s version=%s %s %s",
            model,
            "-" if version is None else version,
            entrypoint,
            reason,
            extra={
                "event": "request_failed",
                "model": model,
                "version": version,
                "entrypoint": entrypoint,
                "code": code,
                "reason": reason,
            },
        )

    def _cut(self, text: str) -> str:
        limit = self._limits.max_log_text_characters
        return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"

    def _name_in_metrics(self, model: str) -> str:
        """Return the name of a model in the metrics; limited, because callers can invent names."""
        if self._is_served(model):
            return model
        with self._lock:
            if len(self._unknown) <= self._limits.max_unknown_models_in_metrics:
                self._unknown.add(model)
            return model if model in self._unknown else _OTHER_MODELS


def request_line(method: str, target: bytes) -> str:
    """Return the text of an HTTP request for the log."""
    return f"{method} {target.decode('ascii', 'backslashreplace')}"


def _one_line(text: str) -> str:
    """Return text of a caller for the log: one line of UTF-8, with escaped control characters."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", line)
