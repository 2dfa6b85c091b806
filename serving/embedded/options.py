"""Checks of the options and their folders, with messages of one line."""

from os import PathLike
from typing import Any

import tensorflow as tf

from serving.embedded.errors import InvalidOptions, NoModel
from serving.embedded.version_discovery import select_versions, version_directories


def check_sources(
    name: str | None,
    base_path: str | PathLike[str] | None,
    config_file: str | PathLike[str] | None,
    config_poll_seconds: float,
) -> None:
    """Check the options that select the models.

    Raises:
        InvalidOptions: no model, models in two ways, or a poll interval without a file.
    """
    if config_file is not None and (name is not None or base_path is not None):
        raise InvalidOptions(
            "model_config_file lists the models itself; give either it or model_name and "
            "model_base_path"
        )
    if config_file is None and (not name or base_path is None):
        raise InvalidOptions(
            "there is no model to serve; give model_name and model_base_path, or model_config_file"
        )
    if config_file is None and config_poll_seconds:
        raise InvalidOptions(
            "model_config_file_poll_wait_seconds needs a model_config_file to look at"
        )


def check_base_path(model: Any) -> None:
    """Check that the base path of a ModelConfig has a version to serve.

    Raises:
        NoModel: the folder does not exist, or has no version to serve.
    """
    base_path = model.base_path
    try:
        if not tf.io.gfile.isdir(base_path):
            what = "is not a folder" if tf.io.gfile.exists(base_path) else "does not exist"
            raise NoModel(
                f"base path {base_path} of model {model.name} {what}; give the folder that holds "
                "the version folders"
            )
        present = version_directories(base_path)
    except tf.errors.UnimplementedError as error:
        raise NoModel(
            f"base path {base_path} of model {model.name} can't be read: this TensorFlow has no "
            "file system for such addresses; mount the store as a folder, or copy the versions"
        ) from error
    except (OSError, tf.errors.OpError) as error:
        raise NoModel(
            f"base path {base_path} of model {model.name} can't be read: {error}"
        ) from error
    if not present:
        raise NoModel(
            f"base path {base_path} of model {model.name} holds no version folder (a folder whose "
            "name is a number); publish a version there"
        )
    if not select_versions(model.model_version_policy, present):
        found = ", ".join(map(str, sorted(present)))
        raise NoModel(
            f"base path {base_path} of model {model.name} contains none of the versions of its "
            f"policy (it contains {found}); correct model_version_policy"
        )
