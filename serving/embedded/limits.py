"""How much of each thing one server takes, so that no caller can have all of it."""

import resource
from dataclasses import dataclass, fields

from serving.embedded.errors import InvalidOptions
from serving.embedded.option_ranges import MAX_COUNT, MAX_LARGE

_MIB = 2**20
#: REST and gRPC have a third of the descriptors each; the rest is for models, logs and the program.
_SHARES = 3
_MOST_CONNECTIONS = 100_000


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Limits that TensorFlow Serving does not have, each a flag of ``tfkmeans serve`` too.

    Attributes:
        rest_api_max_connections: the REST connections at once; 0 is a third of the descriptors that
            the process may open. One more is answered 503 and closed.
        grpc_max_connections: the gRPC connections at once; likewise. One more is closed.
        rest_api_max_body_bytes: the bytes of a REST body as it is sent. A longer one is 413.
        rest_api_max_inflated_bytes: the bytes of a gzip body as it was before compression.
        rest_api_max_nested_bytes: the bytes of a JSON body, inflated, that is nested more than 16
            levels deep, which is read slowly.
        max_unknown_models_in_metrics: the names of models that are not served, and have series of
            their own in the metrics. The rest is counted under ``(other)``.
        max_log_text_characters: the characters of a model's name, and of a reason, in a line of the
            log.
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
    """A limit on connections, 0 replaced by what the descriptors allow."""
    if limit:
        return limit
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_unlimited = allowed == resource.RLIM_INFINITY
    return _MOST_CONNECTIONS if is_unlimited else min(_MOST_CONNECTIONS, allowed // _SHARES)
