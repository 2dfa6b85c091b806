"""The rule that chooses the engine of the steps of a fit.

======== ============================================================ =======================
engine   what it computes                                             chosen where
======== ============================================================ =======================
plain    every distance, by NumPy                                     a compiler does not pay
unrolled every distance, written out                                  k d <= 64
matmul   every distance, by matrix products                           k d < 512
bounds   distances of rows that may have moved (`hamerly_bounds`)     k < 256
moved    of such rows to centroids that moved far enough (`moved`)    otherwise
device   every distance, on a GPU                                     `choose_placement` says
======== ============================================================ =======================

All give the same bits. Compilation may pay off if there are more than 20,000 rows and n max(k d,
64) is at least 3e7. From 3e8 for each core on, the first step waits for the kernel of the search,
and from 2e9 on for all kernels; else, and where rows are wide (`wide_rows`) or the engine is
``unrolled``, these are compiled once steps without them have taken longer than that would
(`compiled_later`).
"""

import warnings
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ..array_types import Float32
from ..cores import core_ranges, run_in_parallel
from ..device_names import parse_device
from ..devices import cut_rows, find_devices, has_gpu
from ..errors import InvalidParameter
from ..source_rows import SourceRows
from ..validation import check_choice
from ..weighted_rows import WeightedRows
from .bounds import BoundsShard
from .compiled_later import Calls, CompiledLater, Kernels, Stage, kernels_of
from .device import ON_CORES, DeviceEngine, Devices, DeviceShard
from .engine import Engine
from .matmul import MatmulSearchShard, MatmulShard
from .moved import MovedShard
from .plain import PlainShard
from .reduced import NoRows, ReducedEngine
from .sharded import Shard, ShardedEngine
from .streamed import StreamedShard
from .unrolled import UnrolledShard
from .wide_rows import is_wide

EngineName = Literal["plain", "unrolled", "matmul", "bounds", "moved", "device"]
SHARDS: Final[dict[EngineName, type[Shard]]] = {
    "plain": PlainShard,
    "unrolled": UnrolledShard,
    "matmul": MatmulShard,
    "bounds": BoundsShard,
    "moved": MovedShard,
    "device": DeviceShard,
}
ENGINES: Final[tuple[EngineName, ...]] = tuple(SHARDS)

#: What takes the steps of a fit one after the other, as kernels become ready.
_STAGES: Final[dict[EngineName, tuple[type[Shard], ...]]] = {
    "unrolled": (PlainShard, UnrolledShard),
    "matmul": (PlainShard, MatmulSearchShard, MatmulShard),
    "bounds": (PlainShard, MatmulSearchShard, BoundsShard),
    "moved": (PlainShard, MatmulSearchShard, MovedShard),
}

#: Names of the release before: for one release more they are taken, with a warning.
_RENAMED: Final = {"narrow": "unrolled", "product": "matmul"}

_SMALL_ROWS: Final = 20_000
_SMALL_WORK: Final = 3e7

#: From such work for each core on, a fit waits for the kernel of the search, and for all kernels.
_LONG_WORK: Final = 3e8
_LONGEST_WORK: Final = 2e9

_UNROLLED_MOST: Final = 64
_BOUNDS_LEAST: Final = 512
_BOUNDS_OF_SAMPLE_LEAST: Final = 4096
_MOVED_LEAST: Final = 256

#: Where these would take the steps, a GPU does by itself.
_WORTH_A_GPU: Final = ("matmul", "bounds", "moved")

#: These keep bounds of each row.
_BOUNDED: Final = ("bounds", "moved")

#: Kernels are compiled by a step over so many rows.
_TRIAL_ROWS: Final = 512


def choose_engine(n: int, d: int, k: int) -> EngineName:
    """Return the engine for n rows of d features and k clusters."""
    if n <= _SMALL_ROWS or n * max(k * d, 64) < _SMALL_WORK:
        return "plain"
    if k * d <= _UNROLLED_MOST:
        return "unrolled"
    if k * d < _BOUNDS_LEAST:
        return "matmul"
    return "bounds" if k < _MOVED_LEAST else "moved"


def choose_sample_engine(n: int, d: int, k: int) -> EngineName:
    """The engine for a sample of n rows, in which fewer iterations are to be saved.

    Bounds are three more kernels to compile, at 20 MiB each, which a source has no need of.
    """
    engine = choose_engine(n, d, k)
    return "matmul" if engine in _BOUNDED and k * d < _BOUNDS_OF_SAMPLE_LEAST else engine


