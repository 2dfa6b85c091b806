"""Rename the inputs of a SavedModel's signatures to the names of columns.

TensorFlow requires that the name of an input is a valid argument name of Python, and so refuses
"annual income" and "class". A server accepts any name in the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from kmeans_module.contract import COLUMN_SIGNATURES, column_input

from .repository import SAVED_MODEL


def name_columns(version_directory: Path, names: Sequence[str]) -> None:
    """Set the names of the inputs of the signatures over columns, in the order of the columns.

    The names are set in the signatures, for servers, and in their functions, for TensorFlow in
    Python.
    """
    path = version_directory / SAVED_MODEL
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    known = {column_input(place): name for place, name in enumerate(names)}
    for graph in model.meta_graphs:
        for signature in COLUMN_SIGNATURES:
            if signature in graph.signature_def:
                _rename_inputs(graph.signature_def[signature].inputs, known)
        objects = graph.object_graph_def
        for node in objects.nodes:
            if node.WhichOneof("kind") == "bare_concrete_function":
                function = node.bare_concrete_function
                renamed = [known.get(each, each) for each in function.argument_keywords]
                function.argument_keywords[:] = renamed
    path.write_bytes(model.SerializeToString())


def _rename_inputs(inputs: Any, known: dict[str, str]) -> None:
    renamed = {name: inputs[internal].SerializeToString() for internal, name in known.items()}
    inputs.clear()
    for name, serialized in renamed.items():
        inputs[name].ParseFromString(serialized)
