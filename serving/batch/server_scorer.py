"""A running server as the scorer of a job: it waits for the server, and checks the version."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from export.feature_names import shorten_names
from export.golden_requests import GoldenRequest
from export.model_card import ModelCard
from kmeans_module.contract import TRANSFORM
from serving.clients.grpc_client import GrpcClient
from serving.clients.results import Assignment, Distances, Score, Signature, VersionStatus
from serving.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ResourceExhausted,
    ServerError,
    ServerUnavailable,
    ServingError,
    SignatureNotFound,
)
from serving.golden_check import find_difference

from .errors import NoAnswer, OtherModel
from .scorer import Rows

_T = TypeVar("_T")
Result = TypeVar("Result", Assignment, Score, Distances)

#: Errors that pass: a server restarts, loads, or has too much to do.
_TEMPORARY: Final = (ServerUnavailable, DeadlineExceeded, ResourceExhausted, ModelNotFound)

#: How often a batch may meet a fault of the server: one that goes down cancels what is under way.
_MAX_FAULTS: Final = 3

#: Seconds between two attempts at a server that says that it is ready, and is not.
_PAUSE: Final = 0.5

#: Seconds after which a thread that waits for a server checks whether to stop.
_POLL_SECONDS: Final = 1.0


class ServerScorer:
    """Calls one version of a model on a server; threads may share it.

    Args:
        client: a client of the model, of no version or label; who made it closes it.
        version: the version that must answer.
        server: what messages call the server.
        patience: seconds that a batch of rows may wait for a server that is not there.
        on_trouble: called with the error each time that a batch is asked again.
    """

    def __init__(
        self,
        client: GrpcClient,
        version: int,
        server: str,
        *,
        patience: float = 120.0,
        on_trouble: Callable[[ServingError], None] | None = None,
    ) -> None:
        self._client = client
        self._server = server
        self._patience = patience
        self._on_trouble = on_trouble
        self._is_over = threading.Event()
        self._golden: Sequence[GoldenRequest] = ()
        self.version = version

    def give_up(self) -> None:
        """End the waits of all threads for the server, because answers are no longer needed."""
        self._is_over.set()

    def check(self, card: ModelCard, golden: Sequence[GoldenRequest]) -> None:
        """Check that the right model answers, before any row is sent.

        Args:
            card: that of the version.
            golden: the golden requests of the version, which are asked again later; there may be
                none.

        Raises:
            NoAnswer: the server is unreachable.
            OtherModel: the version is not there, or does not answer as it did when exported.
            ServingError: the server does not let us in, or has a fault.
        """
        self._golden = golden
        try:
            self._require_version(self._client.status())
            # Without patience, the one look that there is takes its time too.
            self._client.wait_until_ready(max(self._patience, _POLL_SECONDS), version=self.version)
            declared = self._client.metadata(version=self.version).signatures
            self._check_sizes(card, declared[TRANSFORM])
            self._check_columns(card, declared)
            self._ask_golden()
        except ModelNotFound as error:
            raise OtherModel(str(error)) from None
        except (ServerUnavailable, DeadlineExceeded) as error:
            raise NoAnswer(
                f"{self._server}: server unreachable: {one_line(error)}; start it, or give another "
                "with --server HOST:PORT"
            ) from None

    def _check_sizes(self, card: ModelCard, declared: Signature) -> None:
        points, distances = declared.inputs["points"], declared.outputs["all_distances"]
        for tensor, size in ((points, card.n_features), (distances, card.n_clusters)):
            if tensor.shape is not None and tensor.shape[-1] not in (None, size):
                raise self._other_model(
                    f"transform takes {points} and returns {distances}, and the card has "
                    f"{card.n_features} features and {card.n_clusters} clusters"
                )

    def _check_columns(self, card: ModelCard, declared: Mapping[str, Signature]) -> None:
        for name, wanted in card.column_signatures.items():
            there = declared.get(name, Signature({}, {}))
            taken = {each: tensor.dtype for each, tensor in there.inputs.items()}
            if taken != {each.name: each.dtype for each in wanted.inputs}:
                raise self._other_model(
                    f"{name} takes {shorten_names(sorted(taken)) or 'nothing'}, and the card has "
                    f"the columns {shorten_names([each.name for each in wanted.inputs])}"
                )

    def assign(self, rows: Rows, /) -> Assignment:
        return self._answer(self._client.assign, rows)

    def score(self, rows: Rows, /) -> Score:
        return self._answer(self._client.score, rows)

    def transform(self, rows: Rows, /) -> Distances:
        return self._answer(self._client.transform, rows)

    def confirm(self) -> None:
        """Check that the right model still answers.

        A server that restarts quickly is not noticed otherwise: the client itself asks again.
        Raises NoAnswer, OtherModel, ServingError.
        """
        self._retry(self._ask_golden)

    def _ask_golden(self) -> None:
        if not self._golden:
            return
        try:
            found = find_difference(self._client, self._golden, self.version)
        except (InvalidInput, SignatureNotFound) as error:  # as of a model of another width
            raise self._other_model(str(error)) from None
        if found is not None:
            raise self._other_model(found)

    def _answer(self, method: Callable[..., Result], rows: Rows) -> Result:
        answer = self._retry(lambda: method(rows, version=self.version))
        if answer.version != self.version:
            raise self._other_model(f"version {answer.version} has answered")
        return answer

    def _retry(self, ask: Callable[[], _T]) -> _T:
        until = time.monotonic() + self._patience
        faults = 0
        is_sure = True
        while True:
            try:
                if not is_sure:
                    self._ask_golden()
                    is_sure = True
                return ask()
            except (ServerError, *_TEMPORARY) as error:
                faults += isinstance(error, ServerError)
                if faults > _MAX_FAULTS or self._is_over.is_set():
                    raise
                if isinstance(error, ModelNotFound):
                    with suppress(*_TEMPORARY):
                        self._require_version(self._client.status())
                # After a restart, there may be other weights under the same name and version.
                is_sure = is_sure and isinstance(error, ResourceExhausted)
                self._wait(until, error)

    def _wait(self, until: float, error: ServingError) -> None:
        """Wait until the version is there. Raises NoAnswer, for ``error``, when patience ends."""
        if self._on_trouble is not None:
            self._on_trouble(error)
        self._is_over.wait(min(_PAUSE, max(0.0, until - time.monotonic())))
        while (left := until - time.monotonic()) > 0 and not self._is_over.is_set():
            try:
                self._client.wait_until_ready(min(left, _POLL_SECONDS), version=self.version)
            except DeadlineExceeded:
                continue
            except _TEMPORARY:
                return  # it answers, if only that it has too much to do
            return
        raise NoAnswer(
            f"{self._server}: has not answered for {self._patience:g} s: {one_line(error)}; the "
            "same command resumes later, and --patience extends the wait"
        )

    def _require_version(self, states: Sequence[VersionStatus]) -> None:
        """Raise OtherModel when other versions are AVAILABLE, and ours is not even loading."""
        live = [each.version for each in states if each.state == "AVAILABLE"]
        coming = {each.version for each in states if each.state in ("START", "LOADING")}
        if live and self.version not in {*live, *coming}:
            there = ", ".join(map(str, live))
            raise self._other_model(
                f"it has version {there}; load version {self.version} there, or score with a "
                "loaded one: --version N"
            )

    def _other_model(self, found: str) -> OtherModel:
        return OtherModel(
            f"{self._server}: does not serve version {self.version} as in its card: {found}"
        )


def one_line(error: ServingError) -> str:
    """Return the message of an error in one line, without the model and the address."""
    return " ".join(error.message.split())
