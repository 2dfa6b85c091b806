"""A client whose methods are awaited, for tests that wait: each test is then one of both kinds."""

from collections.abc import Callable
from typing import Any

from serving.clients.concurrency import LoopThread


class Awaited:
    """Runs the methods of an async client in an event loop of its own.

    It also answers for a ``GrpcClient`` or ``RestClient`` where a test is typed for those.
    """

    def __new__(cls, kind: Callable[..., Any], *args: Any, **options: Any) -> Any:
        client = kind(*args, **options)  # outside of any loop, which must be allowed
        awaited = super().__new__(cls)
        awaited._client = client
        awaited._loop = LoopThread("Awaited")
        return awaited

    _client: Any
    _loop: LoopThread

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def wait(*args: Any, **options: Any) -> Any:
            return self._loop.run(method(*args, **options))

        return wait

    def __enter__(self) -> "Awaited":
        entered = self._loop.run(self._client.__aenter__())
        assert entered is self._client
        return self

    def __exit__(self, *exception: Any) -> None:
        self._loop.run(self._client.__aexit__(*exception))
