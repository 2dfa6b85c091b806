"""Fits whose bits are compared, over all that may not change them.

    python -m tests.kmeans_module.fit_bits THREADS BLOCK

prints, as JSON, the distinct hashes of each kind of data over the engines and the base addresses.
It runs in a process of its own: threads and kernels are made once.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from kmeans_module import (
    FitResult,
    RowSource,
    blocks,
    column_moments,
    cores,
    fit,
    source_rows,
    weighted_rows,
)
from kmeans_module.engines import near_ties, sharded
from kmeans_module.engines.choice import ENGINES

from .problems import Float32, assignments, blobs, misaligned

THREADS: Final = (1, 2, 3)
#: Numbers of a block: the smallest cut the rows into 24 blocks, the largest into one.
BLOCKS: Final = (2**11, 2**14, 2**20)
#: Floats after an aligned address; of them two where there is less time.
OFFSETS: Final = (0, 1, 7, 12) if os.environ.get("TFKMEANS_SOAK") else (0, 7)

#: Engines that keep nothing of a row.
STREAMED: Final = tuple(name for name in ENGINES if name not in ("bounds", "moved"))

Problem = tuple[Float32, int, dict[str, Any]]


def _plain() -> Problem:
    return blobs(3000, 3, 20), 20, {}


def _weighted() -> Problem:
    weight = np.random.default_rng(1).uniform(0, 3, 3000).astype("f4")
    weight[::7] = 0
    return blobs(3000, 3, 20), 20, {"sample_weight": weight}


def _standardized() -> Problem:
    return blobs(3000, 3, 20) * np.array([1, 1e3, 1e-3], "f4"), 20, {"standardize": True}


def _cosine() -> Problem:
    return blobs(3000, 3, 20), 20, {"distance": "cosine"}


def _ties() -> Problem:
    return np.random.default_rng(2).integers(-3, 4, (3000, 3)).astype("f4"), 20, {}


def _outlier() -> Problem:
    points = blobs(3000, 3, 20)
    points[1234] = 1e12
    return points, 20, {}


def _weights_far_apart() -> Problem:
    weight = np.where(np.arange(3000) % 2, 1e-30, 1e30)
    return blobs(3000, 3, 20), 20, {"sample_weight": weight}


def _random() -> Problem:
    return blobs(3000, 3, 20), 20, {"init": "random", "seed": 3}


def _parallel() -> Problem:
    return blobs(3000, 3, 20), 20, {"init": "k-means||", "seed": 4}


def _far_from_the_origin() -> Problem:
    return blobs(3000, 3, 20) + np.float32(1e5), 20, {}


def _wide() -> Problem:
    return blobs(3000, 20, 12), 12, {}


#: Kinds whose bits are on record. Where rows have fewer than eight columns, no sum is a BLAS
#: library's, whose order is that of a processor type.
RECORDED: Final[dict[str, Callable[[], Problem]]] = {
    "plain": _plain,
    "weighted": _weighted,
    "standardized": _standardized,
    "cosine": _cosine,
    "ties": _ties,
    "outlier": _outlier,
    "weights far apart": _weights_far_apart,
    "random": _random,
    "k-means||": _parallel,
    "far from the origin": _far_from_the_origin,
}
KINDS: Final = {**RECORDED, "wide": _wide}


def digest(found: FitResult) -> str:
    """The hash of all that a fit of rows in memory finds."""
    return digest_without_rows(found, assignments(found).tobytes())


def digest_without_rows(found: FitResult, assigned: bytes = b"") -> str:
    """The hash of all that a fit finds but the assignments."""
    arrays = found.initial_centroids, found.centroids
    numbers = repr((found.inertia, found.n_iter, found.history)).encode()
    parts = [*(each.tobytes() for each in arrays), assigned, numbers]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def fit_kind(kind: str, engine: str = "plain", offset: int = 0) -> FitResult:
    """The fit of a kind, by an engine, of points at so many floats after an aligned address."""
    points, k, options = KINDS[kind]()
    return fit(misaligned(points, offset), k, engine=engine, max_iter=12, n_init=1, **options)


def fit_source(kind: str, engine: str) -> FitResult:
    """The fit of a kind from a source, whose start is the fit of a fifth of its rows."""
    points, k, options = KINDS[kind]()
    weight = options.pop("sample_weight", None)
    source = RowSource.from_array(points, weight)
    return fit(source, k, engine=engine, max_iter=12, n_init=1, sample_rows=600, **options)


def fit_as_a_source(kind: str) -> FitResult:
    """The same of the rows in memory."""
    points, k, options = KINDS[kind]()
    options |= {"seeding": "sample", "sample_rows": 600}
    return fit(points, k, max_iter=12, n_init=1, **options)


def set_up(threads: int, block: int) -> None:
    """Let this process have so many threads, and passes over rows about so many numbers a block."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    cores._CORES = threads  # type: ignore[misc]
    blocks.BLOCK_NUMBERS = block  # type: ignore[misc]
    blocks.rows_per_block.__defaults__ = (block,)
    vars(source_rows)["_BLOCK_NUMBERS"] = block
    for module in (column_moments, near_ties):
        vars(module)["_BLOCK_NUMBERS"] = min(block, 2**16)
    for module in (weighted_rows, sharded):
        vars(module)["_BLOCK_ROWS"] = min(block // 16, 2**14)


def main() -> None:
    """Print the hashes."""
    set_up(int(sys.argv[1]), int(sys.argv[2]))
    hashes = {
        kind: sorted(
            {digest(fit_kind(kind, engine, offset)) for engine in ENGINES for offset in OFFSETS}
        )
        for kind in KINDS
    }
    hashes |= {
        f"{kind}, of a source": sorted(
            {
                digest_without_rows(fit_as_a_source(kind)),
                *(digest_without_rows(fit_source(kind, each)) for each in STREAMED),
            }
        )
        for kind in KINDS
    }
    sys.stdout.write(json.dumps(hashes))


if __name__ == "__main__":
    main()
