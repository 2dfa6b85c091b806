"""Compare a running server with a published model.

Over gRPC and REST, the checks are: a version of the model is AVAILABLE, it has the signatures of
the contract, and it answers its golden requests as recorded (integers exactly, floats to 1e-5 of
the largest in their column). Does not import TensorFlow.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export import golden_requests
from export.errors import InvalidCandidate
from export.feature_names import join_names
from export.golden_requests import GoldenRequest
from export.model_card import ModelCard
from export.repository import existing_versions, version_directory
from kmeans_module.contract import ASSIGN, ASSIGN_COLUMNS, FIT_STEP, SIGNATURES

from .clients.client import Client
from .clients.grpc_client import GrpcClient
from .clients.results import Signature, Tensor, VersionStatus
from .clients.tensor_sizes import pair_tensors
from .errors import DeadlineExceeded, ServerUnavailable, ServingError

#: Tolerance of floats, relative to the largest in their column.
TOLERANCE: Final = 1e-5

#: Seconds that a call may take; a server may be slow after a long idle time.
_TIMEOUT: Final = 30.0

#: A silhouette is a difference of nearly equal numbers relative to the larger, so its scale is 1,
#: even if all silhouettes of a request are small.
_OWN_SIZE: Final[Mapping[str, float]] = {"silhouette": 1.0}

Array = NDArray[Any]


@dataclass(frozen=True)
class Check:
    """The outcome of one check; as text, one line.

    Attributes:
        passed: whether the server met the expectation.
        subject: the checked property.
        detail: the observed value, and after a failure also the expected value.
    """

    passed: bool
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.subject}: {self.detail}"


class _Unexpected(Exception):
    """The server did not meet an expectation."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")


def check_server(grpc_address: str, rest_address: str, base: Path, name: str) -> Iterator[Check]:
    """Check a server against the folder of a model; yield each check.

    All calls use the highest version that is AVAILABLE on the server and present in ``base``: a
    server may lag behind ``base``.

    Args:
        grpc_address: ``host:port``.
        rest_address: ``host:port``.
        base: the folder of the model.
        name: the model's name on the server.

    Raises:
        ServerUnavailable: the server is unreachable.
        DeadlineExceeded: the server accepted a connection, but did not answer.
        InvalidInput: an address is not valid.
        ExportError: ``base`` is not a model, or its version lacks a part.
    """
    from .clients.rest_client import RestClient  # a probe skips it to save time

    highest = existing_versions(base)[-1]
    with (
        GrpcClient(grpc_address, name, timeout=_TIMEOUT) as grpc_client,
        RestClient(rest_address, name, timeout=_TIMEOUT) as rest_client,
    ):
        wires: dict[str, Client] = {"gRPC": grpc_client, "REST": rest_client}
        available = set(existing_versions(base))
        for wire, client in wires.items():
            subject, expected = f"{wire} status", f"model {name!r} AVAILABLE"
            check = _run_check(subject, expected, _check_status, client, available, highest)
            yield check
            if not check.passed:
                return
        version = max(available)
        yield from check_version(wires, version_directory(base, version), version)


def probe(
    client: Client,
    requests: Callable[[int], Sequence[GoldenRequest]],
    *,
    among: Collection[int] | None = None,
    live: int | None = None,
    version: int | None = None,
    label: str | None = None,
) -> Check:
    """Check quickly that a version is AVAILABLE and answers one golden request.

    Args:
        requests: returns the golden requests of a version number.
        among: the versions that may answer; None allows all.
        live: the version to use if it is AVAILABLE; else the highest AVAILABLE version is used.
        version: the only version that may answer.
        label: the label that the version must have.

    Raises as ``check_server`` does.
    """

    def check() -> str:
        states = client.status(version=version, label=label)
        wanted = {each.version for each in states} if among is None else among
        if version is not None:
            wanted = {version}
        available = _select_available(states, wanted)
        number = live if live in available else max(available)
        chosen = _largest_request(requests(number))
        _check_answers(client, number, [chosen])
        behind = "" if live in (None, number) else f", and {live}, which is live, is not"
        return (
            f"version {number} is AVAILABLE{behind}; "
            f"golden request {chosen[0]} answered as recorded"
        )

    return _run_check("probe", "a version AVAILABLE that answers", check)


def find_difference(client: Client, requests: Sequence[GoldenRequest], version: int) -> str | None:
    """Send one golden request; return the first difference from the recorded answer, or None.

    Raises ServingError when there is no answer; InvalidCandidate when there is no such request.
    """
    try:
        _check_answers(client, version, [_largest_request(requests)])
    except _Unexpected as error:
        return str(error)
    return None


def _largest_request(requests: Sequence[GoldenRequest]) -> tuple[int, GoldenRequest]:
    """Return the golden request with the most values, and its number. If the model takes columns by
    name, it is one of ``assign_columns``, whose answer also depends on the encoding of the columns.
    """
    of_points, of_columns = (
        [each for each in enumerate(requests) if each[1].signature == signature]
        for signature in (ASSIGN, ASSIGN_COLUMNS)
    )
    chosen = of_columns or of_points
    if not chosen:
        raise InvalidCandidate(f"there is no golden request for {ASSIGN}")
    return max(chosen, key=lambda each: sum(array.size for array in each[1].inputs.values()))


