"""Export the step of the engine ``device`` to a file, and run the file with JAX.

    python -m benchmarks.device_step export FOLDER --rows 1048576 --features 128 --clusters 1024
    python benchmarks/device_step.py run FOLDER --blocks 10

``export`` writes the step of a block as StableHLO, the input of XLA: a few dozen kB for any number
of rows. ``run`` needs only the folder, NumPy and JAX, not the project: it measures the time of the
program on a machine with JAX and CUDA but without TensorFlow. It runs the program over ``--blocks``
blocks of normal rows, compares clusters and sums of the first block with NumPy, and the bytes of
two runs.
"""

import argparse
import importlib.util
import json
import re
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: The unit of the sums: rows are below 2^4, so the sum of 2^25 rows is below 2^62.
_INVERSE_WORTH: Final = 2.0**33

_SAMPLE_ROWS: Final = 1024
_PROGRAM, _SHAPE = "step.mlir", "step.json"


def export(folder: Path, m: int, d: int, k: int, kind: str) -> None:
    """Write the program for blocks of m rows of d features and k clusters."""
    from kmeans_module.engines.device_step import BlockShape, step_program, tile_rows

    shape = BlockShape(m, d, k, limbs=1, tile=tile_rows(m, d, k, kind))
    text = without_places(step_program(shape, "stablehlo"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PROGRAM).write_text(text)
    (folder / _SHAPE).write_text(json.dumps(shape._asdict()) + "\n")
    print(f"{folder / _PROGRAM}: {len(text):,} bytes")


def without_places(program: str) -> str:
    """Return the program without references to lines of Python."""
    lines = (line for line in program.splitlines() if not line.startswith("#loc"))
    return "\n".join(re.sub(r" loc\((?:[^()]|\([^()]*\))*\)", "", line) for line in lines) + "\n"


def arguments(
    rows: NDArray[np.float32], centroids: NDArray[np.float32], sums: Sequence[Any]
) -> list[Any]:
    """Return the arguments of the program, in order, for rows [m, d] with weight 1."""
    m, d = rows.shape
    norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1)).astype(np.float32)
    return [
        rows,
        np.ones(m, np.float32),
        norms,
        np.int32(m),
        np.full(m, -2, np.int32),
        np.resize(norms, _SAMPLE_ROWS),
        np.array([_INVERSE_WORTH] * (d + 1) + [1.0]),
        centroids,
        *sums,
    ]


def no_sums(d: int, k: int) -> list[NDArray[np.int64]]:
    """The sums of no rows."""
    return [np.zeros((1, k, d), np.int64), np.zeros((1, k, 1), np.int64)]


def reference(
    rows: NDArray[np.float32], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Compute the clusters [m], the sums [k, d] and the weights [k] with NumPy in float64."""
    k, d = centroids.shape
    wide = centroids.astype(np.float64)
    half = np.square(wide).sum(axis=1) / 2
    nearest = np.concatenate(
        [
            np.argmin(half - part.astype(np.float64) @ wide.T, axis=1)
            for part in np.array_split(rows, max(len(rows) // 4096, 1))
        ]
    )
    sums = np.zeros((k, d), np.int64)
    np.add.at(sums, nearest, np.rint(rows.astype(np.float64) * _INVERSE_WORTH).astype(np.int64))
    weights = np.bincount(nearest, minlength=k) * int(_INVERSE_WORTH)
    return nearest, sums, weights


class JaxProgram:
    """A program that XLA has compiled for the first device of JAX."""

    def __init__(self, text: str) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.device = jax.devices()[0]
        self._put = jax.device_put
        self._run = _compile(self.device, text)

    def place(self, values: Sequence[Any]) -> list[Any]:
        """Copy the values to the device."""
        return [self._put(value, self.device) for value in values]

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Run the program with values on the device; return results on the device."""
        found: list[Any] = self._run(values)
        return found


def _compile(device: Any, text: str) -> Any:
    """Return the compiled program as a function; the API differs between releases of JAX."""
    from jaxlib import xla_client

    client, options = device.client, xla_client.CompileOptions()
    if hasattr(client, "compile_and_load"):
        from jaxlib import _jax

        devices = _jax.DeviceList((device,))
        program = client.compile_and_load(text, devices, options)
    else:
        program = client.compile(text, options)

    def run(values: Sequence[Any]) -> list[Any]:
        found = program.execute_sharded(list(values))
        return [each[0] for each in found.disassemble_into_single_device_arrays()]

    return run


def run(folder: Path, blocks: int, rounds: int) -> int:
    """Run the program and print its time; return 1 if the results differ from NumPy."""
    shape = json.loads((folder / _SHAPE).read_text())
    m, d, k = shape["m"], shape["d"], shape["k"]
    began = time.perf_counter()
    program = JaxProgram((folder / _PROGRAM).read_text())
    print(f"{program.device.device_kind}: compiled in {time.perf_counter() - began:.1f} s")
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((m, d), dtype=np.float32) for _ in range(blocks)]
    centroids = parts[0][:k].copy()
    placed = [program.place(arguments(part, centroids, no_sums(d, k))) for part in parts]

    def step() -> list[NDArray[Any]]:
        sums = placed[0][8:]
        for values in placed:
            index, *sums, _, _, undecided = program([*values[:8], *sums])
        return [np.asarray(each) for each in (index, undecided, *sums)]

    (values,) = placed[:1]
    index, sums, weights, _, _, undecided = map(np.asarray, program(values))
    nearest, expected, masses = reference(parts[0], centroids)
    is_same = (
        int(undecided) == 0
        and np.array_equal(index, nearest)
        and np.array_equal(sums[0], expected)
        and np.array_equal(weights[0, :, 0], masses)
    )
    print(f"clusters and sums are {'' if is_same else 'NOT '}those of NumPy")
    first, seconds = step(), []
    for _ in range(rounds):
        began = time.perf_counter()
        again = step()
        seconds.append(time.perf_counter() - began)
        is_same &= all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    print(
        f"{blocks * m:,} rows of {d}, {k} clusters: {statistics.median(seconds) * 1e3:.1f} ms a "
        f"step, {min(seconds) * 1e3:.1f} at least, of {rounds}; "
        f"{'the same bytes each time' if is_same else 'NOT the same bytes each time'}"
    )
    return 0 if is_same else 1


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1; give a number from 1")
    return number


def _block_rows(text: str) -> int:
    rows = _count(text)
    if rows & (rows - 1):
        raise argparse.ArgumentTypeError(f"{text} is no power of two; give one, as {2**20}")
    return rows


def main() -> int:
    """Export the step, or run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    writer, runner = commands.add_parser("export"), commands.add_parser("run")
    for each in (writer, runner):
        each.add_argument("folder", type=Path)
    writer.add_argument(
        "--rows", type=_block_rows, default=2**20, help="of a block, a power of two"
    )
    writer.add_argument("--features", type=_count, default=128)
    writer.add_argument("--clusters", type=_count, default=1024)
    writer.add_argument("--kind", choices=("CPU", "GPU"), default="GPU", help="of the device")
    runner.add_argument("--blocks", type=_count, default=1)
    runner.add_argument("--rounds", type=_count, default=5)
    given = parser.parse_args()
    if given.command == "run":
        if missing := [name for name in (_PROGRAM, _SHAPE) if not (given.folder / name).is_file()]:
            runner.error(f"{given.folder} has no {missing[0]}; write it by export")
        if importlib.util.find_spec("jax") is None:
            runner.error("this Python has no JAX, which runs the program; install jax")
        return run(given.folder, given.blocks, given.rounds)
    export(given.folder, given.rows, given.features, given.clusters, given.kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
