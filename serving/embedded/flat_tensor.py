"""Tensors with shapes that NumPy does not support: their values and their shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from serving.embedded.signature import Signature

#: NumPy's limit on the number of dimensions.
_MAX_NUMPY_RANK = 64
#: The most elements of an allocation.
_MAX_ELEMENTS = 2**40
#: Reshaping in the graph supports one dimension less than tensors can have.
MAX_RANK = 253


@dataclass(frozen=True, eq=False, slots=True)
class FlatTensor:
    """A tensor with the interface of an array that this package uses.

    Attributes:
        values: the values in row-major order, shape [n].
        shape: the shape of the tensor.
    """

    values: npt.NDArray[Any]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def ravel(self) -> npt.NDArray[Any]:
        """The values in row-major order."""
        return self.values


Tensor = npt.NDArray[Any] | FlatTensor


def in_shape(values: npt.NDArray[Any], shape: Sequence[int]) -> Tensor:
    """Reshape values of shape [n] to a shape with n elements."""
    # NumPy has this limit also for shapes without elements: it has no array of [0, 2**62, 2].
    if len(shape) > _MAX_NUMPY_RANK or prod(filter(None, shape)) > _MAX_ELEMENTS:
        return FlatTensor(values, tuple(shape))
    return values.reshape(shape)


class Detour:
    """A bypass of NumPy: another copy of the signature's graph, between reshape operations."""

    def __init__(self, graph: tf.Graph, model: Any, signature: Signature) -> None:
        """Add the nodes to the graph; the session must then be extended.

        Args:
            graph: the graph of the session.
            model: the GraphDef of the model.
            signature: the signature.
        """
        names = sorted({info.name for info in signature.outputs.values()})
        self._inputs: dict[str, tuple[Any, Any]] = {}
        given = {}
        with graph.as_default():
            for alias, info in signature.inputs.items():
                flat = tf.compat.v1.placeholder(info.dtype, [None])
                shape = tf.compat.v1.placeholder(tf.int64, [None])
                self._inputs[alias] = flat._as_tf_output(), shape._as_tf_output()
                given[info.name] = tf.reshape(flat, shape)
            computed = tf.import_graph_def(
                model, input_map=given, return_elements=names, name="detour"
            )
            pairs = [(tf.reshape(each, [-1]), tf.shape(each, tf.int64)) for each in computed]
        edges = [(flat._as_tf_output(), shape._as_tf_output()) for flat, shape in pairs]
        self._outputs = dict(zip(names, edges, strict=True))

    def feeds(self, inputs: Mapping[str, Tensor]) -> dict[Any, npt.NDArray[Any]]:
        """Return the feeds of the session."""
        feeds = {}
        for alias, tensor in inputs.items():
            flat, shape = self._inputs[alias]
            feeds[flat] = tensor.ravel()
            feeds[shape] = np.array(tensor.shape, np.int64)
        return feeds

    def fetches(self, names: Sequence[str]) -> list[Any]:
        """Return the fetches of the session for these tensors."""
        return [edge for name in names for edge in self._outputs[name]]

    def results(self, fetched: Sequence[npt.NDArray[Any]]) -> list[Tensor]:
        """Return the tensors from the results of the session."""
        pairs = zip(fetched[::2], fetched[1::2], strict=True)
        return [in_shape(values, shape.tolist()) for values, shape in pairs]
