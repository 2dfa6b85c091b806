"""Calls without rows (n = 0), which no server is asked.

TensorFlow Serving with ``--enable_batching`` keeps a request without rows until one with rows
comes, beyond its deadline, and its thread with it; and JSON cannot carry the shape of an array
without elements. The contract and the metadata tell most answers, ``empty_outputs``. Where they do
not, ``pad_rows`` adds a row to the request, and ``cut_padding`` removes its answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module.contract import SignatureContract

from .tensor_sizes import Arrays, input_sizes


def empty_outputs(signature: SignatureContract, sizes: Mapping[str, int]) -> Arrays | None:
    """The outputs of a call whose dimension 0 is 0; None where a size is not known.

    The k of ``transform`` and the d of ``decode`` are not among the sizes of the inputs.
    """
    letters = {letter for tensor in signature.outputs for letter in tensor.shape}
    if not letters <= sizes.keys():
        return None
    return {
        tensor.name: np.empty([sizes[letter] for letter in tensor.shape], tensor.dtype)
        for tensor in signature.outputs
    }


def pad_rows(signature: SignatureContract, inputs: Arrays) -> Arrays:
    """The inputs, with one row of zeros where they have none.

    In ``fit_step`` it is a row of weight 0, which changes nothing; elsewhere ``cut_padding``
    removes its answer.
    """
    if input_sizes(signature, inputs)["n"]:
        return inputs
    return {
        tensor.name: np.pad(
            inputs[tensor.name], [(0, 1 if letter == "n" else 0) for letter in tensor.shape]
        )
        for tensor in signature.inputs
    }


def cut_padding(
    signature: SignatureContract, inputs: Arrays, outputs: Mapping[str, NDArray[Any]]
) -> Mapping[str, NDArray[Any]]:
    """The outputs for the inputs as they were before ``pad_rows``."""
    if input_sizes(signature, inputs)["n"]:
        return outputs
    return {
        tensor.name: outputs[tensor.name][:0] if tensor.shape[0] == "n" else outputs[tensor.name]
        for tensor in signature.outputs
    }
