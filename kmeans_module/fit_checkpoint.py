"""Where a fit goes on after it was stopped: a file that is replaced after each iteration.

What is on the disk is the state after an iteration, or none: the file is written beside, confirmed
by the disk, and renamed. Nothing of a row is in it. When a fit goes on, its engine takes the last
step once more, so that it knows again which assignments change.
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
    """How far a fit is.

    Attributes:
        start: the number of the start that runs, from 1.
        running: how far that is.
        best: the best of the starts that have ended, without assignments; None in the first.
    """

    start: int
    running: LloydState
    best: LloydResult | None


class FitCheckpoint:
    """The state of one fit, in a folder that is its own.

    Args:
        folder: made when it is not there.
        identity: what makes the fit this one, by name.
        reducer: how the workers of the fit come together.

    Raises:
        CheckpointMismatch: there is the state of another fit.
        UnusableCheckpoint: the folder cannot be made or read, or the state is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        identity: Mapping[str, Any],
        reducer: Reducer = ALONE,
    ) -> None:
        self._path = Path(folder) / _NAME
        self._identity = dict(identity)
        # Of several workers the chief has the folder, and the others hear what is in it.
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
        """Put the state in the place of that before. Raises UnusableCheckpoint."""
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
        """Remove the state: the fit has ended. Raises UnusableCheckpoint."""
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
                f"{self._path}: is damaged; remove it, and the fit begins anew"
            ) from error
        self._compare(identity)
        return _from_arrays(arrays)

    def _compare(self, identity: Mapping[str, Any]) -> None:
        """Raises CheckpointMismatch where the identity is another than this fit's."""
        mine = json.loads(json.dumps(self._identity))
        names = [
            name for name in sorted({*mine, *identity}) if identity.get(name) != mine.get(name)
        ]
        # The fingerprint is of the rows in the model's space, and differs with these, too.
        told = [name for name in names if name != _FINGERPRINT]
        differing = [
            f"{name} is {_shown(identity.get(name))} there and {_shown(mine.get(name))} here"
            for name in told
        ]
        if names and not told:
            differing = ["its rows are others, or in another order"]
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
