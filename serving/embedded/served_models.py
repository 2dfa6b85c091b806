"""The served models: the loading and unloading of versions.

A round compares the versions on disk with the config of each model: selected versions are loaded,
the highest first; when one of them serves, or if none is selected, the others are retired. A
retired version gets no new request, and is freed after its last answer. A failed load is repeated
several times; then the version has the state END with its error until it is removed from disk.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import tensorflow as tf

from kmeans_module.signal_waits import wait_for_first
from serving.embedded.model_reference import ModelReference
from serving.embedded.servable import Servable
from serving.embedded.status import Code, StatusError, code_of, invalid_argument
from serving.embedded.version_discovery import select_versions, version_directories

_logger = logging.getLogger("serving.embedded")


class State(Enum):
    """The state of a version; the numbers are those of GetModelStatus."""

    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """The reported state of a version, and the error that ended it."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""


@dataclass(eq=False)
class _LoadedVersion:
    """A loaded version, and the number of its requests in progress."""

    servable: Servable
    in_flight: int = 0
    is_retired: bool = False


@dataclass(frozen=True)
class _Retry:
    """A failed load: the number of tries, the error, and the time of the next try, if any."""

    tries: int
    error: StatusError
    due: float


@dataclass(eq=False)
class _Model:
    """One configured model."""

    config: Any
    loaded: dict[int, _LoadedVersion] = field(default_factory=dict)
    retries: dict[int, _Retry] = field(default_factory=dict)


