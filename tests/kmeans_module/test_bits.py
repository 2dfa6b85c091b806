"""The same seed gives the same bits for any engine, number of threads, block, and place of rows."""

import json
import os
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from .fit_bits import BLOCKS, KINDS, RECORDED, THREADS, digest, fit_kind

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).with_name("golden_bits.json")

#: Each number of threads with each block; one of these pairs where there is less time.
SETUPS = [
    pair
    for number, pair in enumerate(product(THREADS, BLOCKS))
    if os.environ.get("TFKMEANS_SOAK") or number == 4
]


@cache
def hashes_of(threads: int, block: int) -> dict[str, list[str]]:
    """The distinct hashes of each kind in a process of its own."""
    command = [sys.executable, "-m", "tests.kmeans_module.fit_bits", str(threads), str(block)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    hashes: dict[str, list[str]] = json.loads(done.stdout)
    return hashes


@pytest.mark.parametrize(("threads", "block"), SETUPS)
def test_every_engine_ends_in_the_same_bits_wherever_the_points_lie(
    threads: int, block: int
) -> None:
    hashes = hashes_of(threads, block)
    assert hashes.keys() >= {*KINDS, *(f"{kind}, of a source" for kind in KINDS)}
    assert {kind: len(each) for kind, each in hashes.items()} == dict.fromkeys(hashes, 1)


def test_threads_and_blocks_do_not_change_the_bits() -> None:
    first, *others = (hashes_of(*setup) for setup in SETUPS)
    for other in others:
        assert other == first
    assert {kind: digest(fit_kind(kind)) for kind in KINDS} == {
        kind: first[kind][0] for kind in KINDS
    }


def test_the_bits_are_those_that_are_on_record() -> None:
    """A change of bits is a decision: write the file anew by this module's main, and say so."""
    assert {kind: digest(fit_kind(kind)) for kind in RECORDED} == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    found = {kind: digest(fit_kind(kind)) for kind in RECORDED}
    GOLDEN.write_text(json.dumps(found, indent=2) + "\n")
