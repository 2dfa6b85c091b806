"""What passes between a client and a server in each call, whatever carries it and however it waits.

A flow is a generator: it yields an action, is sent the outcome or has the error thrown in, and
returns the result of the call. A client that waits and one that awaits drive the same flows, over
gRPC and over REST.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from kmeans_module.contract import SIGNATURES, SignatureContract

from ..errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ServerError,
    ServerUnavailable,
    ServingError,
)
from .operations import Action, Deadline, GetMetadata, GetStatus, Operation, Pause, Predict, Send
from .options import DEFAULT_TIMEOUT, ClientOptions, Limits, WireFormat, check_options
from .results import ModelMetadata, Prediction, VersionStatus
from .target import Address, Target, parse_addresses
from .validation import (
    Arrays,
    check_declared_inputs,
    convert_inputs,
    dimensions,
    empty_outputs,
    parse_timeout,
    refuse_bad_rows,
)

_T = TypeVar("_T")
Flow = Generator[Action, Any, _T]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two polls of a model that is not ready
_NOT_READY: Final = (ModelNotFound, ServerUnavailable, DeadlineExceeded)


class CallFlow:
    """The calls of one client.

    Raises:
        InvalidInput: one of the arguments is none.
    """

    def __init__(
        self, address: Address, model: str, options: ClientOptions, wire: WireFormat
    ) -> None:
        place = ", ".join(parse_addresses(address))
        check_options(options, wire)
        self.target = Target.parse(place, model, options.get("version"), options.get("label"))
        self.limits = options.get("limits") or Limits()
        self._on_bad_row = options.get("on_bad_row", "answer")
        if self._on_bad_row not in ("answer", "raise"):
            raise self.target.error(
                InvalidInput, f"on_bad_row={self._on_bad_row!r} is neither 'answer' nor 'raise'"
            )
        self._timeout = parse_timeout(options.get("timeout"), DEFAULT_TIMEOUT, self.target)
        self.wire = wire
        self._closed = False
        # What the server told; None where it does not tell.
        self._known: dict[Target, ModelMetadata | None] = {}

    def close(self) -> bool:
        """From now on every call is refused; False when it was so before."""
        was_open, self._closed = not self._closed, True
        return was_open

    def predict(
        self,
        name: str,
        values: Mapping[str, ArrayLike],
        version: int | None,
        label: str | None,
        timeout: float | None,
    ) -> Flow[Prediction]:
        """The outputs of the signature of this name."""
        target, deadline = self._begin(version, label, timeout)
        if name not in SIGNATURES:
            raise target.error(
                InvalidInput, f"{name!r} is no signature; give one of {', '.join(SIGNATURES)}"
            )
        signature = SIGNATURES[name]
        inputs = convert_inputs(signature, values, target)
        if self._on_bad_row == "raise":
            refuse_bad_rows(inputs, target)
        sizes = dimensions(signature.inputs, inputs)
        empty = None
        if target not in self._known:
            empty = self._answer_empty(signature, sizes)
        if empty is None:
            metadata = yield from self._check_by_metadata(signature, inputs, target, deadline)
            if metadata is not None:
                sizes = {**_declared_sizes(signature, metadata), **sizes}
            empty = self._answer_empty(signature, sizes)
        if empty is not None:
            return Prediction(empty, target.version)
        rows = self.limits.rows_per_message(_row_bytes(signature, sizes, self.wire.value_bytes))
        try:
            if len(next(iter(inputs.values()))) <= rows:
                operation = Predict(target, signature, inputs)
                prediction: Prediction = yield from _send_one(operation, deadline)
                return prediction
            return (yield from self._predict_parts(target, signature, inputs, rows, deadline))
        except (InvalidInput, ModelNotFound):
            # The model may have changed: the next call asks for the metadata again.
            self._known.pop(target, None)
            raise

    def _answer_empty(
        self, signature: SignatureContract, sizes: Mapping[str, int]
    ) -> Arrays | None:
        return None if self.wire.has_empty_arrays else empty_outputs(signature, sizes)

    def status(
        self, version: int | None, label: str | None, timeout: float | None
    ) -> Flow[list[VersionStatus]]:
        """The versions of the model that the server knows."""
        target, deadline = self._begin(version, label, timeout)
        return (yield from self._status(target, deadline))

    def metadata(
        self, version: int | None, label: str | None, timeout: float | None
    ) -> Flow[ModelMetadata]:
        """The version that answers, and its signatures."""
        target, deadline = self._begin(version, label, timeout)
        return (yield from self._metadata(target, deadline))

    def wait_until_ready(
        self, timeout: float, version: int | None, label: str | None
    ) -> Flow[None]:
        """Until the version or label asked for, or any version, is AVAILABLE."""
        target, deadline = self._begin(version, label, timeout)
        pause = _FIRST_PAUSE
        last: str | None = None
        cause: ServingError | None = None
        while True:
            try:
                left = deadline.left(target)
                poll = Deadline(min(left, self._timeout))
                states = yield from self._status(target, poll)
            except _NOT_READY as error:
                # The last poll may have had no time left; it then has nothing to tell.
                if last is None or not isinstance(error, DeadlineExceeded):
                    last, cause = error.message, error
            else:
                if any(each.state == "AVAILABLE" for each in states):
                    return
                last, cause = _describe(states), None
            try:
                yield Pause(min(pause, deadline.left(target)))
            except DeadlineExceeded:
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
        message = f"not ready after {deadline.seconds:g} s; last: {last}"
        raise target.error(DeadlineExceeded, message) from cause

    def _begin(
        self, version: int | None, label: str | None, timeout: float | None
    ) -> tuple[Target, Deadline]:
        if self._closed:
            raise self.target.error(InvalidInput, "this client is closed; make a new one")
        target = self.target.choose(version, label)
        return target, Deadline(parse_timeout(timeout, self._timeout, target))

    def _status(self, target: Target, deadline: Deadline) -> Flow[list[VersionStatus]]:
        """The status; a server gives all versions for a label, so that it is resolved first."""
        if target.label is not None:
            metadata = yield from self._metadata(target, deadline)
            target = target.at_version(metadata.version)
        states: list[VersionStatus] = yield from _send_one(GetStatus(target), deadline)
        return states

    def _metadata(self, target: Target, deadline: Deadline) -> Flow[ModelMetadata]:
        metadata: ModelMetadata = yield from _send_one(GetMetadata(target), deadline)
        self._known[target] = metadata
        return metadata

    def _check_by_metadata(
        self, signature: SignatureContract, inputs: Arrays, target: Target, deadline: Deadline
    ) -> Flow[ModelMetadata | None]:
        """What the server tells of the model, after the inputs were checked against it.

        It is asked for once, and again before it is the reason to refuse: under the same name there
        may be another version by now. None where the server does not tell; then it checks alone.
        """
        known = target in self._known
        if not known:
            try:
                yield from self._metadata(target, deadline)
            except (ServerError, AccessDenied):
                if self._closed:
                    raise
                self._known[target] = None  # a proxy lets only Predict pass, it may be
        metadata = self._known.get(target)
        if metadata is None or signature.name not in metadata.signatures:
            return metadata
        try:
            check_declared_inputs(signature, inputs, metadata, target)
        except InvalidInput:
            if not known or target.version is not None:
                raise
            metadata = yield from self._metadata(target, deadline)
            check_declared_inputs(signature, inputs, metadata, target)
        return metadata

    def _predict_parts(
        self,
        target: Target,
        signature: SignatureContract,
        inputs: Arrays,
        rows: int,
        deadline: Deadline,
    ) -> Flow[Prediction]:
        """The outputs for more rows than go in one request, all of one version."""
        count = len(next(iter(inputs.values())))
        parts = [
            {name: array[start : start + rows] for name, array in inputs.items()}
            for start in range(0, count, rows)
        ]
        # Between two parts a new version may come, so that all ask the one that is there now.
        pinned = target.version is None and self._known.get(target) is not None
        pinned_target = target
        for last in (not pinned, True):
            if pinned:
                metadata = yield from self._metadata(target, deadline)
                pinned_target = target.at_version(metadata.version)
            try:
                answers: Sequence[Prediction] = yield Send(
                    [Predict(pinned_target, signature, part) for part in parts], deadline
                )
                break
            except ModelNotFound:
                # It was unloaded meanwhile, and another may have taken its place.
                if last:
                    raise
        versions = {each.version for each in answers}
        if len(versions) > 1:
            names = " and ".join(str(each) for each in sorted(versions, key=str))
            raise target.error(
                ServerError, f"the parts of one call were answered by the versions {names}"
            )
        return Prediction(_join(signature, answers, target), versions.pop())


def _send_one(operation: Operation, deadline: Deadline) -> Flow[Any]:
    """The answer to a single operation."""
    (answer,) = yield Send([operation], deadline)
    return answer


def _join(signature: SignatureContract, parts: Sequence[Prediction], target: Target) -> Arrays:
    try:
        return {
            tensor.name: np.concatenate([part.outputs[tensor.name] for part in parts])
            for tensor in signature.outputs
        }
    except ValueError as error:  # not of one width
        raise target.error(
            ServerError, f"the parts of the answer to {signature.name} do not fit: {error}"
        ) from error


def _declared_sizes(signature: SignatureContract, metadata: ModelMetadata) -> dict[str, int]:
    """The sizes that the model fixes, by letter of the contract's shapes."""
    sizes: dict[str, int] = {}
    found = metadata.signatures.get(signature.name)
    if found is None:
        return sizes
    for tensors, declared in (
        (signature.inputs, found.inputs),
        (signature.outputs, found.outputs),
    ):
        for tensor in tensors:
            shape = declared[tensor.name].shape if tensor.name in declared else None
            if shape is not None and len(shape) == len(tensor.shape):
                pairs = zip(tensor.shape, shape, strict=True)
                sizes.update({letter: size for letter, size in pairs if size is not None})
    return sizes


def _row_bytes(signature: SignatureContract, sizes: Mapping[str, int], value_bytes: int) -> int:
    """The bytes of a row, that is of an element of dimension 0, in the request or the answer."""

    def of(tensors: Sequence[Any], each: int) -> int:
        return sum(
            each * math.prod(sizes.get(letter, 1) for letter in tensor.shape[1:])
            for tensor in tensors
        )

    # A number of an answer may be a negative integer in a typed field, of ten bytes.
    return max(of(signature.inputs, value_bytes), of(signature.outputs, max(value_bytes, 10)))


def _describe(states: Sequence[VersionStatus]) -> str:
    if not states:
        return "the server lists no version"
    return "; ".join(
        f"version {each.version} is {each.state}"
        + (f" ({each.error_code}: {each.error_message})" if each.error_code != "OK" else "")
        for each in states
    )