def resolve_engine(engine: object, n: int, d: int, k: int) -> EngineName:
    """The engine that the caller asks for; "auto" is `choose_engine`'s.

    Raises:
        InvalidParameter: there is none of that name.
    """
    if isinstance(engine, str) and engine in _RENAMED:
        warnings.warn(
            f"engine {engine!r} is {_RENAMED[engine]!r} now; the old name is removed in 0.3",
            DeprecationWarning,
            stacklevel=4,
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
    if chosen in _BOUNDED and engine != "auto":
        raise InvalidParameter(
            f"engine is {chosen!r}, which keeps bounds of each row, and nothing is kept of the "
            "rows of a source; give 'matmul', or 'auto'"
        )
    return "matmul" if chosen in _BOUNDED else chosen


class Placement(NamedTuple):
    """The engine of the steps of a fit, and its devices.

    Attributes:
        engine: the name of the engine.
        devices: the devices of the engine ``device``.
        at_once: whether the first steps may be taken without all kernels.
    """

    engine: EngineName
    devices: Devices
    at_once: bool

    @property
    def where(self) -> str:
        """The names of the devices that have rows, separated by commas, or "cpu"."""
        return ",".join(self.devices.names) or "cpu"


def choose_placement(
    engine: str,
    device: object,
    memory: int | None,
    n: int,
    d: int,
    k: int,
    *,
    is_streamed: bool,
    places: int = 0,
) -> Placement:
    """The engine, and the devices, for n rows of d features and k clusters.

    By itself a fit goes to the GPUs that TensorFlow sees where an engine with matrix products would
    take its steps: its kernel, too, takes one to two seconds to compile.

    Args:
        engine: what the caller asks for: "auto", or a name.
        device: "auto", "cpu", "gpu", or names of devices.
        memory: bytes of each device that may be used, or None.
        is_streamed: whether the rows are those of a source.
        places: for so many a search for the first centroids asks, if these are more than k.

    Raises:
        InvalidParameter: there is no engine of that name, or it takes no steps there.
        NoSuchDevice: a device is not there.
    """
    asked = parse_device(device)
    resolve = resolve_streamed_engine if is_streamed else resolve_engine
    at_once = engine == "auto"
    on_cores = Placement(resolve(engine, n, d, k), ON_CORES, at_once)
    if on_cores.engine != "device":
        if asked == ("cpu",) and memory is not None:
            raise InvalidParameter(
                f"device_memory is {memory}, and device is 'cpu', which needs no copy of the rows; "
                "leave device_memory out"
            )
        is_worth_it = engine == "auto" and on_cores.engine in _WORTH_A_GPU
        if asked == ("cpu",) or (asked == ("auto",) and not (is_worth_it and has_gpu())):
            return on_cores
        if engine != "auto":
            raise InvalidParameter(
                f"engine is {engine!r}, which the cores run, and device is {device!r}; give "
                "engine='auto', or device='cpu'"
            )
    if asked == ("auto",):
        asked = ("gpu",) if has_gpu() else ("cpu",)
    names = find_devices(asked)
    names = names[: len(cut_rows(0, n, len(names)))]
    return Placement("device", Devices(names, memory, places), at_once)


def new_engine(
    name: EngineName,
    rows: WeightedRows | SourceRows,
    k: int,
    devices: Devices = ON_CORES,
    *,
    at_once: bool = False,
) -> Engine:
    """An engine for one start of k clusters.

    Args:
        name: what takes the steps.
        rows: in memory or of a source.
        k: how many clusters there are.
        devices: of the engine ``device``.
        at_once: of an engine with kernels, for rows in memory: take steps without them until they
            are compiled, which begins where such steps take long.
    """
    if name == "device":
        return _device_engine(
            rows, k, devices if devices.names else Devices(find_devices(("cpu",)))
        )
    shard = SHARDS[name]
    if isinstance(rows, SourceRows):
        ranges = [part for part in rows.share.core_ranges() if part[0] < part[1]]
        return _reduced([StreamedShard(shard, rows, k, *part) for part in ranges], rows, k)

    if name == "plain":
        return _on_every_core(shard, rows, k)
    shards = _first_shards(name, rows, k) if at_once else (shard,)
    stages = [_stage(each, rows, k) for each in shards]
    return CompiledLater(stages, rows.scale, rows.squares)


def _first_shards(name: EngineName, rows: WeightedRows, k: int) -> Sequence[type[Shard]]:
    """Return the shard classes in the order of their use; the fit waits for the kernels of the
    first.
    """
    if name == "unrolled" or is_wide(rows, k):
        # Without kernels a step is nearly as quick.
        return _STAGES[name][0], _STAGES[name][-1]
    d, cores = len(rows.points.shift), len(core_ranges(rows.n))
    work = rows.n * max(k * d, 64) / cores
    if work >= _LONGEST_WORK:
        return _STAGES[name][-1:]
    return _STAGES[name][1 if work >= _LONG_WORK else 0 :]


def _on_every_core(shard: type[Shard], rows: WeightedRows, k: int) -> ShardedEngine:
    parts = core_ranges(rows.n)
    return ShardedEngine(run_in_parallel(lambda *part: shard(rows, k, *part), parts))


def _stage(shard: type[Shard], rows: WeightedRows, k: int) -> Stage:
    def kernels(centroids: Float32) -> Kernels:
        variant = shard.variant(rows, centroids)
        return kernels_of((shard, *centroids.shape, rows.scale.limbs, variant))

    def calls(centroids: Float32) -> Calls:
        return shard(rows, k, 0, min(rows.n, _TRIAL_ROWS)).kernels(centroids)

    return Stage(lambda: _on_every_core(shard, rows, k), kernels, calls)


def _device_engine(rows: WeightedRows | SourceRows, k: int, devices: Devices) -> Engine:
    if isinstance(rows, WeightedRows):
        return DeviceEngine(rows, k, devices)
    share, shards = rows.share, devices.shards_of_blocks()
    ranges = cut_rows(share.start, share.stop, len(shards))
    parts = [
        StreamedShard(shard, rows, k, *part) for shard, part in zip(shards, ranges, strict=False)
    ]
    return _reduced(parts, rows, k)


def _reduced(parts: Sequence[Engine], rows: SourceRows, k: int) -> Engine:
    """The engine of all workers, given the parts of this one."""
    own: Engine = ShardedEngine(parts) if parts else NoRows(rows, k)
    reducer = rows.share.reducer
    return own if reducer.workers == 1 else ReducedEngine(own, reducer)
