"""Which models are served: the single model of the options, or a ModelServerConfig file."""

from pathlib import Path
from typing import Any

from tensorflow_serving.config import model_server_config_pb2

from serving.embedded.errors import InvalidModelConfig
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.text_messages import read_text_message

_PLATFORM = "tensorflow"


def single_model(name: str, base_path: Path) -> Any:
    """The ModelConfigList of one model that serves its latest version."""
    models = model_server_config_pb2.ModelConfigList()
    models.config.add(name=name, base_path=str(base_path.absolute()), model_platform=_PLATFORM)
    return models


def read_model_config(path: Path) -> Any:
    """The ModelConfigList of a text-format ModelServerConfig file.

    Raises:
        InvalidModelConfig: the file cannot be read, is no ModelServerConfig, or breaks a rule.
    """
    config = read_text_message(
        "model config file", path, model_server_config_pb2.ModelServerConfig(), InvalidModelConfig
    )
    if config.WhichOneof("config") != "model_config_list" or not config.model_config_list.config:
        raise InvalidModelConfig(
            f"model config file {path} lists no model; add model_config_list {{ config {{ ... }} }}"
        )
    try:
        check_model_config_list(config.model_config_list)
    except StatusError as error:
        raise InvalidModelConfig(f"model config file {path}: {error.message}") from error
    return config.model_config_list


def check_model_config_list(models: Any) -> None:
    """Hold a ModelConfigList against TF Serving's rules.

    Raises:
        StatusError: INVALID_ARGUMENT with TF Serving's text, where it has one.
    """
    seen = set()
    for model in models.config:
        if not model.name:
            raise invalid_argument(f"a model without a name; base_path()={model.base_path}")
        if model.name in seen:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
        if not Path(model.base_path).is_absolute():
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
        _check_platform(model)


def _check_platform(model: Any) -> None:
    is_tensorflow = (
        model.model_platform == _PLATFORM
        or model.model_type == model_server_config_pb2.ModelType.TENSORFLOW
    )
    if not is_tensorflow:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f'model {model.name} has model_platform "{model.model_platform}"; '
            f'only "{_PLATFORM}" is served',
        )
