"""Answers other than JSON: error pages of the HTTP server, and the page of metrics."""

from http import HTTPStatus

from prometheus_client.registry import Collector
from starlette.responses import Response

from serving.embedded.metrics import metrics_text

#: The key of the raw request target in the ASGI scope: path and query do not show a "?" without a
#: query.
RAW_TARGET = "serving.embedded.raw_target"


def response(status: int, body: bytes, content_type: str) -> Response:
    """Make an HTTP answer with exactly this content type; starlette would add a charset."""
    return Response(body, status, {"content-type": content_type})


def error_page(status: HTTPStatus) -> Response:
    """Make libevent's error page, for requests that do not reach TF Serving."""
    body = (
        f"<HTML><HEAD>\n<TITLE>{status.value} {status.phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{status.phrase}</H1>\n</BODY></HTML>\n"
    )
    return response(status, body.encode(), "text/html")


class MetricsPage:
    """The page of metrics at a path."""

    DEFAULT_PATH = "/monitoring/prometheus/metrics"

    def __init__(self, path: str, collector: Collector) -> None:
        self._path = path or self.DEFAULT_PATH
        self._collector = collector

    def is_at(self, target: bytes) -> bool:
        """Whether a target is that of the page, with or without a query."""
        return target.partition(b"#")[0].partition(b"?")[0] == self._path.encode()

    def answer(self, target: bytes) -> Response:
        """Return the page; a query is refused, as in TF Serving."""
        path = target.decode("ascii")
        if path != self._path:
            text = f"Unexpected path: {path}. Should be {self._path}"
            return response(HTTPStatus.BAD_REQUEST, text.encode(), "text/plain")
        page = metrics_text(self._collector).encode("utf-8", "surrogateescape")
        return response(HTTPStatus.OK, page, "text/plain")
