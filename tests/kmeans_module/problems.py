"""Clustering problems that the tests share."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module import FitResult

Float32 = NDArray[np.float32]


def assignments(found: FitResult) -> NDArray[np.int32]:
    """Those of a fit of rows in memory."""
    assert found.assignments is not None
    return found.assignments


def blobs(n: int = 600, d: int = 4, k: int = 5, *, spread: float = 1.0, seed: int = 0) -> Float32:
    """Normal clouds around k centres that are uniform in [-4, 4]^d."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-4, 4, (k, d))
    return (centres[rng.integers(k, size=n)] + spread * rng.standard_normal((n, d))).astype("f4")


def planted_directions(k: int, d: int, noise: float, n: int, seed: int) -> Float32:
    """Rows [n, d], as many about each of k directions as about any other, in a random order.

    Each is a unit vector and noise from N(0, noise^2 / d): of noise 1.0 it is as long as that.
    """
    rng = np.random.default_rng([seed, k, d, round(100 * noise)])
    directions = rng.standard_normal((k, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    labels = rng.permutation(np.arange(n) % k)
    rows: Float32 = (directions[labels] + rng.normal(0, noise / d**0.5, (n, d))).astype("f4")
    return rows


def distinct_rows(points: Float32, k: int, *, seed: int = 0) -> Float32:
    """k rows of the points, all different: initial centroids for two contenders."""
    rows = np.unique(points, axis=0)
    chosen: Float32 = rows[np.random.default_rng(seed).choice(len(rows), k, replace=False)]
    return chosen


def misaligned(points: Float32, offset: int) -> Float32:
    """The same numbers, in memory that begins so many numbers after an aligned address."""
    room = np.empty(points.size + 32, np.float32)
    first = -room.ctypes.data % 64 // 4 + offset
    placed: Float32 = room[first : first + points.size].reshape(points.shape)
    placed[:] = points
    return placed


def two_nearest_distances(points: NDArray[Any], centroids: NDArray[Any]) -> NDArray[np.float64]:
    """The two smallest distances of each row, by NumPy in float64: [n, 2]."""
    wide = points[:, None, :].astype("f8") - centroids[None].astype("f8")
    return np.sort(np.sqrt((wide**2).sum(-1)), axis=1)[:, :2]


def plain_lloyd(
    points: Float32, centroids: NDArray[Any], steps: int
) -> Iterator[NDArray[np.float64]]:
    """The centroids before each step of Lloyd's algorithm and after the last, in float64."""
    wide, centroids = points.astype("f8"), centroids.astype("f8")
    for _ in range(steps):
        yield centroids
        squared = ((wide[:, None] - centroids[None]) ** 2).sum(-1)
        member = squared.argmin(1)[:, None] == np.arange(len(centroids))
        counts = member.sum(0)[:, None]
        means = np.divide(member.T @ wide, counts, where=counts > 0, out=centroids.copy())
        centroids = means
    yield centroids


def decided_by_rounding(points: Float32, centroids: NDArray[Any], steps: int) -> bool:
    """Whether some step meets a row with two equally near centroids, or an empty cluster."""
    for step in plain_lloyd(points, centroids, steps):
        near = two_nearest_distances(points, step)
        squared = ((points[:, None].astype("f8") - step[None]) ** 2).sum(-1)
        if len(np.unique(squared.argmin(1))) < len(step):
            return True
        if len(step) > 1 and (near[:, 1] - near[:, 0] <= 1e-4).any():
            return True
    return False
