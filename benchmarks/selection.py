"""Measure how often `select_k` finds the number of planted directions, and suggests none for noise.

::

    python -m benchmarks.selection [--seeds N] [--first-seed S] [--only TEXT] [--help]

A planted set has k unit vectors in d dimensions; each row is one of them plus noise from N(0,
noise^2 / d), so that noise 1.0 has the length of a direction; the distance is cosine. Noise sets
have no clusters. It prints a line for each set, with the seeds of wrong suggestions. All sets take
hours on two cores; ``--only "50 directions"`` selects the sets whose names contain this text.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module import Selection, select_k
from kmeans_module.model_space import DISTANCES, Distance

Select = Callable[[int], Selection]

DIRECTIONS: Final = [
    (k, d, noise) for k in (10, 20, 35, 50) for d in (256, 768) for noise in (1.0, 1.5, 2.0, 3.0)
]
NOISES: Final = [
    (kind, d, distance)
    for kind in ("normal", "uniform")
    for d in (2, 16, 256)
    for distance in DISTANCES
]


def planted_directions(k: int, d: int, noise: float, n: int, seed: int) -> NDArray[np.float32]:
    """Return rows [n, d] in random order, with equally many about each of k directions."""
    random = np.random.default_rng([seed, k, d, round(100 * noise)])
    directions = random.standard_normal((k, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    labels = random.permutation(np.arange(n) % k)
    rows: NDArray[np.float64] = directions[labels] + random.normal(0, noise / d**0.5, (n, d))
    return rows.astype(np.float32)


def noise_rows(kind: str, d: int, n: int, seed: int) -> NDArray[np.float32]:
    """Return rows [n, d] without clusters: normally distributed, or uniform about the origin."""
    random = np.random.default_rng([seed, d])
    if kind == "normal":
        return random.standard_normal((n, d)).astype(np.float32)
    return random.uniform(-1, 1, (n, d)).astype(np.float32)


def list_sets(given: argparse.Namespace) -> Iterator[tuple[str, int | None, Select]]:
    """Yield for each set its name, the right suggestion, and a function from seed to selection."""
    settings = given.n_init, given.resamples
    for k, d, noise in DIRECTIONS:
        shape, span = (k, d, noise, given.rows), (k - given.below, k + given.above)
        name = f"{k} directions, d {d}, noise {noise}"
        yield name, k, partial(_select, planted_directions, shape, span, "cosine", settings)
    for kind, d, distance in NOISES:
        few, span = (kind, d, given.noise_rows), (2, given.noise_to)
        name = f"noise, {kind}, d {d}, {distance}"
        yield name, None, partial(_select, noise_rows, few, span, distance, settings)


def _select(
    draw: Callable[..., NDArray[np.float32]],
    shape: tuple[Any, ...],
    span: tuple[int, int],
    distance: Distance,
    starts_and_halves: tuple[int, int],
    seed: int,
) -> Selection:
    n_init, resamples = starts_and_halves
    return select_k(
        draw(*shape, seed), *span, distance=distance, n_init=n_init, resamples=resamples, seed=seed
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0].replace("`", ""))
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--below", type=int, default=2)
    parser.add_argument("--above", type=int, default=4)
    parser.add_argument("--noise-rows", type=int, default=1_000)
    parser.add_argument("--noise-to", type=int, default=12)
    parser.add_argument("--n-init", type=int, default=4)
    parser.add_argument("--resamples", type=int, default=10)
    parser.add_argument("--only", default="", help="only the sets whose names contain this text")
    given = parser.parse_args()
    print("| set | right | others | seconds each |\n|---|---|---|---|")
    for name, right, select in list_sets(given):
        if given.only not in name:
            continue
        began, wrong = time.monotonic(), []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            suggestion = select(seed).suggestion
            if suggestion != right:
                wrong.append(f"seed {seed}: {suggestion}")
        seconds = (time.monotonic() - began) / given.seeds
        count = f"{given.seeds - len(wrong)} of {given.seeds}"
        print(f"| {name} | {count} | {', '.join(wrong)} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
