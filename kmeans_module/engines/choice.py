"""The rule that chooses what takes the steps of a fit.

======== ============================================================ =======================
engine   what it computes                                             chosen where
======== ============================================================ =======================
plain    every distance, by stock TensorFlow                          a compiler does not pay
unrolled every distance, written out                                  k d <= 64
matmul   every distance, by matrix products                           k d < 512
bounds   distances of rows that may have moved (`hamerly_bounds`)     otherwise
======== ============================================================ =======================

All give the same bits. A compiler pays, at one to two
seconds, where there are more than 20,000 rows and n max(k d, 64) is at least 3e7.
"""

import warnings
from typing import Final, Literal

from ..errors import InvalidParameter
from ..row_share import RowShare
from ..source_rows import SourceRows
from ..validation import check_choice
from ..weighted_rows import WeightedRows
from .bounds import BoundsShard
from .engine import Engine
from .matmul import MatmulShard
from .plain import PlainShard
from .reduced import NoRows, ReducedEngine
from .sharded import Shard, ShardedEngine
from .streamed import StreamedShard
from .unrolled import UnrolledShard

EngineName = Literal["plain", "unrolled", "matmul", "bounds"]
SHARDS: Final[dict[EngineName, type[Shard]]] = {
    "plain": PlainShard,
    "unrolled": UnrolledShard,
    "matmul": MatmulShard,
    "bounds": BoundsShard,
}
ENGINES: Final[tuple[EngineName, ...]] = tuple(SHARDS)

#: Names of the release before: for one release more they are taken, with a warning.
_RENAMED: Final = {"narrow": "unrolled", "product": "matmul"}

_SMALL_ROWS: Final = 20_000
_SMALL_WORK: Final = 3e7
_UNROLLED_MOST: Final = 64
_BOUNDS_LEAST: Final = 512
_BOUNDS_OF_SAMPLE_LEAST: Final = 4096


def choose_engine(n: int, d: int, k: int) -> EngineName:
    """The engine for n rows of d features and k clusters."""
    if n <= _SMALL_ROWS or n * max(k * d, 64) < _SMALL_WORK:
        return "plain"
    if k * d <= _UNROLLED_MOST:
        return "unrolled"
    return "bounds" if k * d >= _BOUNDS_LEAST else "matmul"


def choose_sample_engine(n: int, d: int, k: int) -> EngineName:
    """The engine for a sample of n rows, in which fewer iterations are to be saved.

    Bounds are three more kernels to compile, at 20 MiB each, which a source has no need of.
    """
    engine = choose_engine(n, d, k)
    return "matmul" if engine == "bounds" and k * d < _BOUNDS_OF_SAMPLE_LEAST else engine


def resolve_engine(engine: object, n: int, d: int, k: int) -> EngineName:
    """The engine that the caller asks for; "auto" is `choose_engine`'s.

    Raises:
        InvalidParameter: there is none of that name.
    """
    if isinstance(engine, str) and engine in _RENAMED:
        warnings.warn(
            f"engine {engine!r} is {_RENAMED[engine]!r} now; the old name is removed in 0.3",
            DeprecationWarning,
            stacklevel=3,
        )
        engine = _RENAMED[engine]
    choices: tuple[Literal["auto"] | EngineName, ...] = ("auto", *ENGINES)
    chosen = check_choice("engine", engine, choices)
    return choose_engine(n, d, k) if chosen == "auto" else chosen


def resolve_streamed_engine(engine: object, n: int, d: int, k: int) -> EngineName:
    """`resolve_engine` for the rows of a source: one that keeps nothing of a row.

    Raises:
        InvalidParameter: there is none of that name, or it keeps bounds of each row.
    """
    chosen = resolve_engine(engine, n, d, k)
    if chosen == "bounds" and engine != "auto":
        raise InvalidParameter(
            "engine is 'bounds', which keeps bounds of each row, and nothing is kept of the rows "
            "of a source; give 'matmul', or 'auto'"
        )
    return "matmul" if chosen == "bounds" else chosen


def new_engine(name: EngineName, rows: WeightedRows | SourceRows, k: int) -> Engine:
    """An engine for one start of k clusters."""
    # Stock TensorFlow brings threads of its own.
    share = rows.share if isinstance(rows, SourceRows) else RowShare.whole(rows.n)
    ranges = [(share.start, share.stop)] if name == "plain" else share.core_ranges()
    shard = SHARDS[name]
    if isinstance(rows, SourceRows):
        parts = [StreamedShard(shard, rows, k, *part) for part in ranges if part[0] < part[1]]
        own: Engine = ShardedEngine(parts) if parts else NoRows(rows, k)
        return own if share.reducer.workers == 1 else ReducedEngine(own, share.reducer)
    return ShardedEngine([shard(rows, k, *part) for part in ranges])
