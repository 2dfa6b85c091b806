"""Models published as ``publish`` leaves them, for tests of what is asked of them afterwards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from export import make_card, publish, publishing, write_candidate
from kmeans_module import FitResult, fit

_FIT: Final[dict[str, Any]] = {
    "init": "k-means++",
    "n_init": 1,
    "max_iter": 20,
    "tol": 1e-4,
    "standardize": False,
    "seed": 1,
}


def publish_unvalidated(
    folder: Path, name: str, feature_names: Sequence[str], *, rows: int, versions: int
) -> tuple[NDArray[np.float32], FitResult]:
    """Publish a model of three clusters below ``folder``; gives its rows and its fit.

    What the validation finds is not in question, and it takes a process with TensorFlow.
    """
    points = np.random.default_rng(3).normal(size=(rows, len(feature_names))).astype(np.float32)
    result = fit(points, 3, **_FIT)
    card = make_card(result, points, feature_names=feature_names, model=name)
    write_candidate(folder / "candidate", result, card, points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
        for _ in range(versions):
            publish(folder / "candidate", folder / "models" / name)
    return points, result
