"""The SavedModel: what a server finds in it, and that it is the module that was saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from kmeans_module import SIGNATURES, FitResult


def _requests(points: NDArray[np.float32]) -> dict[str, dict[str, NDArray[Any]]]:
    rows: dict[str, NDArray[Any]] = {"points": points}
    rng = np.random.default_rng(0)
    return {
        "serving_default": rows,
        "assign": rows,
        "score": rows,
        "transform": rows,
        "decode": {"cluster_index": np.array([3, 0, 0, 2, 1], np.int32)},
        "fit_step": {
            "points": np.stack([points, points[::-1]]),
            "sample_weight": rng.random((2, len(points)), np.float32),
            "centroids": np.stack([points[:4], points[-5:-1]]),
        },
    }


def test_the_reloaded_model_answers_with_the_bits_of_the_module_in_memory(
    candidate: Path, fitted: FitResult, points: NDArray[np.float32]
) -> None:
    reloaded = tf.saved_model.load(str(candidate)).signatures
    requests = _requests(points)
    assert requests.keys() == SIGNATURES.keys()
    for name, inputs in requests.items():
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        here = fitted.module.signatures[name](**tensors)
        there = reloaded[name](**tensors)
        assert here.keys() == there.keys()
        for key in here:
            assert here[key].numpy().tobytes() == there[key].numpy().tobytes(), (name, key)


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_the_file_declares_the_contract(candidate: Path, name: str) -> None:
    saved = saved_model_pb2.SavedModel.FromString((candidate / "saved_model.pb").read_bytes())
    declared = saved.meta_graphs[0].signature_def[name]
    sizes = {"d": 3, "k": 4 if name != "fit_step" else -1}
    for tensors, contract in (
        (declared.inputs, SIGNATURES[name].inputs),
        (declared.outputs, SIGNATURES[name].outputs),
    ):
        assert tensors.keys() == {tensor.name for tensor in contract}
        for tensor in contract:
            info = tensors[tensor.name]
            assert tf.dtypes.as_dtype(info.dtype).name == tensor.dtype
            assert [dim.size for dim in info.tensor_shape.dim] == [
                sizes.get(dim, -1) for dim in tensor.shape
            ]
