"""Write a module as the SavedModel that TensorFlow Serving loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from kmeans_module import KMeansModule


def write(
    version_directory: Path, module: "KMeansModule", feature_names: Sequence[str] | None = None
) -> None:
    """Write ``module``, with every signature of the served contract, into a version directory.

    With ``feature_names``, in the order of the columns, also those over tf.Examples.

    Raises OSError or tf.errors.OpError when the disk does not take it.
    """
    signatures = module.signatures
    if feature_names is not None:
        signatures |= module.example_signatures(feature_names)
    tf.saved_model.save(module, str(version_directory), signatures=signatures)
