"""Calls without rows (n = 0), which are not sent to a server.

TensorFlow Serving with ``--enable_batching`` holds a request without rows and its thread until a
request with rows arrives, even beyond the deadline; and JSON cannot express the shape of an array
without elements. Most answers follow from the contract and the metadata (``empty_outputs``). For
the others, ``pad_rows`` adds a row to the request, and ``cut_padding`` removes its answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module.contract import SignatureContract

from .tensor_sizes import Arrays, input_sizes


def empty_outputs(signature: SignatureContract, sizes: Mapping[str, int]) -> Arrays | None:
    """Return the outputs of a call whose dimension 0 is 0; None if a size is unknown.

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
    """Return the inputs, with a row of zeros added if they have no rows.

    In ``fit_step`` this row has weight 0 and no effect; elsewhere ``cut_padding`` removes its
    answer.
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
    """Return the outputs for the inputs before ``pad_rows``."""
    if input_sizes(signature, inputs)["n"]:
        return outputs
    return {
        tensor.name: outputs[tensor.name][:0] if tensor.shape[0] == "n" else outputs[tensor.name]
        for tensor in signature.outputs
    }
