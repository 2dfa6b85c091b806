"""Limits on resources of the server, so that no single caller can use all of them."""

import resource
from dataclasses import dataclass, fields

from serving.embedded.errors import InvalidOptions
from serving.embedded.option_ranges import MAX_COUNT, MAX_LARGE

_MIB = 2**20
#: REST and gRPC each get a third of the file descriptors; the rest is for models, logs and the
#: program.
_SHARES = 3
_MOST_CONNECTIONS = 100_000


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Limits that TensorFlow Serving does not have; each is also a flag of ``tfkmeans serve``.

    Attributes:
        rest_api_max_connections: the most concurrent REST connections; 0 is a third of the file
            descriptors of the process. Further connections get 503 and are closed.
        grpc_max_connections: the most concurrent gRPC connections; 0 as above. Further connections
            are closed.
        rest_api_max_body_bytes: the most bytes of a REST body as sent. Larger bodies get 413.
        rest_api_max_inflated_bytes: the most bytes of a gzip body after decompression.
        rest_api_max_nested_bytes: the most bytes, after decompression, of a JSON body that is
            nested more than 16 levels deep, because parsing it is slow.
        max_unknown_models_in_metrics: the most names of unknown models with their own series in the
            metrics. Other names are counted under ``(other)``.
        max_log_text_characters: the most characters of a model name, and of a reason, in a log
            line.
    """

    rest_api_max_connections: int = 0
    grpc_max_connections: int = 0
    rest_api_max_body_bytes: int = 256 * _MIB
    rest_api_max_inflated_bytes: int = 16 * _MIB
    rest_api_max_nested_bytes: int = _MIB
    max_unknown_models_in_metrics: int = 100
    max_log_text_characters: int = 1000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            least = 0 if each.name.endswith(("_connections", "_in_metrics")) else 1
            most = MAX_LARGE if each.name.endswith("_bytes") else MAX_COUNT
            if not (isinstance(value, int) and least <= value <= most):
                raise InvalidOptions(
                    f"{each.name} {value!r} is not a whole number from {least} to {most}"
                )


def connections(limit: int) -> int:
    """Return a limit on connections, with 0 replaced by the number that the descriptors allow."""
    if limit:
        return limit
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_unlimited = allowed == resource.RLIM_INFINITY
    return _MOST_CONNECTIONS if is_unlimited else min(_MOST_CONNECTIONS, allowed // _SHARES)
