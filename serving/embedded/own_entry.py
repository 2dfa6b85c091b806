"""The single model of a server that follows its entry in a model config, and ignores others.

The entry gives the served versions and their labels; the server itself sets the base path. The
config is a file, or comes from HandleReloadConfigRequest.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.embedded.errors import InvalidModelConfig
from serving.embedded.model_config import check_model_config_list, single_model
from serving.embedded.option_messages import read_text_message
from serving.embedded.status import StatusError, invalid_argument

_logger = logging.getLogger("serving.embedded")


class OwnEntry:
    """The entry of a model in a config file; without one, the latest version is served."""

    def __init__(self, name: str, base_path: str, file: Path) -> None:
        """Set the model and the file, which is not read yet.

        Args:
            name: the name of the model, in the file and on the server.
            base_path: the folder of the model; overrides ``base_path`` of the entry.
            file: a ModelServerConfig in text format, which need not exist.
        """
        self.latest = single_model(name, base_path)
        self._name = name
        self._file = file
        self._logged: set[str] = set()

    def read(self, now: Any) -> Any:
        """Return the ModelConfigList to serve, with only this model.

        Args:
            now: the served ModelConfigList; None at the start.

        Raises:
            InvalidModelConfig: the file cannot be read or breaks a rule, or the served entry was
                removed from it.
        """
        models = model_server_config_pb2.ModelConfigList()
        if self._file.exists():
            config = model_server_config_pb2.ModelServerConfig()
            read_text_message("model config file", self._file, config, InvalidModelConfig)
            models = config.model_config_list
        if any(model.name == self._name for model in models.config):
            try:
                return self.select(models)
            except StatusError as error:
                raise InvalidModelConfig(
                    f"model config file {self._file}: {error.message}"
                ) from error
        if now in (None, self.latest):
            return self.latest
        raise InvalidModelConfig(
            f"model config file {self._file} has no entry of model {self._name} any more; what is "
            "served stays"
        )

    def select(self, models: Any) -> Any:
        """Select the entry of this model from a ModelConfigList, with its own base path.

        Raises:
            StatusError: INVALID_ARGUMENT; the entry does not exist, or breaks a rule.
        """
        own = [model for model in models.config if model.name == self._name]
        self._log_ignored(model.name for model in models.config if model.name != self._name)
        if not own:
            raise invalid_argument(
                f"the config has no entry of model {self._name}, the only one of this server"
            )
        selected = model_server_config_pb2.ModelConfigList(config=own)
        for model in selected.config:
            model.base_path = self.latest.config[0].base_path
        check_model_config_list(selected, {self._name})
        return selected

    def _log_ignored(self, names: Iterable[str]) -> None:
        """Log each name only once, because the file is checked every second."""
        for name in sorted({*names} - self._logged):
            self._logged.add(name)
            reason = f"this server serves {self._name} alone"
            _logger.info(
                "entry_ignored model=%s %s",
                name,
                reason,
                extra={"event": "entry_ignored", "model": name, "version": None, "reason": reason},
            )


def step_towards(now: Any, new: Any) -> Any:
    """Return a config between two of one model: with the versions of both, and no moved label.

    A label can only move to a loaded version.
    """
    step = model_server_config_pb2.ModelConfigList()
    step.CopyFrom(new)
    (before,), (after,) = now.config, step.config
    after.version_labels.clear()
    after.version_labels.update(before.version_labels)
    if after.model_version_policy.WhichOneof("policy_choice") == "specific":
        after.model_version_policy.specific.versions.extend(
            before.model_version_policy.specific.versions
        )
    return step
