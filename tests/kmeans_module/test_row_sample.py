"""The uniform sample: the same rows for any block, each as likely as the other."""

import numpy as np
import pytest

from kmeans_module import row_sample
from kmeans_module.row_sample import default_sample_rows, draw_sample, row_keys


def test_a_rows_key_depends_on_the_seed_and_its_number_alone() -> None:
    keys = row_keys(0, 1000, 7)
    for start, stop in ((0, 3), (4, 1000), (500, 512), (996, 1000)):
        np.testing.assert_array_equal(row_keys(start, stop, 7), keys[start:stop])
    assert len(np.unique(keys)) == 1000
    assert (row_keys(0, 1000, 8) != keys).all()


@pytest.mark.parametrize("block", [4, 64, 4096])
def test_the_sample_is_that_of_the_least_keys_in_any_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sample, "_BLOCK_KEYS", block)
    weights = np.random.default_rng(0).uniform(1, 2, 1000).astype("f4")
    weights[::3] = 0
    keys = row_keys(0, 1000, 5).astype("f8")
    keys[::3] = np.inf
    for count in (1, 10, 300):
        sample = draw_sample(weights, count, 5)
        np.testing.assert_array_equal(sample.numbers, np.sort(np.argsort(keys)[:count]))
        np.testing.assert_array_equal(sample.weights, weights[sample.numbers])
    np.testing.assert_array_equal(draw_sample(weights, 900, 5).numbers, np.flatnonzero(weights))


def test_each_row_is_as_likely_as_the_other() -> None:
    weights = np.random.default_rng(0).uniform(0.1, 100, 50).astype("f4")
    drawn = np.zeros(50)
    for seed in range(2000):
        drawn[draw_sample(weights, 10, seed).numbers] += 1
    # 2,000 draws of a fifth: a deviation of 18, of which 5 are never reached.
    assert np.abs(drawn - 400).max() < 90
    assert drawn.std() > 9


def test_the_sample_has_4000_rows_a_cluster_unless_they_are_too_many_numbers() -> None:
    assert default_sample_rows(16, 64) == 256_000
    assert default_sample_rows(1024, 64) == 2**16
    assert default_sample_rows(1024, 65_536) == 50 * 65_536
