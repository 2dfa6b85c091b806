"""Checkpoints of a fit: a file that is replaced after each iteration.

The file always has the complete state after an iteration: it is written to a temporary file,
synchronised to disk, and renamed. It contains no rows. When a fit continues, its engine repeats the
last step to find the changed assignments.
"""

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointMismatch, UnusableCheckpoint
from .lloyd import Iteration, LloydResult, LloydState
from .workers import ALONE, Reducer

_NAME: Final = "fit.npz"
_IDENTITY: Final = "identity"
_FINGERPRINT: Final = "fingerprint"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FitState:
    """The progress of a fit.

    Attributes:
        start: the number of the current start, from 1.
        running: the progress of the current start.
        best: the best of the completed starts, without assignments; None in the first start.
    """

    start: int
    running: LloydState
    best: LloydResult | None


class FitCheckpoint:
    """The checkpoint of one fit, in its own folder.

    Args:
        folder: the folder; created if absent.
        identity: the properties that identify the fit, by name.
        reducer: the reducer of the workers of the fit.

    Raises:
        CheckpointMismatch: the folder has the checkpoint of another fit.
        UnusableCheckpoint: the folder cannot be created or read, or the state is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Mapping[str, Any],
        reducer: Reducer = ALONE,
    ) -> None:
        self._path = Path(folder) / _NAME
        self._identity = dict(identity)
        # With several workers, only the chief uses the folder, and broadcasts its content.
        self._is_chief, content = reducer.worker == 0, None
        if self._is_chief:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                content = self._path.read_bytes() if self._path.exists() else None
            except OSError as error:
                raise self._unusable("cannot be used", error) from error
        is_there = reducer.sum([content is not None]).any()
        content = reducer.broadcast(content or b"")
        self.state = self._read(content) if is_there else None

    def write(self, state: FitState) -> None:
        """Replace the previous state. Raises UnusableCheckpoint."""
        if not self._is_chief:
            return
        content = io.BytesIO()
        identity = np.frombuffer(json.dumps(self._identity).encode(), np.uint8)
        arrays: dict[str, Any] = {_IDENTITY: identity, **_to_arrays(state)}
        np.savez(content, **arrays)
        partial = self._partial()
        try:
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
            self._sync_folder()
        except OSError as error:
            raise self._unusable("cannot be written", error) from error

    def remove(self) -> None:
        """Remove the state after the end of the fit. Raises UnusableCheckpoint."""
        if not self._is_chief:
            return
        try:
            for path in (self._path, self._partial()):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable("cannot be removed", error) from error

    def _partial(self) -> Path:
        return self._path.with_name(f".{_NAME}.partial")

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, content: bytes) -> FitState:
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
            identity = json.loads(arrays.pop(_IDENTITY).tobytes())
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UnusableCheckpoint(
                f"{self._path}: is damaged; remove it to restart the fit"
            ) from error
        self._compare(identity)
        return _from_arrays(arrays)

    def _compare(self, identity: Mapping[str, Any]) -> None:
        """Raise CheckpointMismatch if the identity differs from that of this fit."""
        mine = json.loads(json.dumps(self._identity))
        names = [
            name for name in sorted({*mine, *identity}) if identity.get(name) != mine.get(name)
        ]
        # The fingerprint is that of the rows in the model's space, so it differs with these too.
        told = [name for name in names if name != _FINGERPRINT]
        differing = [
            f"{name} is {_shown(identity.get(name))} there and {_shown(mine.get(name))} here"
            for name in told
        ]
        if names and not told:
            differing = ["its rows differ, or are in another order"]
        if differing:
            raise CheckpointMismatch(
                f"{self._path}: is the checkpoint of another fit: {'; '.join(differing)}. Give "
                "what that fit was given, or another folder, or remove the file"
            )

    def _unusable(self, what: str, error: OSError) -> UnusableCheckpoint:
        return UnusableCheckpoint(
            f"{error.filename or self._path.parent}: the checkpoint {what}: {error.strerror}; give "
            "a folder that can be written to, with room"
        )


def _shown(value: Any) -> str:
    return str(value)[:40]


def _to_arrays(state: FitState) -> Arrays:
    running = state.running
    arrays = {
        "start": np.array(state.start),
        "before": running.before,
        **_part("running", running.initial, running.centroids, running.history, running.converged),
    }
    if (best := state.best) is not None:
        arrays |= _part(
            "best", best.initial_centroids, best.centroids, best.history, best.converged
        )
        arrays["best_inertia"] = np.array(best.inertia)
    return arrays


def _part(
    name: str,
    initial: NDArray[np.float32],
    centroids: NDArray[np.float32],
    history: tuple[Iteration, ...],
    converged: bool,
) -> dict[str, NDArray[Any]]:
    return {
        f"{name}_initial": initial,
        f"{name}_centroids": centroids,
        f"{name}_inertias": np.array([each.inertia for each in history]),
        f"{name}_shifts": np.array([each.shift for each in history]),
        f"{name}_sizes": np.array([each.cluster_sizes for each in history]),
        f"{name}_converged": np.array(converged),
    }


def _from_arrays(arrays: Arrays) -> FitState:
    running = LloydState(
        initial=arrays["running_initial"],
        before=arrays["before"],
        centroids=arrays["running_centroids"],
        history=_history(arrays, "running"),
        converged=bool(arrays["running_converged"]),
    )
    best = None
    if "best_inertia" in arrays:
        best = LloydResult(
            initial_centroids=arrays["best_initial"],
            centroids=arrays["best_centroids"],
            assignments=None,
            inertia=float(arrays["best_inertia"]),
            history=_history(arrays, "best"),
            converged=bool(arrays["best_converged"]),
        )
    return FitState(int(arrays["start"]), running, best)


def _history(arrays: Arrays, name: str) -> tuple[Iteration, ...]:
    columns = (arrays[f"{name}_{each}"] for each in ("inertias", "shifts", "sizes"))
    return tuple(
        Iteration(float(inertia), float(shift), sizes)
        for inertia, shift, sizes in zip(*columns, strict=True)
    )