def check_version(wires: Mapping[str, Client], directory: Path, version: int) -> Iterator[Check]:
    """Check one AVAILABLE version with every client of ``wires``, by their names.

    Raises as ``check_server`` does.
    """
    card = ModelCard.read(directory)
    requests = list(enumerate(golden_requests.read(directory)))
    for wire, client in wires.items():
        subject, expected = f"{wire} metadata", "the signatures of the contract"
        yield _run_check(subject, expected, _check_metadata, client, version, card)
    for signature in (*SIGNATURES, *card.column_signatures):
        chosen = [each for each in requests if each[1].signature == signature]
        for wire, client in wires.items():
            subject = f"{wire} {signature}"
            yield _run_check(subject, "an answer", _check_answers, client, version, chosen)


def _run_check(subject: str, expected: str, check: Callable[..., str], *arguments: Any) -> Check:
    """Return the outcome of ``check``; without an answer from the server, raise an error."""
    try:
        return Check(True, subject, check(*arguments))
    except (ServerUnavailable, DeadlineExceeded):
        raise
    except _Unexpected as error:
        return Check(False, subject, str(error))
    except ServingError as error:
        return Check(False, subject, f"expected {expected}, got {type(error).__name__}: {error}")


def _check_status(client: Client, available: set[int], highest: int) -> str:
    """Reduce ``available`` to the versions that are AVAILABLE on the server."""
    available &= _select_available(client.status(), available)
    behind = f"; BASE's highest is {highest}" if highest not in available else ""
    return f"version {max(available)} is AVAILABLE{behind}"


def _select_available(states: Sequence[VersionStatus], wanted: Collection[int]) -> set[int]:
    """Return the wanted versions that are AVAILABLE on the server; at least one."""
    available = {each.version for each in states if each.state == "AVAILABLE"}.intersection(wanted)
    if not available:
        raise _Unexpected(
            f"version {' or '.join(map(str, sorted(wanted))) or 'any'} AVAILABLE",
            ", ".join(map(_describe, states)) or "no version",
        )
    return available


def _describe(status: VersionStatus) -> str:
    fault = f" ({status.error_message})" if status.error_message else ""
    return f"version {status.version} {status.state}{fault}"


def _check_metadata(client: Client, version: int, card: ModelCard) -> str:
    metadata = client.metadata(version=version)
    if metadata.version != version:
        raise _Unexpected(f"version {version}", f"version {metadata.version}")
    for name, contract in {**SIGNATURES, **card.column_signatures}.items():
        declared = metadata.signatures.get(name, Signature({}, {}))
        # The caller chooses the k of fit_step.
        sizes = {"d": card.n_features} | ({} if name == FIT_STEP else {"k": card.n_clusters})
        for wanted, found in pair_tensors(contract, declared):
            shape = (int(n) if n.isdigit() else sizes.get(n) for n in wanted.shape)
            expected = Tensor(wanted.dtype, tuple(shape))
            if found != expected:
                raise _Unexpected(
                    f"{name} to have {wanted.name} {expected}",
                    "none of that name" if found is None else str(found),
                )
    but = f" but {join_names(card.signatures_left_out)}" if card.signatures_left_out else ""
    return (
        f"version {version} has the contract's signatures{but}, "
        f"for {card.n_features} features and {card.n_clusters} clusters"
    )


def _check_answers(
    client: Client, version: int, requests: Sequence[tuple[int, GoldenRequest]]
) -> str:
    """Send the golden requests of one signature, each with its number in the file.

    Requests without rows are skipped: JSON cannot express their shape, and a TensorFlow Serving
        with batching never answers them, and then does not apply config changes either.
    """
    asked = [each for each in requests if all(array.size for array in each[1].inputs.values())]
    for number, request in asked:
        answer = client.predict(request.signature, request.inputs, version=version)
        if answer.version != version:
            raise _Unexpected(f"an answer of version {version}", f"one of version {answer.version}")
        for name, expected in request.outputs.items():
            _check_tensor(name, number, expected, answer.outputs[name])
    without_rows = len(requests) - len(asked)
    said = f"{len(asked)} golden request{'' if len(asked) == 1 else 's'} answered as recorded"
    return said + (f"; {without_rows} without rows not asked" if without_rows else "")


def _check_tensor(name: str, request: int, expected: Array, got: Array) -> None:
    place = f"golden request {request}"
    if got.shape != expected.shape:
        raise _Unexpected(f"{name} {list(expected.shape)} of {place}", f"{name} {list(got.shape)}")
    same = _match_values(name, expected, got)
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~same)[0])
        raise _Unexpected(
            f"{name}{list(first)} = {_number(expected[first])} of {place}",
            f"{_number(got[first])} ({np.count_nonzero(~same)} of {same.size} values differ)",
        )


def _match_values(name: str, expected: Array, got: Array) -> NDArray[np.bool_]:
    """Return a mask of the values that match the recorded ones."""
    if expected.dtype.kind != "f" or not expected.size:
        return np.asarray(got == expected)
    # Where terms cancel, the rounding error is relative to the terms, not to their difference. A
    # column has one unit; the columns of a centroid may have very different units.
    columns = tuple(range(max(1, expected.ndim - 1)))
    largest = np.abs(expected.astype(np.float64)).max(axis=columns, keepdims=True)
    difference = np.abs(got.astype(np.float64) - expected)
    return np.asarray(difference <= TOLERANCE * np.maximum(largest, _OWN_SIZE.get(name, 0.0)))


def _number(value: Any) -> str:
    return f"{value:.9g}" if value.dtype.kind == "f" else str(value)
