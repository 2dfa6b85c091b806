"""The two models that the recorded answers were taken from.

What the recorded metadata shows (names, dtypes and shapes of signatures and their tensors) and what
the recorded values need is as in the models of the recording; nothing else has to be.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

Signatures = dict[str, Any]
_FLOAT_DTYPES = ["float16", "float32", "float64"]
_INT_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]
_DTYPES = [*_FLOAT_DTYPES, *_INT_DTYPES, "bool", "string"]


def write_fixture_models(root: Path) -> None:
    """Write ``kmeans`` (versions 1 and 2) and ``types`` (version 1) under ``root``."""
    scaled = _KMeans([[0, 0], [1, 0], [0, 2]], shift=[10, -3], scale=[2, 0.5])
    plain = _KMeans([[0, 0], [4, 4]], shift=[0, 0], scale=[1, 1])
    _save(scaled.signatures(), scaled.variables, root / "kmeans" / "1")
    _save(plain.signatures(), plain.variables, root / "kmeans" / "2")
    _save(_types_signatures(), [], root / "types" / "1")


def _save(signatures: Signatures, variables: list[Any], directory: Path) -> None:
    module = tf.Module()
    module.kept = variables
    tf.saved_model.save(module, str(directory), signatures=signatures)


def _floats(name: str, *shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32, name)


class _KMeans:
    """Centroids [k, d] in a space that is reached by (x - shift) / scale."""

    def __init__(
        self,
        centroids: Sequence[Sequence[float]],
        *,
        shift: Sequence[float],
        scale: Sequence[float],
    ) -> None:
        self.centroids = tf.Variable(centroids, trainable=False, dtype=tf.float32)
        self.shift = tf.Variable(shift, trainable=False, dtype=tf.float32)
        self.scale = tf.Variable(scale, trainable=False, dtype=tf.float32)
        self.variables = [self.centroids, self.shift, self.scale]
        self.width = self.centroids.shape[1]

    def signatures(self) -> Signatures:
        points = _floats("points", None, self.width)
        indices = tf.TensorSpec([None], tf.int32, "cluster_index")
        problems = [
            _floats("points", None, None, self.width),
            _floats("sample_weight", None, None),
            _floats("centroids", None, None, self.width),
        ]
        return {
            "serving_default": tf.function(self.assign, [points]),
            "assign": tf.function(self.assign, [points]),
            "score": tf.function(self.score, [points]),
            "transform": tf.function(self.transform, [points]),
            "decode": tf.function(self.decode, [indices]),
            "fit_step": tf.function(_fit_step, problems),
        }

    def squared_distances(self, points: Any) -> Any:
        """[n, d] to [n, k]."""
        z = (points - self.shift) / self.scale
        difference = z[:, tf.newaxis] - self.centroids[tf.newaxis]
        return tf.reduce_sum(difference**2, axis=2)

    def checked(self, points: Any) -> Any:
        """The points, which must have the right width before anything else looks at them."""
        return tf.ensure_shape(points, [None, self.width])

    def assign(self, points: Any) -> dict[str, Any]:
        points = self.checked(points)
        squared = self.squared_distances(points)
        is_finite = tf.reduce_all(tf.math.is_finite(points), axis=1)
        nearest = tf.argmin(squared, axis=1, output_type=tf.int32)
        distance = tf.sqrt(tf.reduce_min(squared, axis=1))
        return {
            "cluster_index": tf.where(is_finite, nearest, -1),
            "distance": tf.where(is_finite, distance, -1.0),
        }

    def score(self, points: Any) -> dict[str, Any]:
        two_nearest = -tf.math.top_k(-self.squared_distances(self.checked(points)), k=2).values
        own, other = tf.unstack(tf.sqrt(two_nearest), axis=1)
        return {
            "squared_distance": two_nearest[:, 0],
            "silhouette": tf.math.divide_no_nan(other - own, other),
        }

    def transform(self, points: Any) -> dict[str, Any]:
        return {"all_distances": tf.sqrt(self.squared_distances(self.checked(points)))}

    def decode(self, cluster_index: Any) -> dict[str, Any]:
        return {"centroid": tf.gather(self.centroids, cluster_index) * self.scale + self.shift}


def _fit_step(points: Any, sample_weight: Any, centroids: Any) -> dict[str, Any]:
    difference = points[:, :, tf.newaxis] - centroids[:, tf.newaxis]
    squared = tf.reduce_sum(difference**2, axis=3)
    member = tf.one_hot(tf.argmin(squared, axis=2), tf.shape(centroids)[1])
    weight = member * sample_weight[:, :, tf.newaxis]
    counts = tf.reduce_sum(weight, axis=1)
    sums = tf.matmul(weight, points, transpose_a=True)
    size = counts[:, :, tf.newaxis]
    moved = tf.where(size > 0, tf.math.divide_no_nan(sums, size), centroids)
    return {
        "centroids": moved,
        "counts": counts,
        "inertia": tf.reduce_sum(tf.reduce_min(squared, axis=2) * sample_weight, axis=1),
        "shift": tf.reduce_sum((moved - centroids) ** 2, axis=[1, 2]),
    }


def _types_signatures() -> Signatures:
    """Signatures for every dtype and rank that REST treats in its own way."""
    vector, pairs = _floats("x", None), [_floats("a", None, 2), _floats("b", None, 2)]
    examples = [tf.TensorSpec([None], tf.string, "inputs")]
    texts = tf.TensorSpec([None], tf.string, "x_bytes")
    two = tf.function(lambda a, b: {"sum": a + b, "first": tf.identity(a)}, pairs)
    signatures: Signatures = {f"echo_{dtype}": _echo(dtype) for dtype in _DTYPES}
    return signatures | {
        "two": two,
        "serving_default": two,
        "scalar": tf.function(lambda x: {"total": tf.reduce_sum(x)}, [vector]),
        "odd": tf.function(lambda x: {"y": tf.identity(x), "z": tf.identity(x)[:1]}, [vector]),
        "raw_bytes": tf.function(lambda x: {"y_bytes": tf.identity(x)}, [texts]),
        "classify": tf.function(_classify, examples),
        "regress": tf.function(_regress, examples),
    }


def _echo(dtype: str) -> Callable[..., Any]:
    function: Callable[..., Any] = tf.function(
        lambda x: {"y": tf.identity(x)}, [tf.TensorSpec(None, dtype, "x")]
    )
    return function


def _parse(inputs: Any) -> Any:
    features = {
        "a": tf.io.FixedLenFeature([], tf.float32),
        "b": tf.io.FixedLenFeature([], tf.float32, default_value=0.5),
    }
    return tf.io.parse_example(inputs, features)


def _classify(inputs: Any) -> dict[str, Any]:
    row = _parse(inputs)
    scores = tf.stack([row["a"], row["b"]], axis=1)
    classes = tf.tile(tf.constant([["left", "right"]]), [tf.shape(scores)[0], 1])
    return {"classes": classes, "scores": scores}


def _regress(inputs: Any) -> dict[str, Any]:
    row = _parse(inputs)
    return {"outputs": row["a"] - row["b"]}
