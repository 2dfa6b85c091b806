"""Arrays of NumPy whose headers are not believed."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import InvalidCandidate, golden_requests, sample_rows
from export.array_files import ArrayCutShort, InvalidArray, check_npy, read_npy, read_npz
from export.golden_requests import GOLDEN_FILE
from export.sample_rows import SAMPLE_FILE


def _npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def _npz(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(f"{name}.npy", entry)
    return path


CLAIMS = {
    "four terabytes": (_npy((10**9, 1000)), "claims 4,000,000,000,000 bytes, and there are 0"),
    "more than an integer of C": (_npy((10**25,)), "claims 40,000,000,000,000,000,000,000,000"),
    "a negative length": (_npy((-3, 2), data=bytes(64)), "claims -24 bytes"),
    "one number too many": (_npy((3,), data=bytes(8)), "claims 12 bytes, and there are 8"),
    "objects": (_npy((1,), "|O", bytes(8)), "holds objects of Python"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(64), "another version of NumPy's format"),
    "no header": (b"\x93NUMPY\x01\x00\x10\x00{{{{{{{{{{{{{{{{", "has no header of NumPy"),
    "other bytes": (b"PK\x03\x04", "has no header of NumPy"),
}


@pytest.mark.parametrize(("content", "message"), CLAIMS.values(), ids=CLAIMS)
def test_what_a_header_claims_and_is_not_there_is_not_read(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "any.npy"
    path.write_bytes(content)
    readers: list[Callable[[], Any]] = [
        lambda: read_npy(path),
        lambda: check_npy(path),
        lambda: list(read_npz(_npz(tmp_path / "any.npz", any=content))),
    ]
    for read in readers:
        with pytest.raises(InvalidArray, match=message):
            read()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_an_array_that_ends_anywhere_too_early_is_called_cut_short(
    tmp_path: Path, version: tuple[int, int]
) -> None:
    path = tmp_path / "any.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version)
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        for read in (read_npy, check_npy):
            with pytest.raises(ArrayCutShort, match="it is cut short" if end else "it is empty"):
                read(path)
        with pytest.raises(ArrayCutShort, match="it is cut short" if end else "it is empty"):
            list(read_npz(_npz(tmp_path / "any.npz", any=whole[:end])))


def test_an_archive_that_ends_anywhere_too_early_is_called_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "any.npz"
    np.savez_compressed(path, points=np.arange(6.0), names=np.arange(3))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ArrayCutShort, match="it is cut short" if end else "it is empty"):
            list(read_npz(path))
    path.write_bytes(b"no archive")
    with pytest.raises(InvalidArray, match="not a zip file") as refused:
        list(read_npz(path))
    assert not isinstance(refused.value, ArrayCutShort)


def test_arrays_come_back_as_numpy_wrote_them(tmp_path: Path) -> None:
    arrays = {
        "0/assign/in/points": np.arange(6, dtype=np.float32).reshape(2, 3),
        "empty": np.zeros((0, 3), np.int32),
        "scalar": np.array(7.5),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    written: Any = arrays
    np.savez_compressed(tmp_path / "any.npz", **written)
    found = dict(read_npz(tmp_path / "any.npz"))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    np.save(tmp_path / "any.npy", arrays["columns"])
    np.testing.assert_array_equal(read_npy(tmp_path / "any.npy"), arrays["columns"])


def test_an_archive_that_claims_more_than_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = _npz(tmp_path / "any.npz", any=_npy((2,), data=bytes(8)))
    whole = path.read_bytes()
    size = len(_npy((2,), data=bytes(8)))
    claimed = whole.replace(size.to_bytes(4, "little"), (2**31 - 1).to_bytes(4, "little"))
    path.write_bytes(claimed)
    with pytest.raises(InvalidArray, match="claims to hold 2,147,483,647 bytes"):
        list(read_npz(path))


def test_golden_requests_and_rows_that_claim_terabytes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    huge = _npy((10**9, 1000))
    _npz(tmp_path / GOLDEN_FILE, any=huge)
    (tmp_path / SAMPLE_FILE).write_bytes(huge)
    for read in (golden_requests.read, sample_rows.read):
        with pytest.raises(InvalidCandidate, match="its header claims") as refused:
            read(tmp_path)
        assert "\n" not in str(refused.value)


def test_golden_requests_and_rows_that_are_cut_short_are_called_that(tmp_path: Path) -> None:
    (tmp_path / "assets.extra").mkdir()
    _npz(tmp_path / GOLDEN_FILE, any=_npy((3,), data=bytes(12)))
    (tmp_path / SAMPLE_FILE).write_bytes(_npy((3,), data=bytes(12)))
    for name, read in ((GOLDEN_FILE, golden_requests.read), (SAMPLE_FILE, sample_rows.read)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(InvalidCandidate, match="are unreadable: it is cut short: "):
            read(tmp_path)
