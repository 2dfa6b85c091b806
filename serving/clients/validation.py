"""Checks of the inputs and outputs of calls, the same for every client."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module.array_input import read_array
from kmeans_module.contract import SignatureContract, TensorContract
from kmeans_module.errors import NoArray

from ..errors import InvalidInput, ServerError
from .results import ModelMetadata
from .target import Target
from .tensor_sizes import Arrays

#: Thirty years in seconds. gRPC counts from 1970, and treats an end after 2262 as past.
_LONGEST_TIMEOUT: Final = 1e9

#: The dtypes of the contract as the single dtype objects of NumPy.
_DTYPES: Final = {name: np.dtype(name) for name in ("float32", "int32")}


def parse_timeout(timeout: float, target: Target) -> float:
    """Check the seconds that a call may take.

    Raises:
        InvalidInput: not a positive, finite number. A call without a deadline can hang.
    """
    seconds = math.nan
    with suppress(OverflowError):  # an integer above the largest float
        # numbers.Real includes NumPy's numbers.
        if isinstance(timeout, Real) and not isinstance(timeout, bool):
            seconds = float(timeout)
    if not 0 < seconds < math.inf:
        raise target.error(
            InvalidInput, f"timeout={timeout!r:.40} is not a deadline; give seconds above zero"
        )
    return min(seconds, _LONGEST_TIMEOUT)


def convert_inputs(
    signature: SignatureContract, values: Mapping[str, ArrayLike], target: Target
) -> Arrays:
    """Convert the inputs of a signature to arrays with the dtypes of the contract.

    The number of features depends on the model; ``check_declared_inputs`` checks it.

    Raises:
        InvalidInput: unknown or missing inputs, values that are not numbers, a wrong rank, or
            shapes that contradict each other.
    """
    names = [tensor.name for tensor in signature.inputs]
    if not isinstance(values, Mapping) or (list(values) != names and set(values) != set(names)):
        given = type(values).__name__
        if isinstance(values, Mapping):
            given = ", ".join(map(str, values)) or "none"
        raise target.error(
            InvalidInput,
            f"{signature.name} takes arrays by name ({', '.join(names)}), but got {given}",
        )
    arrays = {
        tensor.name: _convert_array(tensor, values[tensor.name], target)
        for tensor in signature.inputs
    }
    sizes: dict[str, tuple[int, str]] = {}
    for tensor in signature.inputs if len(names) > 1 else ():
        for letter, size in zip(tensor.shape, arrays[tensor.name].shape, strict=True):
            known, owner = sizes.setdefault(letter, (size, tensor.name))
            if known != size:
                raise target.error(
                    InvalidInput,
                    f"{tensor.name} has {letter}={size} where {owner} has {letter}={known}; "
                    f"{owner} and {tensor.name} must agree in {letter}",
                )
    return arrays


def _convert_array(tensor: TensorContract, value: ArrayLike, target: Target) -> NDArray[Any]:
    # Most points need no conversion. Between two calls NumPy's code leaves the cache of the
    # processor, so fewer NumPy calls are faster.
    if (
        type(value) is np.ndarray
        and value.dtype is _DTYPES.get(tensor.dtype)
        and value.ndim == len(tensor.shape)
    ):
        return value
    wanted = f"{tensor.dtype} [{', '.join(tensor.shape)}]"
    try:
        array = read_array(value, tensor.name, wanted)
    except NoArray as error:
        raise target.error(InvalidInput, str(error)) from None
    if array.ndim != len(tensor.shape):
        raise target.error(
            InvalidInput,
            f"{tensor.name} has shape {list(array.shape)}, of rank {array.ndim}; give {wanted}",
        )
    # NumPy makes an empty list float64; it has no value that could be lost.
    if tensor.dtype.startswith("int") and array.size:
        _check_integers(tensor, array, wanted, target)
    if array.dtype == tensor.dtype:
        return array
    # A number outside float32 becomes infinity, and its row a bad row.
    with np.errstate(over="ignore"):
        return array.astype(tensor.dtype)


def _check_integers(
    tensor: TensorContract, array: NDArray[Any], wanted: str, target: Target
) -> None:
    if array.dtype.kind not in "iu":
        what = f"holds {array.dtype}, not {tensor.dtype}"
        if array.dtype.kind == "f" and np.isnan(array).any():
            what = "has missing values"
        raise target.error(InvalidInput, f"{tensor.name} {what}; give {wanted}")
    limits = np.iinfo(tensor.dtype)
    for end in (array.min(), array.max()):
        if not limits.min <= end <= limits.max:
            raise target.error(
                InvalidInput, f"{tensor.name} holds {end}, which does not fit {tensor.dtype}"
            )


def check_declared_inputs(
    signature: SignatureContract, inputs: Arrays, metadata: ModelMetadata, target: Target
) -> None:
    """Check the inputs of a signature against the metadata of the server.

    Raises:
        InvalidInput: an input has another rank, width or dtype.
    """
    declared = metadata.signatures[signature.name].inputs
    for tensor in signature.inputs:
        wanted = declared.get(tensor.name)
        if wanted is None:
            raise target.error(
                InvalidInput,
                f"version {metadata.version} has no input {tensor.name} in {signature.name}; "
                f"it takes {', '.join(declared) or 'none'}",
            )
        array = inputs[tensor.name]
        shape = array.shape if wanted.shape is None else wanted.shape
        if (
            ("string" if array.dtype == object else array.dtype.name) != wanted.dtype
            or array.ndim != len(shape)
            or any(n not in (None, given) for n, given in zip(shape, array.shape, strict=True))
        ):
            raise target.error(
                InvalidInput,
                f"{tensor.name} is {array.dtype} {list(array.shape)}, and {signature.name} of "
                f"version {metadata.version} takes {wanted}",
            )


def refuse_bad_rows(inputs: Arrays, target: Target) -> None:
    """Raise InvalidInput for the first NaN or infinity; the message gives its index."""
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            places = np.argwhere(~np.isfinite(array))
            first = tuple(places[0].tolist())
            rows = len(np.unique(places[:, 0]))
            raise target.error(
                InvalidInput,
                f"{name}{list(first)} is {array[first]}, in {'one' if rows == 1 else rows} of "
                f"{len(array)} rows; give finite float32 numbers, or on_bad_row='answer'",
            )


def check_output(
    signature: SignatureContract,
    tensor: TensorContract,
    dtype: str,
    shape: Sequence[int],
    known: Mapping[str, int],
    target: Target,
) -> None:
    """Check the dtype and shape of an output against the contract and the known sizes.

    Raises:
        ServerError: the dtype or shape is wrong.
    """
    if dtype == tensor.dtype and shape == tuple(map(known.get, tensor.shape)):
        return
    if (
        dtype == tensor.dtype
        and len(shape) == len(tensor.shape)
        and all(
            known.get(letter, size) == size
            for letter, size in zip(tensor.shape, shape, strict=True)
        )
    ):
        return
    wanted = ", ".join(str(known.get(letter, letter)) for letter in tensor.shape)
    raise target.error(
        ServerError,
        f"the answer to {signature.name} has {tensor.name} of {dtype} {list(shape)}, "
        f"expected {tensor.dtype} [{wanted}]",
    )
