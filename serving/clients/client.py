# Generated from async_client.py by scripts/generate_sync_clients.py; do not edit.
"""The methods of a sync client, for any protocol."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, Unpack, cast

import numpy as np
from numpy.typing import ArrayLike

from kmeans_module.contract import COLUMN_SIGNATURES, SIGNATURES, SignatureContract
from kmeans_module.raw_columns import UnusedColumns, is_table

from ..errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ServerError,
    ServerUnavailable,
    ServingError,
    SignatureNotFound,
)
from .columns import (
    Points,
    declared_columns,
    read_table,
    refuse_bad_answers,
)
from .no_rows import cut_padding, empty_outputs, pad_rows
from .operations import Deadline, GetMetadata, GetStatus, Operation, Predict
from .options import (
    DEFAULT_TIMEOUT,
    CallOptions,
    ClientOptions,
    Limits,
    WireFormat,
    check_options,
)
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
from .target import Address, Target, parse_addresses, without_password
from .tensor_sizes import Arrays, declared_sizes, input_sizes, longest_texts, row_bytes
from .validation import (
    check_declared_inputs,
    convert_inputs,
    parse_timeout,
    refuse_bad_rows,
)

_R = TypeVar("_R", Assignment, Score, Distances, Centroids, FitStepResult)

_MOST_CHECKED: Final = 64  # shapes that a client caches
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two polls of a model that is not ready
_NOT_READY: Final = (ModelNotFound, ServerUnavailable, DeadlineExceeded)


class Connection(Protocol):
    """Connections to the servers of a client, over one protocol."""

    def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""

    def close(self) -> None:
        """Close the connections; a call in progress ends with ServerError."""


class Client:
    """Base class of ``GrpcClient`` and ``RestClient``.

    Every method takes the options ``serving.CallOptions``. A request goes to the version or label
    of the call, else to that of the client, else to the latest version. A call fails after
    ``timeout`` seconds, its own or the client's. Errors are classes of ``serving.errors``.

    Points are anything that ``np.asarray`` accepts, series of vectors, and columns of Arrow and
    polars (these need pyarrow), with the features in the order of the model. They are sent as
    float32: a number outside float32 becomes infinity, a missing value NaN. The answer to a row
    with NaN or infinity is -1, and other rows are not affected; with ``on_bad_row="raise"`` the
    client refuses such rows. More rows than the limits allow are sent in several concurrent
    requests.

    The columns of a pandas or polars frame, an Arrow table or a mapping of names to columns are
    matched by name with the columns that the model declares, in any order. Other columns are
    ignored; one warning names them.

    A copied or unpickled client is a new client with the same address, model and options.
    """

    _connection: Connection

    def __init__(
        self, address: Address, model: str, options: ClientOptions, wire: WireFormat
    ) -> None:
        # The address may contain a user name and a password; errors must not show them.
        place = ", ".join(map(without_password, parse_addresses(address)))
        check_options(options, wire)
        if options.get("headers") is not None:
            # Not every mapping can be pickled.
            options = {**options, "headers": dict(options["headers"] or {})}
        self._made_of = address, model, options
        self._target = Target.parse(place, model, options.get("version"), options.get("label"))
        self._limits = options.get("limits") or Limits()
        self._on_bad_row = options.get("on_bad_row", "answer")
        if self._on_bad_row not in ("answer", "raise"):
            raise self._target.error(
                InvalidInput, f"on_bad_row={self._on_bad_row!r} is neither 'answer' nor 'raise'"
            )
        timeout = options.get("timeout")
        self._timeout = DEFAULT_TIMEOUT if timeout is None else parse_timeout(timeout, self._target)
        self._wire = wire
        self._closed = False
        # The metadata from the server; None where the server does not give them.
        self._known: dict[Target, ModelMetadata | None] = {}
        # Rows per request, for input shapes that were checked against the metadata.
        self._checked: dict[tuple[object, ...], int] = {}
        self._unused = UnusedColumns()

    def assign(self, points: Points, **call: Unpack[CallOptions]) -> Assignment:
        """Return the nearest cluster of each row, and the distance to its centroid.

        Args:
            points: [n, d], in raw units, or a table with the columns that the model declares.
            call: version, label and timeout.

        Returns:
            Cluster and distance of each row, and the version that computed them.

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.assign([[20.0, 1.0], [60.0, 9.0]])
            >>> ask()
            Assignment(cluster_index=int32[2], distance=float32[2], version=1)
        """
        return self._ask_rows(Assignment, points, call)

    def score(self, points: Points, **call: Unpack[CallOptions]) -> Score:
        """Return measures of how well each row fits its cluster.

        Args:
            points: [n, d], in raw units, or a table with the columns that the model declares.
            call: version, label and timeout.

        Returns:
            Squared distance and simplified silhouette of each row.

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.score([[20.0, 1.0], [60.0, 9.0]])
            >>> ask()
            Score(squared_distance=float32[2], silhouette=float32[2], version=1)
        """
        return self._ask_rows(Score, points, call)

    def transform(self, points: Points, **call: Unpack[CallOptions]) -> Distances:
        """Return the distances of each row to every centroid.

        Args:
            points: [n, d], in raw units, or a table with the columns that the model declares.
            call: version, label and timeout.

        Returns:
            Distances [n, k].

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.transform([[20.0, 1.0], [60.0, 9.0]])
            >>> ask().all_distances.shape
            (2, 3)
        """
        return self._ask_rows(Distances, points, call)

    def decode(self, cluster_index: ArrayLike, **call: Unpack[CallOptions]) -> Centroids:
        """Return the centroids of clusters, in raw units.

        Args:
            cluster_index: integers [n], each from 0 to k - 1.
            call: version, label and timeout.

        Returns:
            Centroids [n, d].

        Raises:
            InvalidInput: a number is not a cluster of the model.
            ServingError: any other failure; the subclass gives its kind.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.decode([0, 1, 2])
            >>> ask().centroid.shape
            (3, 2)
        """
        return self._predict(Centroids, {"cluster_index": cluster_index}, call)

    def fit_step(
        self,
        points: ArrayLike,
        sample_weight: ArrayLike,
        centroids: ArrayLike,
        **call: Unpack[CallOptions],
    ) -> FitStepResult:
        """Compute ``b`` independent Lloyd steps from given centroids; the model does not change.

        Args:
            points: [b, n, d], in raw units.
            sample_weight: [b, n]; a row of weight 0 has no effect.
            centroids: [b, k, d], in raw units; ``k`` may differ from that of the model.
            call: version, label and timeout.

        Returns:
            The new centroids, and the counts, inertia and shift of the step.

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask(points, weight, centroids):
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.fit_step(points, weight, centroids)
            >>> points = [[[20.0, 1.0], [22.0, 3.0], [60.0, 9.0]]]
            >>> step = ask(points, [[1, 1, 1]], [[[20.0, 1.0], [60.0, 9.0]]])
            >>> step.centroids
            array([[[21.,  2.],
                    [60.,  9.]]], dtype=float32)
        """
        inputs = {"points": points, "sample_weight": sample_weight, "centroids": centroids}
        return self._predict(FitStepResult, inputs, call)

    def predict(
        self, signature: str, inputs: Mapping[str, ArrayLike], **call: Unpack[CallOptions]
    ) -> Prediction:
        """Call any signature by its name; each method above calls one signature.

        Args:
            signature: a name of ``kmeans_module.SIGNATURES``, or of a signature over columns, such
                as ``assign_columns``.
            inputs: the inputs by name, with the dtypes and shapes of the contract; they are checked
                and converted as in the other methods. For a signature over columns, the table.
            call: version, label and timeout.

        Returns:
            The outputs by name, and the version that computed them.

        Raises:
            InvalidInput: the signature is unknown, or the inputs do not fit it.
            ServingError: any other failure; the subclass gives its kind.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.predict("assign", {"points": [[20.0, 1.0]]})
            >>> prediction = ask()
            >>> sorted(prediction.outputs), prediction.version
            (['cluster_index', 'distance'], 1)
        """
        target, deadline = self._begin(**call)
        if signature in COLUMN_SIGNATURES:
            return self._predict_table(signature, inputs, target, deadline)
        if signature not in SIGNATURES:
            raise target.error(
                InvalidInput,
                f"{signature!r} is not a signature; give one of {', '.join(SIGNATURES)}",
            )
        contract = SIGNATURES[signature]
        arrays = convert_inputs(contract, inputs, target)
        if self._on_bad_row == "raise":
            refuse_bad_rows(arrays, target)
        if not all(array.size for array in arrays.values()):
            return self._predict_no_rows(target, contract, arrays, deadline)
        return self._predict_rows(target, contract, arrays, deadline)

    def status(self, **call: Unpack[CallOptions]) -> list[VersionStatus]:
        """Return the state of each version of the model on the server, newest first.

        With a version or a label, return only that version. The server also lists unloaded
        versions.

        Args:
            call: version, label and timeout.

        Returns:
            One item for each version.

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.status()
            >>> print(*ask())
            version 1 is AVAILABLE
        """
        return self._status(*self._begin(**call))

    def metadata(self, **call: Unpack[CallOptions]) -> ModelMetadata:
        """Return the version that answers requests, and its signatures.

        Args:
            call: version, label and timeout.

        Returns:
            The version, and the tensors of each signature.

        Raises:
            ServingError: the subclass gives the kind of failure.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         return client.metadata()
            >>> metadata = ask()
            >>> metadata.version, "assign" in metadata.signatures
            (1, True)
        """
        return self._metadata(*self._begin(**call))

    def wait_until_ready(
        self, timeout: float = 30.0, *, version: int | None = None, label: str | None = None
    ) -> None:
        """Wait until the given version or label, or else any version, is AVAILABLE.

        Args:
            timeout: seconds to wait.
            version: the version to wait for.
            label: the label to wait for.

        Raises:
            DeadlineExceeded: not AVAILABLE within ``timeout`` seconds; the message gives the last
                state.
            ServingError: any other failure; the subclass gives its kind.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     with GrpcClient("localhost:8500", "customers") as client:
            ...         client.wait_until_ready(timeout=60, version=1)
            ...         return client.assign([[20.0, 1.0]], version=1)
            >>> ask().version
            1
        """
        target, deadline = self._begin(version, label, timeout)
        pause = _FIRST_PAUSE
        last: str | None = None
        cause: ServingError | None = None
        while True:
            try:
                poll = Deadline(min(deadline.remaining(target), self._timeout))
                states = self._status(target, poll)
            except _NOT_READY as error:
                # The last poll may have had no time left, and then has no state to report.
                if last is None or not isinstance(error, DeadlineExceeded):
                    last, cause = error.message, error
            else:
                if any(each.state == "AVAILABLE" for each in states):
                    return
                last = "; ".join(map(str, states)) or "the server lists no version"
                cause = None
            try:
                time.sleep(min(pause, deadline.remaining(target)))
            except DeadlineExceeded:
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
        message = f"not ready after {deadline.seconds:g} s; last: {last}"
        raise target.error(DeadlineExceeded, message) from cause

    def close(self) -> None:
        """Close the connections; a second call has no effect. ``with`` closes them too.

        Example:
            >>> from tfkmeans import GrpcClient
            >>> def ask():
            ...     client = GrpcClient("localhost:8500", "customers")
            ...     answer = client.assign([[20.0, 1.0]])
            ...     client.close()
            ...     return answer
            >>> ask().version
            1
        """
        if not self._closed:
            self._closed = True
            self._connection.close()

    def __reduce__(self) -> tuple[Any, ...]:
        address, model, options = self._made_of
        kind: Any = type(self)
        return partial(kind, address, model, **options), ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(
        self,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        **others: object,
    ) -> tuple[Target, Deadline]:
        if others:
            raise TypeError(
                f"a call has no option {next(iter(others))!r}; its options are version, label and "
                "timeout"
            )
        if self._closed:
            raise self._target.error(InvalidInput, "this client is closed; make a new one")
        target = self._target
        if version is not None or label is not None:
            target = target.at(version, label)
        seconds = self._timeout if timeout is None else parse_timeout(timeout, target)
        return target, Deadline(seconds)

    def _ask(self, operation: Operation, deadline: Deadline) -> Any:
        (answer,) = self._connection.send([operation], deadline)
        return answer

    def _predict(self, result: type[_R], inputs: Mapping[str, ArrayLike], call: CallOptions) -> _R:
        prediction = self.predict(result.signature, inputs, **call)
        return result(**prediction.outputs, version=prediction.version)

    def _ask_rows(self, result: type[_R], points: Points, call: CallOptions) -> _R:
        """Call a signature with points, or with the columns of a table by their names."""
        if not is_table(points):
            return self._predict(result, {"points": cast(ArrayLike, points)}, call)
        target, deadline = self._begin(**call)
        answer = self._predict_table(f"{result.signature}_columns", points, target, deadline)
        return result(**answer.outputs, version=answer.version)

    def _predict_table(
        self, name: str, table: Any, target: Target, deadline: Deadline
    ) -> Prediction:
        """Call a signature with the columns of a table that the metadata declare."""
        known = self._known.get(target)
        metadata = known or self._metadata(target, deadline)
        try:
            answer = self._predict_columns(name, table, metadata, target, deadline)
        except (InvalidInput, SignatureNotFound):
            if known is None or target.version is not None:
                raise
            # The name may refer to another version now.
            metadata = self._metadata(target, deadline)
            if metadata == known:
                raise
            answer = self._predict_columns(name, table, metadata, target, deadline)
        if self._on_bad_row == "raise":
            refuse_bad_answers(answer, target)
        return answer

    def _predict_columns(
        self, name: str, table: Any, metadata: ModelMetadata, target: Target, deadline: Deadline
    ) -> Prediction:
        signature, columns = declared_columns(name, metadata, target)
        arrays = read_table(columns, table, target)
        names = [column.name for column in columns]
        self._unused.warn(self._target.model, names, table, stacklevel=5)
        if not len(next(iter(arrays.values()))):
            return self._predict_no_rows(target, signature, arrays, deadline)
        return self._predict_rows(target, signature, arrays, deadline)

    def _predict_rows(
        self, target: Target, signature: SignatureContract, inputs: Arrays, deadline: Deadline
    ) -> Prediction:
        shapes = [array.shape[1:] for array in inputs.values()]
        key = (target, signature.name, longest_texts(inputs), *shapes)
        try:
            rows = self._checked.get(key)
            if rows is None:
                rows = self._rows_per_message(target, signature, inputs, deadline)
                if len(self._checked) >= _MOST_CHECKED:
                    self._checked.clear()
                self._checked[key] = rows
            return self._predict_parts(target, signature, inputs, rows, deadline)
        except (InvalidInput, ModelNotFound):
            # The model may have changed: the next call asks for the metadata again.
            self._forget(target)
            raise

    def _rows_per_message(
        self, target: Target, signature: SignatureContract, inputs: Arrays, deadline: Deadline
    ) -> int:
        """Check the inputs against the metadata, and return the rows per request."""
        metadata = self._check_by_metadata(signature, inputs, target, deadline)
        sizes = input_sizes(signature, inputs)
        if metadata is not None:
            sizes = {**declared_sizes(signature, metadata), **sizes}
        size = row_bytes(signature, sizes, self._wire.value_bytes) + longest_texts(inputs)
        return self._limits.rows_per_message(size)

    def _predict_no_rows(
        self, target: Target, signature: SignatureContract, inputs: Arrays, deadline: Deadline
    ) -> Prediction:
        """Answer a call without rows: from the contract and the metadata, else by a request with
        one row of zeros whose answer is cut. Other inputs without elements are sent unchanged.
        """
        told = self._tell_no_rows(target, signature, inputs, deadline)
        if told is not None:
            return told
        padded = pad_rows(signature, inputs)
        answer = self._predict_rows(target, signature, padded, deadline)
        return Prediction(cut_padding(signature, inputs, answer.outputs), answer.version)

    def _tell_no_rows(
        self, target: Target, signature: SignatureContract, inputs: Arrays, deadline: Deadline
    ) -> Prediction | None:
        """The answer from the contract and the metadata; None if they do not give all of it."""
        sizes = input_sizes(signature, inputs)
        if sizes[signature.inputs[0].shape[0]]:  # the model itself answers problems without rows
            return None
        version = target.version
        is_version_wanted = self._wire.tells_version and version is None
        if is_version_wanted:
            self._forget(target)  # another version may answer now
        elif target not in self._known:
            outputs = empty_outputs(signature, sizes)
            if outputs is not None:
                return Prediction(outputs, version)
        metadata = self._check_by_metadata(signature, inputs, target, deadline)
        if metadata is not None:
            sizes = {**declared_sizes(signature, metadata), **sizes}
        if is_version_wanted:
            if metadata is None:
                return None
            version = metadata.version
        outputs = empty_outputs(signature, sizes)
        return None if outputs is None else Prediction(outputs, version)

    def _status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        """The status. A label is resolved first, because a server lists all versions for it."""
        if target.label is not None:
            metadata = self._metadata(target, deadline)
            target = target.at_version(metadata.version)
        states: list[VersionStatus] = self._ask(GetStatus(target), deadline)
        return states

    def _metadata(self, target: Target, deadline: Deadline) -> ModelMetadata:
        metadata: ModelMetadata = self._ask(GetMetadata(target), deadline)
        if self._known.get(target) != metadata:
            self._forget(target)
            self._known[target] = metadata
        return metadata

    def _forget(self, target: Target) -> None:
        self._known.pop(target, None)
        self._checked.clear()

    def _check_by_metadata(
        self, signature: SignatureContract, inputs: Arrays, target: Target, deadline: Deadline
    ) -> ModelMetadata | None:
        """Check the inputs against the metadata of the model, and return the metadata.

        The metadata are requested once, and again before they cause a refusal: the name may refer
        to another version now. None if the server does not give them; then only the server checks.
        """
        known = target in self._known
        if not known:
            try:
                self._metadata(target, deadline)
            except (ServerError, AccessDenied):
                if self._closed:
                    raise
                self._known[target] = None  # a proxy may pass Predict only
        metadata = self._known.get(target)
        if metadata is None or signature.name not in metadata.signatures:
            return metadata
        try:
            check_declared_inputs(signature, inputs, metadata, target)
        except InvalidInput:
            if not known or target.version is not None:
                raise
            metadata = self._metadata(target, deadline)
            check_declared_inputs(signature, inputs, metadata, target)
        return metadata

    def _predict_parts(
        self,
        target: Target,
        signature: SignatureContract,
        inputs: Arrays,
        rows: int,
        deadline: Deadline,
    ) -> Prediction:
        """The outputs for all rows, sent ``rows`` per request, all from one version."""
        count = len(next(iter(inputs.values())))
        if count <= rows:
            whole = [Predict(target, signature, inputs)]
            answers: list[Prediction] = self._connection.send(whole, deadline)
            return answers[0]
        parts = [
            {name: array[start : start + rows] for name, array in inputs.items()}
            for start in range(0, count, rows)
        ]
        # A new version may be loaded between two parts, so all parts request the current one.
        pinned = target.version is None and self._known.get(target) is not None
        pinned_target = target
        for last in (not pinned, True):
            if pinned:
                metadata = self._metadata(target, deadline)
                pinned_target = target.at_version(metadata.version)
            try:
                answers = self._connection.send(
                    [Predict(pinned_target, signature, part) for part in parts], deadline
                )
                break
            except ModelNotFound:
                # It was unloaded meanwhile; another version may have replaced it.
                if last:
                    raise
        versions = {each.version for each in answers}
        if len(versions) > 1:
            names = " and ".join(str(each) for each in sorted(versions, key=str))
            raise target.error(
                ServerError, f"the parts of one call were answered by the versions {names}"
            )
        try:
            outputs = {
                tensor.name: np.concatenate([each.outputs[tensor.name] for each in answers])
                for tensor in signature.outputs
            }
        except ValueError as error:  # the parts differ in width
            raise target.error(
                ServerError, f"the parts of the answer to {signature.name} do not fit: {error}"
            ) from error
        return Prediction(outputs, versions.pop())
