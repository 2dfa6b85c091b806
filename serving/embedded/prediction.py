"""Predict: run any signature with named tensors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.embedded.flat_tensor import MAX_RANK, FlatTensor, Tensor
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable, check_inputs
from serving.embedded.signature import Signature
from serving.embedded.status import Code, StatusError, invalid_argument
from serving.embedded.tensor_proto import (
    InvalidTensor,
    TooBig,
    UnsupportedDtype,
    array_of_checked,
    check_proto,
    dtype_of,
    shape_text,
)

DEFAULT_SIGNATURE = "serving_default"


def predict(
    request: Request,
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, Any],
    output_filter: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Run a signature by name; an empty name is the default signature.

    Args:
        request: the request.
        servable: the loaded version.
        signature_name: the signature's name.
        inputs: arrays or TensorProtos by input name.
        output_filter: the outputs to compute; all when empty.

    Raises:
        StatusError: an unknown signature, inputs that do not fit it, an invalid tensor, an unknown
            or repeated output, or an error of the graph.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    _check_number_of_inputs(signature, inputs)
    dtypes = _dtypes(signature, inputs)
    names = _outputs(signature, output_filter)
    # Unknown inputs are not converted to arrays, because they may be big.
    check_inputs(signature, dtypes)
    arrays = {alias: _array_of(signature, alias, value) for alias, value in inputs.items()}
    _check_flat_tensors(signature, arrays)
    return request.run("Predict", servable, signature, arrays, names)


def _check_number_of_inputs(signature: Signature, inputs: Mapping[str, Any]) -> None:
    given, wanted = set(inputs), set(signature.inputs)
    if given == wanted:
        return
    missing = wanted - given - set(signature.defaults)
    extra = given - wanted
    if len(missing) == len(extra):
        return  # the number is right; wrong names are found when inputs are bound
    raise invalid_argument(
        f"input size does not match signature: {len(given)}!={len(wanted)} "
        f"len({_set(given)}) != len({_set(wanted)}). Sent extra: {_set(extra)}. "
        f"Missing but required: {_set(missing)}."
    )


def _dtypes(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, int]:
    """Return the dtypes of the inputs; check that each input is a tensor."""
    dtypes = {}
    for alias, value in sorted(inputs.items()):
        if isinstance(value, np.ndarray | FlatTensor):
            dtypes[alias] = dtype_of(value)
            continue
        try:
            check_proto(value)
        except InvalidTensor as error:
            raise tensor_error(signature.inputs, alias, error) from error
        dtypes[alias] = value.dtype
    return dtypes


def _array_of(signature: Signature, alias: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray | FlatTensor):
        return value
    try:
        return array_of_checked(value)
    except InvalidTensor as error:
        raise tensor_error(signature.inputs, alias, error) from error


def tensor_error(inputs: Mapping[str, Any], alias: str, error: InvalidTensor) -> StatusError:
    """Make the error for an input that is not a valid tensor."""
    if isinstance(error, TooBig):
        return StatusError(Code.RESOURCE_EXHAUSTED, str(error))
    if isinstance(error, UnsupportedDtype) and alias in inputs:
        return StatusError(Code.UNIMPLEMENTED, f"Input {alias} has {error}")
    return invalid_argument(f"tensor parsing error: {alias}")


def _check_flat_tensors(signature: Signature, tensors: Mapping[str, Tensor]) -> None:
    """Check shapes that NumPy does not support against the declared ones, with the graph's message.

    The graph checks them too, but with other names in the bypass of NumPy.
    """
    for index, (alias, info) in enumerate(signature.inputs.items()):
        tensor = tensors.get(alias)
        if not isinstance(tensor, FlatTensor):
            continue
        if _fits(info.tensor_shape, tensor.shape):
            if tensor.ndim > MAX_RANK:
                limit = f"{tensor.ndim} dimensions; this server has {MAX_RANK} at most"
                raise StatusError(Code.UNIMPLEMENTED, f"Input {alias} has {limit}")
            continue
        feed = info.name.replace(":", "_")
        declared = ",".join("?" if d.size < 0 else str(d.size) for d in info.tensor_shape.dim)
        raise invalid_argument(
            f"Shape of tensor _arg_{feed}_{index} {shape_text(tensor.shape)} is not compatible "
            f"with expected shape [{declared}]."
        )


def _fits(declared: Any, shape: Sequence[int]) -> bool:
    if declared.unknown_rank:
        return True
    return len(shape) == len(declared.dim) and all(
        dim.size in {-1, size} for dim, size in zip(declared.dim, shape, strict=True)
    )


def _outputs(signature: Signature, output_filter: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_set(signature.outputs)}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return list(output_filter or signature.outputs)


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