class ServedModels:
    """All models of a server.

    Every method may be called from any thread. ``poll`` and ``reconfigure`` run one at a time;
    requests never wait for them.
    """

    def __init__(
        self,
        load: Callable[[str, int, str], Servable],
        *,
        max_retries: int,
        retry_interval: float,
        allow_version_labels_for_unavailable_models: bool = False,
        select: Callable[[Any], Any] | None = None,
    ) -> None:
        """Create the set without models.

        Args:
            load: loads a version, given the name of the model, the number and the folder.
            max_retries: the number of retries of a failed load.
            retry_interval: the seconds before each retry.
            allow_version_labels_for_unavailable_models: allow a new label on a version that is not
                loaded.
            select: selects the part of a config from a request for this server; None for all.
        """
        self._load_servable = load
        self._max_retries = max_retries
        self._retry_interval = retry_interval
        self._allow_early_labels = allow_version_labels_for_unavailable_models
        self._select = select
        self._stopping: Future[None] = Future()
        self._round = threading.Lock()  # held during a whole round: disk, loading
        self._lock = threading.Lock()  # held briefly: guards the attributes below
        self._models: dict[str, _Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._states: dict[str, dict[int, VersionState]] = {}
        self._last_poll_error = ""

    # Requests

    @contextmanager
    def servable(self, reference: ModelReference) -> Iterator[Servable]:
        """Return the loaded version of a reference, and keep it loaded during the block.

        Raises:
            StatusError: no name is given, or the version is not loaded.
        """
        with self._lock:
            loaded = self._find(reference)
            loaded.in_flight += 1
        try:
            yield loaded.servable
        finally:
            with self._lock:
                loaded.in_flight -= 1
                is_last = loaded.is_retired and loaded.in_flight == 0
            if is_last:
                self._free(loaded.servable)

    def names(self) -> Set[str]:
        """Return the names of the configured models."""
        with self._lock:
            return set(self._models)

    def has(self, name: str) -> bool:
        """Whether a model of that name is configured."""
        with self._lock:
            return name in self._models

    def states(self, model: str, version: int | None = None) -> list[VersionState]:
        """Return the states of the versions of a model, newest first, or that of one version.

        Raises:
            StatusError: NOT_FOUND for a model or a version that never existed.
        """
        with self._lock:
            states = dict(self._states.get(model, {}))
        if not states and version is None:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        if version is None:
            return [states[number] for number in sorted(states, reverse=True)]
        if version not in states:
            raise StatusError(Code.NOT_FOUND, f"Could not find version {version} of model {model}")
        return [states[version]]

    def _find(self, reference: ModelReference) -> _LoadedVersion:
        if not reference.name:
            raise invalid_argument("ModelSpec has no name specified.")
        model = self._models.get(reference.name)
        loaded = model.loaded if model else {}
        version = reference.version
        if reference.label is not None:
            version = self._labels.get(reference.name, {}).get(reference.label)
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {reference.label}")
        if version is None:
            if loaded:
                return loaded[max(loaded)]
            raise StatusError(
                Code.NOT_FOUND, f"Servable not found for request: Latest({reference.name})"
            )
        if version not in loaded:
            raise StatusError(
                Code.NOT_FOUND,
                f"Servable not found for request: Specific({reference.name}, {version})",
            )
        return loaded[version]

    # Config

    def configure(self, models: Any) -> None:
        """Set the config at the start of a server; versions are loaded in the next round.

        Raises:
            StatusError: FAILED_PRECONDITION for a label on a version that is not loaded, unless
                such labels are allowed.
        """
        with self._round:
            self._set_config(models)

    def select(self, models: Any) -> Any:
        """Select the part of a config for this server. Raises StatusError if there is none."""
        return models if self._select is None else self._select(models)

    def reconfigure(self, models: Any, abandoned: "Future[None] | None" = None) -> None:
        """Replace the config of a running server, and wait until its new models serve.

        Models that are no longer in it are unloaded. A refused config changes nothing.

        Args:
            models: the new config.
            abandoned: a future that is done when the caller no longer waits.

        Raises:
            StatusError: a label on a version that is not loaded; a new model that does not load;
                CANCELLED when the caller no longer waits.
        """
        with self._round:
            new = {model.name for model in models.config} - set(self._models)
            self._set_config(models)
            self._run_round()
        self._wait_for_retries(new, abandoned)
        self._check_available(new)

    def _set_config(self, models: Any) -> None:
        """Apply a config completely, or refuse it and change nothing."""
        with self._lock:
            self._check_labels(models)
            self._labels = {config.name: dict(config.version_labels) for config in models.config}
            old, self._models = self._models, {}
            for config in models.config:
                model = old.pop(config.name, None) or _Model(config)
                model.config = config
                self._models[config.name] = model
            gone = [(model, version) for model in old.values() for version in model.loaded]
        for model, version in gone:
            self._retire(model, version)

    def _check_labels(self, models: Any) -> None:
        for config in models.config:
            now = self._labels.get(config.name, {})
            model = self._models.get(config.name)
            loaded = model.loaded if model else {}
            for label, version in sorted(config.version_labels.items()):
                stays_or_is_new = now.get(label, version) == version
                if version in loaded or (self._allow_early_labels and stays_or_is_new):
                    continue
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, "
                    "which is not currently available for inference",
                )

    def _check_available(self, names: Set[str]) -> None:
        """Raise the load error of a model without a loaded version."""
        for name in sorted(names):
            with self._lock:
                model = self._models.get(name)
                if model is None or model.loaded:  # another config may have removed it
                    continue
                states = self._states.get(name, {}).values()
                errors = [state for state in states if state.code is not Code.OK]
            if errors:
                raise StatusError(errors[-1].code, errors[-1].message)
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")

    # Rounds

    def poll(self) -> None:
        """Run one round: load new selected versions, retire those that are no longer selected."""
        with self._round:
            self._run_round()

    def next_retry(self, names: Set[str] | None = None) -> float | None:
        """Return the seconds until the next retry of a load; None without a retry.

        Args:
            names: the models to consider; None for all.
        """
        with self._lock:
            due = [
                retry.due
                for name, model in self._models.items()
                if names is None or name in names
                for retry in model.retries.values()
            ]
        left = min(due, default=math.inf) - time.monotonic()
        return max(0.0, left) if left < math.inf else None

    def load_until_settled(self) -> None:
        """Run rounds until every version on disk is loaded or has failed permanently.

        Loads that failed before a stop are repeated, because the cause may have been removed.
        """
        self._stopping = Future()
        with self._round, self._lock:
            for model in self._models.values():
                model.retries.clear()
        self.poll()
        self._wait_for_retries(None)

    def _wait_for_retries(
        self, names: Set[str] | None, abandoned: "Future[None] | None" = None
    ) -> None:
        ends = {self._stopping} if abandoned is None else {self._stopping, abandoned}
        while (left := self.next_retry(names)) is not None:
            ended = wait_for_first(ends, left)
            if self._stopping in ended:
                raise StatusError(Code.UNAVAILABLE, "The server is stopping")
            if ended:
                raise StatusError(Code.CANCELLED, "The caller has gone")
            self.poll()

    def give_up_retries(self) -> None:
        """Cancel all retries and waits for them, because the server stops."""
        with self._lock:
            if not self._stopping.done():
                self._stopping.set_result(None)

    def unload_all(self) -> None:
        """Retire every version of every model."""
        with self._round:
            with self._lock:
                models = list(self._models.values())
            for model in models:
                for version in sorted(model.loaded):
                    self._retire(model, version)

    def _run_round(self) -> None:
        wanted = self._find_wanted_versions()
        if wanted is None:
            return
        for name, versions in wanted.items():
            model = self._models[name]
            self._forget_missing(model, versions)
            for version in sorted(versions, reverse=True):
                retry = model.retries.get(version)
                is_due = retry is None or retry.due <= time.monotonic()
                if is_due and version not in model.loaded:
                    self._load(model, version, versions[version])
            # Loaded versions stay until one of the selected versions serves.
            if not versions or any(version in model.loaded for version in versions):
                for version in sorted(set(model.loaded) - set(versions)):
                    self._retire(model, version)

    def _forget_missing(self, model: _Model, wanted: Mapping[int, str]) -> None:
        """Forget the failures of versions that were removed from disk, which may come back."""
        with self._lock:
            gone = {
                version: model.retries.pop(version) for version in set(model.retries) - set(wanted)
            }
        for version, retry in gone.items():
            self._set_state(model, version, State.END, retry.error.code, retry.error.message)

    def _find_wanted_versions(self) -> dict[str, dict[int, str]] | None:
        """Return the selected versions of every model; None if a base path cannot be read.

        As in TF Serving, one unreadable base path skips the round for all models: a temporary
        failure of a disk must not unload versions.
        """
        wanted = {}
        for name, model in self._models.items():
            try:
                present = version_directories(model.config.base_path)
            except OSError as error:
                if str(error) != self._last_poll_error:
                    _logger.warning(
                        "model=%s base path can't be read, nothing is changed: %s",
                        name,
                        error,
                        extra={"event": "poll_failed", "model": name, "reason": str(error)},
                    )
                self._last_poll_error = str(error)
                return None
            wanted[name] = select_versions(model.config.model_version_policy, present)
        self._last_poll_error = ""
        return wanted

    def _load(self, model: _Model, version: int, directory: str) -> None:
        name = model.config.name
        self._set_state(model, version, State.LOADING)
        began = time.monotonic()
        try:
            servable = self._load_servable(name, version, directory)
        except Exception as error:  # noqa: BLE001  a failed load must not affect other models
            self._record_failure(model, version, _load_error(error))
            return
        with self._lock:
            model.retries.pop(version, None)
            model.loaded[version] = _LoadedVersion(servable)
        self._set_state(model, version, State.AVAILABLE)
        _log(logging.INFO, "loaded", name, version, reason=f"{time.monotonic() - began:.2f} s")

    def _record_failure(self, model: _Model, version: int, error: StatusError) -> None:
        before = model.retries.get(version)
        tries = 1 + (before.tries if before else 0)
        is_last = tries > self._max_retries
        again = "" if is_last else f" (tried again in {self._retry_interval:g} s)"
        _log(logging.ERROR, "load_failed", model.config.name, version, reason=f"{error}{again}")
        due = math.inf if is_last else time.monotonic() + self._retry_interval
        with self._lock:
            model.retries[version] = _Retry(tries, error, due)
        if is_last:
            self._set_state(model, version, State.END, error.code, error.message)

    def _retire(self, model: _Model, version: int) -> None:
        with self._lock:
            loaded = model.loaded.pop(version)
            loaded.is_retired = True
            is_idle = loaded.in_flight == 0
        self._set_state(model, version, State.UNLOADING)
        if is_idle:
            self._free(loaded.servable)

    def _free(self, servable: Servable) -> None:
        servable.close()
        with self._lock:
            model = self._models.get(servable.model)
            is_back = model is not None and servable.version in model.loaded
            if not is_back:  # it may have been loaded again during its last request
                ended = VersionState(servable.version, State.END)
                self._states[servable.model][servable.version] = ended
        _log(logging.INFO, "unloaded", servable.model, servable.version)

    def _set_state(
        self, model: _Model, version: int, state: State, code: Code = Code.OK, message: str = ""
    ) -> None:
        with self._lock:
            states = self._states.setdefault(model.config.name, {})
            states[version] = VersionState(version, state, code, message)


def _load_error(error: Exception) -> StatusError:
    """Return the status of a version that does not load."""
    if isinstance(
        error, StatusError
    ):  # a new error: the traceback of the old one refers to the model
        return StatusError(error.code, error.message)
    if isinstance(error, tf.errors.OpError):
        return StatusError(code_of(error.error_code), error.message)
    code = Code.NOT_FOUND if isinstance(error, OSError) else Code.UNKNOWN
    return StatusError(code, " ".join(str(error).split()) or type(error).__name__)


def _log(level: int, event: str, model: str, version: int, *, reason: str = "") -> None:
    text = " ".join(reason.split())
    _logger.log(
        level,
        "%s model=%s version=%d%s",
        event,
        model,
        version,
        f" {text}" if text else "",
        extra={"event": event, "model": model, "version": version, "reason": text},
    )
