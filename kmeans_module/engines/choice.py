"""The rule that chooses what takes the steps of a fit.

=========== ============================================================ =======================
engine      what it computes                                             chosen where
=========== ============================================================ =======================
plain       every distance, by stock TensorFlow (`lloyd`)                a compiler does not pay
narrow      every distance, written out (`unrolled_kernel`)               k d <= 64
product     every distance, by matrix products (`matmul_kernel`)    k d < 512
bounds      distances of rows that may have moved (`hamerly_bounds`)     otherwise
=========== ============================================================ =======================

All give the same assignments but for ties that rounding decides. A compiler pays, at one to two
seconds, where there are more than 20,000 rows and n max(k d, 64) is at least 3e7.
"""

from typing import Final, Literal

import tensorflow as tf

from ..errors import InvalidParameter
from ..lloyd import Engine
from ..rows import Rows
from .matmul import CompiledLane
from .plain import PlainEngine
from .sharded import LanesEngine
from .unrolled import NarrowLane

EngineName = Literal["plain", "narrow", "product", "bounds"]
ENGINES: Final[tuple[EngineName, ...]] = ("plain", "narrow", "product", "bounds")

_SMALL_ROWS: Final = 20_000
_SMALL_WORK: Final = 3e7
_FEW: Final = 64
_MANY: Final = 512


def choose_engine(n: int, d: int, k: int) -> EngineName:
    """The engine for n rows of d features and k clusters."""
    if n <= _SMALL_ROWS or n * max(k * d, 64) < _SMALL_WORK:
        return "plain"
    if k * d <= _FEW:
        return "narrow"
    return "bounds" if k * d >= _MANY else "product"


def check_engine(engine: str, n: int, d: int, k: int) -> EngineName:
    """The engine that the caller asks for; "auto" is `choose_engine`'s.

    Raises:
        InvalidParameter: there is none of that name.
    """
    if engine == "auto":
        return choose_engine(n, d, k)
    for known in ENGINES:
        if engine == known:
            return known
    names = ", ".join(repr(name) for name in ("auto", *ENGINES))
    raise InvalidParameter(f"engine is {engine!r}; give one of {names}")


def new_engine(name: EngineName, points: Rows, sample_weight: tf.Tensor, k: int) -> Engine:
    """An engine for one start of k clusters on points [n, d] of weights float32 [n]."""
    if name == "plain":
        return PlainEngine(points, sample_weight)
    if name == "narrow":
        return LanesEngine(
            points, sample_weight, lambda *rows: NarrowLane(points, sample_weight, k, *rows)
        )
    bounded = name == "bounds"
    return LanesEngine(
        points,
        sample_weight,
        lambda *rows: CompiledLane(points, sample_weight, k, *rows, bounded=bounded),
    )
