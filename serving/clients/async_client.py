"""The methods of a client that awaits its answers, whatever carries them."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from numpy.typing import ArrayLike

from ..errors import ServingError
from .call_flow import CallFlow, Flow
from .operations import Deadline, Operation, Send
from .results import (
    Assignment,
    Centroids,
    Distances,
    FitStepResult,
    ModelMetadata,
    Prediction,
    Score,
    VersionStatus,
)

_T = TypeVar("_T")
_R = TypeVar("_R", Assignment, Score, Distances, Centroids, FitStepResult)


class AsyncConnection(Protocol):
    """The servers of a client, over one protocol."""

    async def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""

    async def close(self) -> None:
        """Close it; a call under way ends with ServerError."""


class AsyncClient:
    """What ``AsyncGrpcClient`` and ``AsyncRestClient`` have in common.

    Every method asks the version or label that it is given, else the client's, else the latest
    version; gives up after ``timeout`` seconds, its own or the client's; and raises a class of
    ``serving.errors``.

    Points are anything ``np.asarray`` takes. They travel as float32: a number beyond float32 counts
    as infinity, and a row with NaN or infinity is answered with -1 and fails no other row, unless
    the client was told to refuse it. More rows than the limits allow go in parts, several at once.
    """

    def __init__(self, flow: CallFlow, connection: AsyncConnection) -> None:
        self._flow = flow
        self._connection = connection

    @property
    def has_empty_arrays(self) -> bool:
        """Whether the server is asked when there are no rows; over REST the client answers."""
        return self._flow.wire.has_empty_arrays

    async def assign(
        self,
        points: ArrayLike,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Assignment:
        """The nearest cluster of each row, and the distance to it; ``points`` are [n, d]."""
        return await self._predict(Assignment, {"points": points}, version, label, timeout)

    async def score(
        self,
        points: ArrayLike,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Score:
        """How well each row fits its cluster; ``points`` are [n, d]."""
        return await self._predict(Score, {"points": points}, version, label, timeout)

    async def transform(
        self,
        points: ArrayLike,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Distances:
        """The distances of each row to every centroid; ``points`` are [n, d]."""
        return await self._predict(Distances, {"points": points}, version, label, timeout)

    async def decode(
        self,
        cluster_index: ArrayLike,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Centroids:
        """The centroids, in raw units, of clusters; ``cluster_index`` is of integers, [n].

        An index outside 0 … k-1 is InvalidInput.
        """
        return await self._predict(
            Centroids, {"cluster_index": cluster_index}, version, label, timeout
        )

    async def fit_step(
        self,
        points: ArrayLike,
        sample_weight: ArrayLike,
        centroids: ArrayLike,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> FitStepResult:
        """``b`` independent Lloyd steps from the given centroids; the served model stays as it is.

        Args:
            points: [b, n, d], in raw units.
            sample_weight: [b, n]; a row of weight 0 changes nothing.
            centroids: [b, k, d], in raw units; ``k`` is the caller's.
            version: the version to ask.
            label: the label to ask, instead of a version.
            timeout: seconds.
        """
        inputs = {"points": points, "sample_weight": sample_weight, "centroids": centroids}
        return await self._predict(FitStepResult, inputs, version, label, timeout)

    async def predict(
        self,
        signature: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """The outputs of any signature, by name; the methods above are this for one each.

        Args:
            signature: the name of a signature of ``kmeans_module.SIGNATURES``.
            inputs: its inputs by name, of the dtypes and shapes of the contract; they are checked
                and converted as those of the other methods are.
            version: the version to ask.
            label: the label to ask, instead of a version.
            timeout: seconds.

        Raises:
            InvalidInput: another signature, or other inputs.
        """
        return await self._run(self._flow.predict(signature, inputs, version, label, timeout))

    async def status(
        self,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[VersionStatus]:
        """The versions of the model that the server knows, as it lists them: newest first.

        With a version, or a label, only that one. A version stays listed after it was unloaded.
        """
        return await self._run(self._flow.status(version, label, timeout))

    async def metadata(
        self,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> ModelMetadata:
        """The version that answers, and its signatures."""
        return await self._run(self._flow.metadata(version, label, timeout))

    async def wait_until_ready(
        self,
        timeout: float = 30.0,
        *,
        version: int | None = None,
        label: str | None = None,
    ) -> None:
        """Return as soon as the version or label asked for, or any version, is AVAILABLE.

        Raises:
            DeadlineExceeded: it was not in ``timeout`` seconds; the text says how it was last.
        """
        await self._run(self._flow.wait_until_ready(timeout, version, label))

    async def close(self) -> None:
        """Close the connections; a second time does nothing."""
        if self._flow.close():
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _predict(
        self,
        result: type[_R],
        values: dict[str, ArrayLike],
        version: int | None,
        label: str | None,
        timeout: float | None,
    ) -> _R:
        flow = self._flow.predict(result.signature, values, version, label, timeout)
        prediction = await self._run(flow)
        return result(**prediction.outputs, version=prediction.version)

    async def _run(self, flow: Flow[_T]) -> _T:
        answer: Any = None
        try:
            action = next(flow)
            while True:
                try:
                    if isinstance(action, Send):
                        answer = await self._connection.send(action.operations, action.deadline)
                    else:
                        await asyncio.sleep(action.seconds)
                except ServingError as error:
                    action = flow.throw(error)
                else:
                    action = flow.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result
