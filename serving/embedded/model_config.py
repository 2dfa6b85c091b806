"""The served models: the single model of the options, or a ModelServerConfig file."""

import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.embedded.errors import InvalidModelConfig
from serving.embedded.option_messages import read_text_message
from serving.embedded.status import StatusError, invalid_argument

_PLATFORM = "tensorflow"
_TYPE = "ModelServerConfig::model_type (deprecated)"
_PLATFORM_FIELD = "ModelServerConfig::model_platform"
#: An absolute path, or a URI of ``tf.io.gfile``.
_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9.]*://")


def single_model(name: str, base_path: str) -> Any:
    """Return the ModelConfigList of one model that serves its latest version."""
    models = model_server_config_pb2.ModelConfigList()
    absolute = base_path if _ABSOLUTE.match(base_path) else str(Path(base_path).absolute())
    models.config.add(name=name, base_path=absolute, model_platform=_PLATFORM)
    return models


def read_model_config(path: Path, served: Set[str] = frozenset()) -> Any:
    """Read the ModelConfigList of a ModelServerConfig file in text format.

    Args:
        path: the file.
        served: the names of the models that are already served.

    Raises:
        InvalidModelConfig: the file cannot be read, is not a ModelServerConfig, or breaks a rule.
    """
    config = read_text_message(
        "model config file", path, model_server_config_pb2.ModelServerConfig(), InvalidModelConfig
    )
    if config.WhichOneof("config") != "model_config_list" or not config.model_config_list.config:
        raise InvalidModelConfig(
            f"model config file {path} lists no model; add model_config_list {{ config {{ ... }} }}"
        )
    try:
        check_model_config_list(config.model_config_list, served)
    except StatusError as error:
        raise InvalidModelConfig(f"model config file {path}: {error.message}") from error
    return config.model_config_list


def check_model_config_list(models: Any, served: Set[str] = frozenset()) -> None:
    """Check a ModelConfigList by TF Serving's rules, with its order and messages.

    Args:
        models: the ModelConfigList.
        served: the names of the models that are already served.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    seen = set()
    for model in models.config:
        if model.name in seen:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
    for model in models.config:
        if not _ABSOLUTE.match(model.base_path):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
    for model in models.config:
        if model.name in served and (platform := _platform(model)) != _PLATFORM:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{_PLATFORM} and new platform requested is {platform}"
            )
    for model in models.config:
        if (platform := _platform(model)) != _PLATFORM:
            raise invalid_argument(f"Model {model.name} requests unsupported platform {platform}")
        if not model.name:
            raise invalid_argument(f"a model without a name; base_path()={model.base_path}")


def _platform(model: Any) -> str:
    which = f"model name is {model.name}"
    if model.model_type != model_server_config_pb2.ModelType.MODEL_TYPE_UNSPECIFIED:
        if model.model_platform:
            raise invalid_argument(f"Illegal setting both {_TYPE} and {_PLATFORM_FIELD}, {which}")
        if model.model_type != model_server_config_pb2.ModelType.TENSORFLOW:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        return _PLATFORM
    if not model.model_platform:
        raise invalid_argument(f"Illegal setting neither {_TYPE} nor {_PLATFORM_FIELD}, {which}")
    return str(model.model_platform)
