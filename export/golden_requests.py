"""Golden requests: requests and answers that are recorded at the export of a version.

They are the file ``assets.extra/golden_requests.npz`` of the version: NumPy without pickle, one
array per tensor under the key ``<i>/<signature>/in/<tensor>`` or ``<i>/<signature>/out/<tensor>``.
They are replayed after loading: the publish gate compares bits on the same machine, a check of a
server compares integers exactly and floats to 1e-5. Does not import TensorFlow.

The two smallest distances of each row differ by at least 1e-4 relative, so rounding on another
machine cannot move a row to another cluster.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.contract import (
    ASSIGN,
    COLUMN_SIGNATURES,
    DECODE,
    FIT_STEP,
    SCORE,
    SERVING_DEFAULT,
    TRANSFORM,
    TRANSFORM_COLUMNS,
)
from kmeans_module.one_line import OneLine

from .array_files import read_npz
from .column_rows import ColumnRows
from .errors import InvalidCandidate
from .sample_rows import draw, draw_rows

#: The path of the requests in their version directory.
GOLDEN_FILE: Final = Path("assets.extra", "golden_requests.npz")

Array = NDArray[Any]
#: A function that answers a request: from signature name and input tensors to output tensors.
Answer = Callable[[str, Mapping[str, Array]], Mapping[str, Array]]

_ROW_SIGNATURES: Final = (SERVING_DEFAULT, ASSIGN, SCORE, TRANSFORM)
_SMALLEST_MARGIN: Final = 1e-4
_MOST_ROWS: Final = 256
#: Numbers of one request: 1 MiB. With more than 1,024 columns there are fewer rows.
_MOST_NUMBERS: Final = 2**18
# Rows are chosen by their distances to every centroid, [rows, k]: at most 8 MiB at a time.
_MOST_DISTANCES: Final = 2**20
# The answer of transform has k columns: at most 256 KiB of it in the file, or one row.
_MOST_RECORDED_DISTANCES: Final = 2**16
#: Up to this number, all clusters are decoded and moved by the fit step; otherwise some.
_MOST_CLUSTERS: Final = 1024
_DECODED_CLUSTERS: Final = 256
_MOVED_CLUSTERS: Final = 16
_OUTLIER_RANGES: Final = 1e3
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True, repr=False)
class GoldenRequest(OneLine):
    """One request and its answer: arrays by tensor name.

    Attributes:
        signature: the name of the signature.
        inputs: arrays by the names of its inputs.
        outputs: the answer of the version at its export.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import GoldenRequest
        >>> GoldenRequest("decode", {"cluster_index": np.array([0, 1], np.int32)})
        GoldenRequest(signature='decode', inputs={'cluster_index': int32[2]}, outputs={})
    """

    signature: str
    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Array] = field(default_factory=dict)


def write(version_directory: Path, requests: Sequence[GoldenRequest]) -> None:
    """Write the requests into a version directory. Raises OSError."""
    arrays: dict[str, Any] = {}
    for index, request in enumerate(requests):
        for side, tensors in (("in", request.inputs), ("out", request.outputs)):
            for name, array in tensors.items():
                arrays[f"{index}/{request.signature}/{side}/{name}"] = array
    path = version_directory / GOLDEN_FILE
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read(place: Path) -> list[GoldenRequest]:
    """Read the golden requests of a version directory or of a file, in their order.

    Raises InvalidCandidate if there are none or the file is corrupt.
    """
    path, trouble = place, "no such file of golden requests"
    if place.is_dir():
        path, trouble = place / GOLDEN_FILE, f"no golden requests at {GOLDEN_FILE}"
    requests: dict[int, GoldenRequest] = {}
    try:
        for key, array in read_npz(path):
            # The name of a column may contain a slash too.
            index, signature, side, name = key.split("/", 3)
            request = requests.setdefault(int(index), GoldenRequest(signature))
            {"in": request.inputs, "out": request.outputs}[side][name] = array
    except FileNotFoundError:
        raise InvalidCandidate(f"{place}: {trouble}") from None
    except (OSError, ValueError, KeyError) as error:
        raise InvalidCandidate(f"{path}: the golden requests are unreadable: {error}") from None
    if not requests:
        raise InvalidCandidate(f"{path}: holds no golden request")
    return [requests[index] for index in sorted(requests)]


def choose(
    points: Array,
    n_clusters: int,
    answer: Answer,
    *,
    seed: int = 0,
    columns: ColumnRows | None = None,
) -> list[GoldenRequest]:
    """Choose golden requests for a model, with the answers of ``answer``.

    Every signature over rows gets no row, one row, many rows of ``points`` ([n, d], raw units),
    rows with NaN and infinity among others, and rows a thousand ranges away; then follow all
    centroids, and one fit step from them. With more than 1,024 clusters, 256 are decoded and 16
    moved, and ``transform`` gets fewer rows. With more than 1,024 columns there are fewer rows. The
    same arguments give the same requests. A request whose rows are all between two centroids is
    omitted.

    With ``columns``, every signature over columns gets no row, one row, many rows, and one row in
    which every value is missing.
    """
    rng = np.random.default_rng(seed)
    by_width = _MOST_NUMBERS // points.shape[1]
    most_rows = max(1, min(_MOST_ROWS, _MOST_DISTANCES // n_clusters, by_width))
    rows = _unambiguous_rows(draw(points, 2 * most_rows, rng), answer)[:most_rows]
    outliers = _unambiguous_rows(_outliers(points, rng), answer)[: max(1, by_width)]
    most_wide = max(1, _MOST_RECORDED_DISTANCES // n_clusters)
    narrow = _batches(points, rows, outliers)
    wide = _batches(points, rows[:most_wide], outliers[:most_wide])
    asked: list[tuple[str, dict[str, Array]]] = [
        (signature, {"points": fewer if signature == TRANSFORM else batch})
        for batch, fewer in zip(narrow, wide, strict=True)
        for signature in _ROW_SIGNATURES
    ]
    decoded = _spread(n_clusters, _DECODED_CLUSTERS)
    asked += [(DECODE, {"cluster_index": index}) for index in (decoded[:0], decoded)]
    if len(rows):
        moved = {"cluster_index": _spread(n_clusters, _MOVED_CLUSTERS)}
        asked.append((FIT_STEP, _fit_step(rows, answer(DECODE, moved)["centroid"])))
    if columns is not None:
        asked += _requests_of_columns(columns, most_rows, n_clusters, answer, rng)
    return [
        GoldenRequest(signature, inputs, dict(answer(signature, inputs)))
        for signature, inputs in asked
    ]


def _requests_of_columns(
    columns: ColumnRows, most_rows: int, n_clusters: int, answer: Answer, rng: np.random.Generator
) -> list[tuple[str, dict[str, Array]]]:
    rows = columns.take(draw_rows(len(columns), 2 * most_rows, rng))
    distances = answer(TRANSFORM_COLUMNS, rows.tensors)["all_distances"]
    rows = rows.take(np.flatnonzero(_is_clear(distances))[:most_rows])
    most_wide = max(1, _MOST_RECORDED_DISTANCES // n_clusters)
    batches = [rows.take(slice(0)), rows.take(slice(1)), rows]
    batches.append(rows.take(slice(2)).with_missing_values())
    # The missing values are in the last row.
    few = slice(-most_wide, None)
    return [
        (name, dict((batch.take(few) if name == TRANSFORM_COLUMNS else batch).tensors))
        for number, batch in enumerate(batches)
        if len(batch) or not number
        for name in COLUMN_SIGNATURES
    ]


def _batches(points: Array, rows: Array, outliers: Array) -> list[Array]:
    """Return batches with no row, one, many, bad rows among others, and outliers, if available."""
    batches = [rows[:1], rows, _add_bad_rows(rows, points), outliers]
    return [rows[:0], *filter(len, batches)]


def _spread(n_clusters: int, most: int) -> NDArray[np.int32]:
    """Return all clusters, or ``most`` of them from the first to the last."""
    if n_clusters <= _MOST_CLUSTERS:
        return np.arange(n_clusters, dtype=np.int32)
    return np.linspace(0, n_clusters - 1, most).astype(np.int32)


def find_missing(
    requests: Sequence[GoldenRequest], n_clusters: int, over_columns: Collection[str] = ()
) -> list[str]:
    """Return the kinds of golden requests that a new version lacks, in one line; "" if none.

    ``over_columns`` are its signatures over columns. A model with equal centroids has only rows
    between two centroids, which are never used: it needs no row. Outliers are optional, because
    float32 cannot always hold them.
    """
    decoded = [r for r in requests if r.signature == DECODE]
    wanted = _spread(n_clusters, _DECODED_CLUSTERS)
    every = [r for r in decoded if np.isin(wanted, r.inputs["cluster_index"]).all()]
    many = "every cluster" if len(wanted) == n_clusters else f"{len(wanted)} clusters spread evenly"
    found = [] if every else [f"{DECODE} of {many}"]
    has_clear_rows = not every or n_clusters == 1 or np.ptp(every[0].outputs["centroid"], 0).any()
    for signature in _ROW_SIGNATURES:
        batches = [r.inputs["points"] for r in requests if r.signature == signature]
        if not any(len(batch) == 0 for batch in batches):
            found.append(f"{signature} of no row")
        if has_clear_rows and not any(len(b) == 1 and np.isfinite(b).all() for b in batches):
            found.append(f"{signature} of one row")
        if all(np.isfinite(batch).all() for batch in batches):
            found.append(f"{signature} of a row with NaN or infinity")
    if has_clear_rows and not any(r.signature == FIT_STEP for r in requests):
        found.append(FIT_STEP)
    for signature in over_columns:
        tables = [ColumnRows(r.inputs) for r in requests if r.signature == signature]
        if not any(len(table) == 0 for table in tables):
            found.append(f"{signature} of no row")
        if has_clear_rows and not any(len(table) == 1 for table in tables):
            found.append(f"{signature} of one row")
        if not any(table.find_missing().any() for table in tables):
            found.append(f"{signature} of a row in which every value is missing")
    return [f"the golden requests lack {', '.join(found)}"] if found else []


def _unambiguous_rows(rows: Array, answer: Answer) -> Array:
    """Return the rows whose two smallest distances differ by at least the margin.

    Rows whose distances exceed float32 are excluded, because they are answered like bad rows.
    """
    clear: Array = rows[_is_clear(answer(TRANSFORM, {"points": rows})["all_distances"])]
    return clear


def _is_clear(distances: Array) -> NDArray[np.bool_]:
    """Return for each row whether its two smallest distances differ by at least the margin."""
    clear: NDArray[np.bool_] = np.all(np.isfinite(distances) & (distances >= 0), axis=1)
    if distances.shape[1] > 1:
        first, second = np.partition(distances, 1, axis=1)[:, :2].astype(np.float64).T
        clear = clear & (second > 0) & (second - first >= _SMALLEST_MARGIN * second)
    return clear


def _outliers(points: Array, rng: np.random.Generator) -> Array:
    """Return rows a thousand ranges from the middle: along at most 16 axes, and in random
    directions.
    """
    low = points.min(axis=0).astype(np.float64)
    high = points.max(axis=0).astype(np.float64)
    reach = _OUTLIER_RANGES * np.where(high > low, high - low, 1.0)
    axes = np.eye(min(points.shape[1], 16), points.shape[1])
    anywhere = rng.uniform(-1, 1, (16, points.shape[1]))
    rows: Array = (low + high) / 2 + np.concatenate([anywhere, axes, -axes]) * reach
    return rows.clip(-_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def _add_bad_rows(rows: Array, points: Array) -> Array:
    """Return a few good rows with rows of NaN, infinity and -infinity before, between and after
    them.
    """
    nan, plus, minus, every = np.repeat(points[:1].astype(np.float32), 4, axis=0)
    nan[0], plus[-1], minus[0], every[:] = np.nan, np.inf, -np.inf, np.nan
    return np.concatenate([[nan], rows[:2], [plus, minus], rows[2:4], [every]])


def _fit_step(rows: Array, centroids: Array) -> dict[str, Array]:
    """Return two problems in one call: equal weights; and the rows in reverse order, some with
    weight 0.
    """
    weight = np.ones(len(rows), np.float32)
    weight[::3] = 0.0
    weight[1::3] = 0.5
    return {
        "points": np.stack([rows, rows[::-1]]),
        "sample_weight": np.stack([np.ones(len(rows), np.float32), weight]),
        "centroids": np.stack([centroids, centroids]),
    }
