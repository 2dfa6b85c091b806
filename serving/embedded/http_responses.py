"""Answers that are no JSON: the HTTP server's own error pages, and the page of metrics."""

from http import HTTPStatus

from prometheus_client.registry import Collector
from starlette.responses import Response

from serving.embedded.metrics import metrics_text

#: Where the ASGI scope has the request target as it was sent: its path and query cannot tell
#: whether a "?" without a query was there.
RAW_TARGET = "serving.embedded.raw_target"


def response(status: int, body: bytes, content_type: str) -> Response:
    """An HTTP answer with just this content type, to which starlette would add a charset."""
    return Response(body, status, {"content-type": content_type})


def error_page(status: HTTPStatus) -> Response:
    """libevent's page for what is answered before TF Serving sees it."""
    body = (
        f"<HTML><HEAD>\n<TITLE>{status.value} {status.phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{status.phrase}</H1>\n</BODY></HTML>\n"
    )
    return response(status, body.encode(), "text/html")


class MetricsPage:
    """The page of metrics, at a path."""

    DEFAULT_PATH = "/monitoring/prometheus/metrics"

    def __init__(self, path: str, collector: Collector) -> None:
        self._path = path or self.DEFAULT_PATH
        self._collector = collector

    def is_at(self, target: bytes) -> bool:
        """Whether a target is that of the page, with a query or without."""
        return target.partition(b"#")[0].partition(b"?")[0] == self._path.encode()

    def answer(self, target: bytes) -> Response:
        """The page; a query is refused as TF Serving does."""
        path = target.decode("ascii")
        if path != self._path:
            text = f"Unexpected path: {path}. Should be {self._path}"
            return response(HTTPStatus.BAD_REQUEST, text.encode(), "text/plain")
        page = metrics_text(self._collector).encode("utf-8", "surrogateescape")
        return response(HTTPStatus.OK, page, "text/plain")
