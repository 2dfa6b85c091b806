"""Sizes of the arrays of a call, by the letters in the shapes of the contract."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from kmeans_module.contract import SignatureContract, TensorContract

from .results import ModelMetadata, Signature, Tensor

Arrays = dict[str, NDArray[Any]]


def input_sizes(signature: SignatureContract, inputs: Arrays) -> dict[str, int]:
    """Return the sizes of the inputs of a call."""
    sizes: dict[str, int] = {}
    for tensor in signature.inputs:
        sizes.update(zip(tensor.shape, inputs[tensor.name].shape, strict=True))
    return sizes


def pair_tensors(
    contract: SignatureContract, declared: Signature
) -> Iterator[tuple[TensorContract, Tensor | None]]:
    """Pair each tensor of the contract with the declared tensor of the same name."""
    for wanted, found in (
        (contract.inputs, declared.inputs),
        (contract.outputs, declared.outputs),
    ):
        for tensor in wanted:
            yield tensor, found.get(tensor.name)


def declared_sizes(signature: SignatureContract, metadata: ModelMetadata) -> dict[str, int]:
    """Return the sizes that the model fixes."""
    declared = metadata.signatures.get(signature.name, Signature({}, {}))
    return {
        letter: size
        for tensor, found in pair_tensors(signature, declared)
        if found is not None and found.shape is not None and len(found.shape) == len(tensor.shape)
        for letter, size in zip(tensor.shape, found.shape, strict=True)
        if size is not None
    }


def row_bytes(signature: SignatureContract, sizes: Mapping[str, int], value_bytes: int) -> int:
    """The bytes of a row (an element of dimension 0) in the request or the answer."""

    def size(tensors: Sequence[TensorContract], each: int) -> int:
        return each * sum(math.prod(sizes.get(n, 1) for n in t.shape[1:]) for t in tensors)

    # A number in an answer may be a negative integer in a typed field, which has ten bytes.
    return max(size(signature.inputs, value_bytes), size(signature.outputs, max(value_bytes, 10)))


def longest_texts(inputs: Arrays) -> int:
    """The most bytes of the texts of a row, rounded up to a power of two; 0 without texts.

    A character has at most four bytes; over REST, with escapes, at most six.
    """
    texts = [array for array in inputs.values() if array.dtype == object]
    longest = sum(6 * max(map(len, array), default=0) + 8 for array in texts)
    return 1 << (longest - 1).bit_length() if longest else 0
