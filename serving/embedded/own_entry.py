"""The one model of a server that follows its entry in a model config, and ignores all others.

The entry says which versions are served, and under which labels; where they lie is the server's own
to say. The config is a file, or what HandleReloadConfigRequest brings.
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
        """Read nothing yet.

        Args:
            name: the name of the model, in the file and as it is served.
            base_path: the folder of the model, whatever the entry has as ``base_path``.
            file: a ModelServerConfig in text format; it need not be there.
        """
        self.latest = single_model(name, base_path)
        self._name = name
        self._file = file
        self._logged: set[str] = set()

    def read(self, now: Any) -> Any:
        """The ModelConfigList that is to be served, with this model alone.

        Args:
            now: the one that is served; None at the start.

        Raises:
            InvalidModelConfig: the file cannot be read or breaks a rule, or the entry that is
                served has gone from it.
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
        """Of a ModelConfigList the entry of this model, at its own base path.

        Raises:
            StatusError: INVALID_ARGUMENT; there is no such entry, or it breaks a rule.
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
        """Log each name once: the file is looked at every second."""
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
    """A config between two of one model: the versions of both are loaded, and no label has moved.

    A label can only move to a version that is loaded.
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
