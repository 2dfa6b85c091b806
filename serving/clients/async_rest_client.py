"""A client that speaks TensorFlow Serving's REST, and awaits. Imports no TensorFlow."""

from typing import Unpack

from .async_client import AsyncClient
from .options import RestOptions
from .rest_connection import AsyncRestConnection
from .rest_messages import WIRE_FORMAT
from .target import Address


class AsyncRestClient(AsyncClient):
    """Asks a model over REST; NumPy in and out.

    A call that finds the server unavailable is repeated, up to five attempts, within its deadline;
    one that is refused until later (429 with Retry-After), until the deadline.
    Event loops may share a client, each on connections of its own.
    An answer does not tell its version: ``version`` of a result is the version that was asked for,
    or None. gRPC is several times faster on many rows.

    Args:
        address: ``host:port``, ``http://host:port`` or ``https://host:port``, or several, which
            take turns.
        model: the model's name on the server.
        options: version, label, timeout, tls, headers, limits, on_bad_row, gzip and proxy, as
            `RestOptions` has them.

    Raises:
        InvalidInput: an option that there is not, an address of another kind, version and label at
            once, or files of ``tls`` that cannot be used.

    Example:
        >>> import asyncio
        >>> from tfkmeans import AsyncRestClient
        >>> async def ask(points):
        ...     async with AsyncRestClient("localhost:8501", "customers") as client:
        ...         await client.wait_until_ready()
        ...         return await client.assign(points)
        >>> asyncio.run(ask([[20.0, 1.0], [60.0, 9.0]]))
        Assignment(cluster_index=int32[2], distance=float32[2], version=None)
    """

    def __init__(self, address: Address, model: str, **options: Unpack[RestOptions]) -> None:
        super().__init__(address, model, options, WIRE_FORMAT)
        self._connection = AsyncRestConnection(address, self._target, self._limits, options)
