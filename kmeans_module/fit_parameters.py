"""The parameters of a fit, checked, with every default resolved."""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from .errors import InvalidParameter
from .initialization import INITIALIZATIONS
from .model_space import DISTANCES, Distance
from .row_sample import SEEDINGS, Seeding, default_sample_rows
from .validation import check_choice, check_feature_weight, check_whole

#: Up to this number of rows the default is ten starts; above it one, or five for a sample.
_ROWS_OF_TEN_STARTS: Final = 100_000
_STARTS_OF_SAMPLE: Final = 5


@dataclass(frozen=True)
class FitParameters:
    """The parameters of a fit, checked, with every default resolved.

    Attributes:
        n_clusters: the number of clusters, k.
        init: the name of the initialization, or "array" for given centroids.
        n_init: the number of starts.
        max_iter: the most iterations of one start.
        tol: tolerance of the shift, relative to the mean variance of the columns.
        standardize: whether each column was divided by its standard deviation.
        distance: "euclidean" or "cosine".
        seed: the seed of every random choice.
        seeding: "all" if the initial centroids are drawn from all rows, "sample" if they are those
            of a fit of a sample, None if they were given.
        sample_rows: the number of rows of that sample; None without a sample.
        passes: the most iterations over all rows after the sample; None if ``max_iter`` limits
            them.
        feature_weight: the weight of each of the d columns; None if all weights are 1.

    Example:
        >>> from tfkmeans import fit
        >>> parameters = fit([[0.0], [1.0], [9.0]], n_clusters=2).parameters
        >>> parameters.n_init, parameters.seed, parameters.seeding
        (10, 0, 'all')
    """

    n_clusters: int
    init: str
    n_init: int
    max_iter: int
    tol: float
    standardize: bool
    distance: Distance
    seed: int
    seeding: Seeding | None = "all"
    sample_rows: int | None = None
    passes: int | None = None
    feature_weight: tuple[float, ...] | None = None

    @property
    def starts_over_all_rows(self) -> int:
        """The number of starts over all rows; starts over a sample do not count."""
        return self.n_init if self.seeding == "all" else 1

    @property
    def most_iterations(self) -> int:
        """The most iterations of one start over all rows."""
        return self.max_iter if self.passes is None else self.passes

    @classmethod
    def check(
        cls,
        shape: tuple[int, ...],
        n_clusters: int,
        *,
        init: Any,
        n_init: int | Literal["auto"],
        max_iter: int,
        tol: float,
        standardize: bool,
        distance: Distance,
        seed: int | None,
        random_state: int | None,
        seeding: str,
        sample_rows: int | None,
        passes: int | None,
        feature_weight: ArrayLike | None,
        is_streamed: bool,
    ) -> "FitParameters":
        """Check the parameters of `fit` for rows of this shape.

        Args:
            shape: n and d.
            n_clusters, init, n_init, max_iter, tol, standardize, distance, seed, random_state: see
                `fit`.
            seeding, sample_rows, passes, feature_weight: see `fit`.
            is_streamed: whether the rows come from a `RowSource`.

        Returns:
            The parameters, with numbers instead of "auto".

        Raises:
            InvalidParameter: a parameter has the wrong type, or is out of range.

        Example:
            >>> from tfkmeans import FitParameters
            >>> parameters = FitParameters.check(
            ...     (200_000, 2), 3, init="k-means++", n_init="auto", max_iter=300, tol=1e-4,
            ...     standardize=False, distance="euclidean", seed=None, random_state=None,
            ...     seeding="auto", sample_rows=None, passes=None, feature_weight=None,
            ...     is_streamed=False,
            ... )
            >>> parameters.n_init, parameters.seed, parameters.seeding
            (1, 0, 'all')
        """
        (n, d), k = shape, check_whole("n_clusters", n_clusters, 1)
        if not isinstance(standardize, bool | np.bool_):
            raise InvalidParameter(f"standardize is {standardize!r}; give True or False")
        is_drawn = isinstance(init, str)
        if is_drawn:
            check_choice("init", init, INITIALIZATIONS, more=", or an array of centroids")
        chosen = _check_seeding(seeding, sample_rows, passes, is_drawn, is_streamed)
        if chosen == "sample":
            given = default_sample_rows(d, k) if sample_rows is None else sample_rows
            sample_rows = min(n, check_whole("sample_rows", given, k))
        starts = _check_starts(n_init, n, sample_rows)
        return cls(
            n_clusters=k,
            init=init if is_drawn else "array",
            n_init=starts if is_drawn else 1,
            max_iter=check_whole("max_iter", max_iter, 1),
            tol=_check_tol(tol),
            standardize=bool(standardize),
            distance=check_choice("distance", distance, DISTANCES),
            seed=_check_seed(seed, random_state),
            seeding=chosen,
            sample_rows=sample_rows,
            passes=None if passes is None else check_whole("passes", passes, 1),
            feature_weight=check_feature_weight(feature_weight, d),
        )


def _check_seeding(
    seeding: str, sample_rows: int | None, passes: int | None, is_drawn: bool, is_streamed: bool
) -> Seeding | None:
    """Return the seeding, or None for given centroids. Raises InvalidParameter."""
    choices: tuple[Literal["auto"] | Seeding, ...] = ("auto", *SEEDINGS)
    chosen = check_choice("seeding", seeding, choices)
    if chosen == "all" and is_streamed and is_drawn:
        raise InvalidParameter(
            "seeding is 'all', which reads all rows for each centroid that it draws, and the "
            "points are a source; give 'sample', or initial centroids as init"
        )
    by_sample = chosen == "sample" or (chosen == "auto" and is_streamed)
    for name, value in (("sample_rows", sample_rows), ("passes", passes)):
        if value is not None and not (by_sample and is_drawn):
            raise InvalidParameter(
                f"{name} is {value!r}; {name} requires seeding='sample' and no init array"
            )
    if not is_drawn:
        return None
    return "sample" if by_sample else "all"


def _check_starts(n_init: int | Literal["auto"], n: int, sample_rows: int | None) -> int:
    """Return the number of starts over n rows or over a sample. Raises InvalidParameter."""
    if isinstance(n_init, str) and n_init == "auto":
        rows, many = (n, 1) if sample_rows is None else (sample_rows, _STARTS_OF_SAMPLE)
        return 10 if rows <= _ROWS_OF_TEN_STARTS else many
    if isinstance(n_init, str):
        raise InvalidParameter(
            f"n_init is {n_init!r}; give 'auto', or a whole number of at least 1"
        )
    return check_whole("n_init", n_init, 1)


def _check_tol(tol: float) -> float:
    """Check the tolerance. Raises InvalidParameter."""
    is_number = isinstance(tol, float | int | np.number) and not isinstance(tol, bool)
    if not is_number or not 0 <= float(tol) < math.inf:
        raise InvalidParameter(f"tol is {tol!r}; give a finite number of at least 0")
    return float(tol)


def _check_seed(seed: int | None, random_state: int | None) -> int:
    """Return the given one of the two, or 0. Raises InvalidParameter."""
    if seed is not None and random_state is not None:
        raise InvalidParameter(
            f"seed is {seed!r} and random_state is {random_state!r}, which is the same; give one"
        )
    name, value = ("seed", seed) if random_state is None else ("random_state", random_state)
    return 0 if value is None else check_whole(name, value, 0)
