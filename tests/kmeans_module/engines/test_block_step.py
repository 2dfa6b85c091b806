"""What the step of a block takes for the norms of its rows."""

import numpy as np
import pytest

from kmeans_module.aligned_window import BlockMemory, read_window
from kmeans_module.blocks import kernel_rows
from kmeans_module.engines.block_step import row_norms


@pytest.mark.parametrize("size", [1.0, 1e-22, 1e-40, 1e15])
def test_norms_are_at_least_the_true_ones_and_close(size: float) -> None:
    n, d = 3_000, 40
    memory = BlockMemory(n, d)
    memory.rows(n)[:] = size * np.random.default_rng(1).normal(size=(n, d))
    rows = memory.place(n, np.zeros(d, np.float32), np.ones(d, np.float32))
    m = kernel_rows(d)
    norms, sample = row_norms(m, d)(read_window(rows.tensors, 0, n, m, d))
    true = np.sqrt(rows.squared_norms(0, n))
    found = norms.numpy()[:n]
    assert (found >= true).all()
    assert (found <= true * (1 + 1e-4) + 1e-18).all()
    assert np.isin(sample.numpy(), found).all()
