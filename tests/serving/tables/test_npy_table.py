"""The .npy reader: exact values in bounded blocks, and arrays that are no tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from serving.tables import npy_table
from serving.tables.errors import UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.npy_table import NpyTable

from .row_files import read_all


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    npst.arrays(
        st.sampled_from(
            [np.dtype(code) for code in ("f2", "f4", "f8", "i1", "u2", "i4", ">f4", "?")]
        ),
        st.tuples(st.integers(0, 20), st.integers(1, 4)),
    ),
    st.booleans(),
)
def test_npy_is_read_back_bit_for_bit(tmp_path: Path, array: NDArray[Any], fortran: bool) -> None:
    np.save(tmp_path / "rows.npy", np.asfortranarray(array) if fortran else array)
    table = NpyTable(tmp_path / "rows.npy")
    assert table.columns == tuple(f"feature_{index}" for index in range(array.shape[1]))
    np.testing.assert_array_equal(read_all(table, table.columns), array.astype(np.float64))


@pytest.mark.parametrize(
    ("dtype", "block"), [("f2", "f4"), ("f4", "f4"), ("i2", "f4"), ("i4", "f8"), ("f8", "f8")]
)
def test_blocks_are_float32_where_that_is_exact_and_float64_elsewhere(
    tmp_path: Path, dtype: str, block: str
) -> None:
    np.save(tmp_path / "rows.npy", np.ones((1, 1), dtype))
    (found,) = NpyTable(tmp_path / "rows.npy").blocks(["feature_0"])
    assert found.dtype == block


def test_npy_comes_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy_table, "_BLOCK_NUMBERS", 10)
    array = np.arange(57.0).reshape(19, 3)
    np.save(tmp_path / "rows.npy", array)
    blocks = list(NpyTable(tmp_path / "rows.npy").blocks(["feature_2", "feature_0"]))
    assert max(map(len, blocks)) == 3
    np.testing.assert_array_equal(np.concatenate(blocks), array[:, [2, 0]])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), "array of shape (3,)"),
        (np.zeros((2, 0)), "array of shape (2, 0)"),
        (np.array([[1j]]), "holds complex128, and numbers are needed; write the real and imag"),
        (np.array([["a"]]), "holds <U1, and numbers are needed; write it with array.astype(float)"),
        (np.zeros((2, 1), "i4,f8"), "numbers are needed; write its fields as the arrays of a .npz"),
        (np.array([[{}]], object), "is not a .npy file of numbers"),
    ],
    ids=["one dimension", "no columns", "complex", "text", "fields", "objects"],
)
def test_an_array_that_is_no_table_of_numbers_is_named(
    tmp_path: Path, array: NDArray[Any], words: str
) -> None:
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(UnreadableFile) as caught:
        open_table(tmp_path / "rows.npy")
    assert str(caught.value).startswith(f"{tmp_path / 'rows.npy'}: ")
    assert words in str(caught.value)
