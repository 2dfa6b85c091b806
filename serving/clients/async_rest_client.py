"""An async client for the REST API of TensorFlow Serving. Does not import TensorFlow."""

from typing import Unpack

from .async_client import AsyncClient
from .options import RestOptions
from .rest_connection import AsyncRestConnection
from .rest_messages import WIRE_FORMAT
from .target import Address


class AsyncRestClient(AsyncClient):
    """Calls a model over REST, with NumPy arrays as inputs and outputs.

    If the server is unavailable, a call makes up to five attempts within its deadline; if the
    server answers 429 with Retry-After, it makes attempts until the deadline.
    Event loops may share a client, each on connections of its own.
    An answer over REST does not contain its version: ``version`` of a result is the requested
    version, or None. gRPC is several times faster on many rows.

    Args:
        address: ``host:port``, ``http://host:port`` or ``https://host:port``, or a list of several,
            used in turn.
        model: the model's name on the server.
        options: version, label, timeout, tls, headers, limits, on_bad_row, gzip and proxy; see
            `RestOptions`.

    Raises:
        InvalidInput: an unknown option, an address of another form, both version and label, or
            unusable files of ``tls``.

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
