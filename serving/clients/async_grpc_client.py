"""An async client for the gRPC API of TensorFlow Serving. Does not import TensorFlow."""

from typing import Unpack

from .async_client import AsyncClient
from .grpc_connection import AsyncGrpcConnection
from .grpc_messages import WIRE_FORMAT
from .options import ClientOptions
from .target import Address


class AsyncGrpcClient(AsyncClient):
    """Calls a model over gRPC, with NumPy arrays as inputs and outputs.

    If the server is unavailable, a call makes up to five attempts within its deadline; if the
    server is too busy, it makes attempts until the deadline.
    Event loops may share a client, each on connections of its own; a process that is forked later
    must not use it.

    Args:
        address: ``host:port``, ``dns:///host:port`` or ``unix:///path``, or a list of several, used
            in turn.
        model: the model's name on the server.
        options: version, label, timeout, tls, headers, limits and on_bad_row; see `ClientOptions`.

    Raises:
        InvalidInput: an unknown option, an address of another form or without a port, both version
            and label, or unusable files of ``tls``.

    Example:
        >>> import asyncio
        >>> from tfkmeans import AsyncGrpcClient
        >>> async def ask(points):
        ...     async with AsyncGrpcClient("localhost:8500", "customers") as client:
        ...         await client.wait_until_ready()
        ...         return await client.assign(points)
        >>> asyncio.run(ask([[20.0, 1.0], [60.0, 9.0]]))
        Assignment(cluster_index=int32[2], distance=float32[2], version=1)
    """

    def __init__(self, address: Address, model: str, **options: Unpack[ClientOptions]) -> None:
        super().__init__(address, model, options, WIRE_FORMAT)
        self._connection = AsyncGrpcConnection(address, self._target, self._limits, options)
