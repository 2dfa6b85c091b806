"""A server and its client, of each kind of client: what holds for one must hold for the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from serving import AsyncGrpcClient, AsyncRestClient, GrpcClient, RestClient

from ..fake_servers import FakeGrpcServer, FakeRestServer, FakeServer
from .awaited import Awaited


@dataclass
class Wire:
    """One of the two protocols, and one of the two ways to wait: a kind of server and of client."""

    name: str
    start_server: Callable[..., FakeServer]
    client: Callable[..., GrpcClient | RestClient]

    @property
    def tells_version(self) -> bool:
        """Whether an answer tells the version that computed it."""
        return self.start_server is FakeGrpcServer


_GRPC_WIRES = (
    Wire("gRPC", FakeGrpcServer, GrpcClient),
    Wire("gRPC, awaited", FakeGrpcServer, partial(Awaited, AsyncGrpcClient)),
)
_REST_WIRES = (
    Wire("REST", FakeRestServer, RestClient),
    Wire("REST, awaited", FakeRestServer, partial(Awaited, AsyncRestClient)),
)


@pytest.fixture(params=_GRPC_WIRES + _REST_WIRES, ids=lambda wire: wire.name)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each kind of client in its turn."""
    chosen: Wire = request.param
    return chosen


@pytest.fixture(params=_GRPC_WIRES, ids=lambda wire: wire.name)
def grpc_wire(request: pytest.FixtureRequest) -> Wire:
    """Each kind of client over gRPC, for what only gRPC has."""
    chosen: Wire = request.param
    return chosen


@pytest.fixture(params=_REST_WIRES, ids=lambda wire: wire.name)
def rest_wire(request: pytest.FixtureRequest) -> Wire:
    """Each kind of client over REST, for what only REST has."""
    chosen: Wire = request.param
    return chosen


@pytest.fixture
def server(wire: Wire) -> Iterator[FakeServer]:
    """A running server of that protocol."""
    with wire.start_server() as running:
        yield running


@pytest.fixture
def client(wire: Wire, server: FakeServer) -> Iterator[GrpcClient | RestClient]:
    """A client of that server."""
    with wire.client(server.address, server.model.name) as made:
        yield made


@pytest.fixture
def connect(wire: Wire, server: FakeServer) -> Iterator[Callable[..., Any]]:
    """Makes further clients of that server, and closes them in the end."""
    made: list[Any] = []

    def make(model: str = server.model.name, **options: Any) -> Any:
        made.append(wire.client(server.address, model, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
