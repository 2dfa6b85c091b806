"""Many things awaited at once, with a bound, and their outcomes in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")


async def in_order(
    act: Callable[[_A], Awaitable[_B]], values: Sequence[_A], at_a_time: int
) -> list[_B]:
    """The outcomes of ``act`` for the values; the first failure ends the others and is raised."""
    if len(values) == 1:
        return [await act(values[0])]
    gate = asyncio.Semaphore(at_a_time)

    async def bounded(value: _A) -> _B:
        async with gate:
            return await act(value)

    tasks = [asyncio.create_task(bounded(value)) for value in values]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
