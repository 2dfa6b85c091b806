"""Which engine a fit takes."""

import numpy as np
import pytest

from kmeans_module import InvalidParameter, fit
from kmeans_module.engines.choice import choose_engine

from ..problems import blobs


def test_the_rule_chooses_plain_steps_for_small_data_and_bounds_for_large() -> None:
    assert choose_engine(20_000, 784, 100) == "plain"
    assert choose_engine(100_000, 2, 3) == "plain"
    assert choose_engine(4_000_000, 2, 8) == "unrolled"
    assert choose_engine(1_000_000, 16, 64) == "bounds"
    assert choose_engine(273_280, 3, 64) == "matmul"
    assert choose_engine(1_000_000, 64, 255) == "bounds"
    assert choose_engine(1_000_000, 64, 256) == "moved"
    assert fit(blobs(100), 3).engine == "plain"


def test_an_engine_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"'fast'.*'auto', 'plain'"):
        fit(blobs(100), 3, engine="fast")


def test_an_engine_that_is_an_array_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidParameter, match=r"^engine is of <class 'numpy.ndarray'>; give one"):
        fit(blobs(100), 3, engine=np.ones((9, 9)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("old", "new"), [("narrow", "unrolled"), ("product", "matmul")])
def test_a_name_of_the_release_before_is_taken_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"'{old}' is '{new}' now") as caught:
        assert fit(blobs(100), 3, engine=old).engine == new
    assert caught[0].filename == __file__
