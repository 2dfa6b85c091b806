"""What a cache of rows holds, when it is used again, and that it is whole or not there."""

import errno
import os
import random
import resource
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.tables.encoded_rows import Encoding
from serving.tables.errors import BadCell, ChangedInput, NoRows, UnusableCache
from serving.tables.input_files import open_table
from serving.tables.row_cache import CacheRequest, RowCache, open_cache
from serving.tables.streamed_rows import stream_rows
from serving.tables.training_rows import read_training_rows
from tests.kmeans_module.stopped_fits import Points

from .row_files import write_csv

#: Each point; else a tenth.
SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"

COLUMNS: Final = ["a", "b"]


def request(*paths: Path, columns: list[str] = COLUMNS, weight: str | None = None) -> CacheRequest:
    return CacheRequest([open_table(path) for path in paths], paths, columns, weight)


class Opened(NamedTuple):
    cache: RowCache
    said: list[str]
    rows_read: int

    @property
    def rows(self) -> Any:
        return self.cache.source[:]


def opened(asked: CacheRequest, folder: Path, *, is_kept: bool = True) -> Opened:
    said: list[str] = []
    read: list[int] = []
    cache = open_cache(asked, folder, is_kept=is_kept, tell=said.append, on_rows=read.append)
    return Opened(cache, said, sum(read))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    rows: list[list[object]] = [
        [1, 2, 1],
        ["", 3, 2],
        [4, "NA", 0],
        [0, 0, 1],
        [5, 6, ""],
        [7.5, 8, 3],
    ]
    return write_csv(tmp_path / "rows.csv", ["a", "b", "w"], rows)


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).standard_normal((300, 2), dtype=np.float32))
    return path


def ask_npy(path: Path) -> CacheRequest:
    return request(path, columns=["feature_0", "feature_1"])


@pytest.mark.parametrize("weight", [None, "feature_2"])
def test_what_a_cache_is_told_to_take_is_what_it_takes(weight: str | None, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((70_000, 3), np.float32))
    columns = ["feature_0", "feature_1"]
    asked = request(tmp_path / "rows.npy", columns=columns, weight=weight)
    opened(asked, tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.rows")
    # Weights have lain beside it, too.
    taken = path.stat().st_size + (0 if weight is None else 4 * 70_000)
    assert asked.size() == pytest.approx(taken, abs=4096)


def test_the_cache_has_all_rows_also_those_that_lack_something(csv: Path, tmp_path: Path) -> None:
    found = opened(request(csv, weight="w"), tmp_path / "cache")
    expected = np.array([[1, 2], [np.nan, 3], [4, np.nan], [0, 0], [5, 6], [7.5, 8]])
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.cache.source.weights[:], [1, 2, 0, 1, np.nan, 3])
    header = found.cache.header
    assert header.missing == {"a": 1, "b": 1, "w": 1}
    assert (header.rows, found.rows_read) == (6, 6)
    assert (header.low, header.high) == ([0, 0], [7.5, 8])
    np.testing.assert_allclose(header.mean, np.nanmean(expected, axis=0))
    np.testing.assert_allclose(header.variance, np.nanvar(expected, axis=0))


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("skip_zero_rows", [False, True])
def test_the_rows_of_a_stream_are_those_in_memory_and_so_is_what_is_said_of_them(
    csv: Path, tmp_path: Path, weight: str | None, skip_zero_rows: bool
) -> None:
    other = tmp_path / "more.parquet"
    rng = np.random.default_rng(1)
    a = rng.normal(size=10_000).astype(np.float32)
    a[rng.random(10_000) < 0.1] = np.nan
    more: dict[str, Any] = {"a": a, "b": a * 2, "w": rng.random(10_000)}
    pq.write_table(pa.table(more), other)
    in_memory = read_training_rows(
        [open_table(csv), open_table(other)],
        COLUMNS,
        weight_column=weight,
        skip_zero_rows=skip_zero_rows,
    )
    cache = opened(request(csv, other, weight=weight), tmp_path / "cache").cache
    streamed = stream_rows(cache, COLUMNS, skip_zero_rows=skip_zero_rows)
    np.testing.assert_array_equal(streamed.source[:], in_memory.points.astype(np.float32))
    weights = np.ones(streamed.n_rows) if in_memory.weights is None else in_memory.weights
    np.testing.assert_array_equal(streamed.source.weights[:], weights.astype(np.float32))
    assert streamed.notes() == in_memory.notes()
    assert len(streamed.notes()) == 1 + skip_zero_rows
    is_there = (streamed.sample[:, None] == streamed.source[:][None, :50]).all(axis=2).any()
    assert is_there
    assert not np.isnan(streamed.sample).any()


def test_vectors_are_features_and_a_row_without_its_vector_is_left_out(tmp_path: Path) -> None:
    vectors = pa.array([[1.0, 2.0], None, [3.0, None], [4.0, 5.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"v": vectors, "a": [None, 1, 2, 3]}), tmp_path / "rows.parquet")
    asked = request(tmp_path / "rows.parquet", columns=["v", "a"])
    found = opened(asked, tmp_path / "cache")
    np.testing.assert_array_equal(
        found.rows, [[1, 2, np.nan], [np.nan] * 2 + [1], [3, np.nan, 2], [4, 5, 3]]
    )
    assert found.cache.header.missing == {"v": 2, "a": 1}
    streamed = stream_rows(found.cache, ["v", "a"])
    assert streamed.columns == ("v[0]", "v[1]", "a")
    np.testing.assert_array_equal(streamed.source[:], [[4, 5, 3]])


def test_digits_that_float32_lacks_are_warned_of_as_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.array([[1e9 + 1, 1], [1e9 + 2, 2], [np.nan, 3]]))
    columns = ["feature_0", "feature_1"]
    rows = stream_rows(opened(request(path, columns=columns), tmp_path / "cache").cache, columns)
    assert rows.notes() == read_training_rows([open_table(path)], columns).notes()
    assert "loses digits" in rows.notes()[1]


def test_the_sample_stays_small_where_categories_have_many_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "rows.csv", ["a", "c"], [[n, f"v{n % 300}"] for n in range(900)])
    asked = CacheRequest([open_table(path)], [path], ["a", "c"], None, categories=("c",))
    cache = opened(asked, tmp_path / "cache").cache
    encoding = Encoding(categories=("c",))
    assert stream_rows(cache, ["a", "c"], encoding).sample.shape == (900, 301)
    monkeypatch.setattr("serving.tables.streamed_rows._MOST_OF_SAMPLE", 301 * 100)
    rows = stream_rows(cache, ["a", "c"], encoding)
    assert rows.sample.shape == (100, 301)
    assert rows.sample_weights.shape == (100,)
    assert rows.n_rows == 900
    np.testing.assert_array_equal(rows.sample.sum(axis=1), cache.sample[::9, 0] + 1)


def test_the_sample_does_not_depend_on_the_blocks_in_which_rows_are_read(tmp_path: Path) -> None:
    points = np.random.default_rng(0).standard_normal((100_000, 2), dtype=np.float32)
    np.save(tmp_path / "rows.npy", points)
    table = pa.table({"feature_0": points[:, 0], "feature_1": points[:, 1]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=777)
    one, other = (
        opened(ask_npy(tmp_path / name), tmp_path / "cache").cache
        for name in ("rows.npy", "rows.parquet")
    )
    assert len(one.sample) == 2**16
    np.testing.assert_array_equal(one.sample, other.sample)


def test_a_cache_is_used_again_and_its_file_is_not_read(npy: Path, tmp_path: Path) -> None:
    first = opened(ask_npy(npy), tmp_path / "cache")
    assert len(first.said) == 1
    assert "about 6 kB" in first.said[0]
    again = opened(ask_npy(npy), tmp_path / "cache")
    assert again.rows_read == 0
    assert "300 rows are in the cache" in again.said[0]
    np.testing.assert_array_equal(again.rows, np.load(npy))
    np.testing.assert_array_equal(again.cache.sample, first.cache.sample)
    assert again.cache.header == first.cache.header


def test_a_file_that_changed_since_is_read_again_and_named(npy: Path, tmp_path: Path) -> None:
    opened(ask_npy(npy), tmp_path / "cache")
    np.save(npy, np.load(npy) + 1)
    again = opened(ask_npy(npy), tmp_path / "cache")
    assert again.rows_read == 300
    assert f"{npy} changed since" in again.said[0]
    np.testing.assert_array_equal(again.rows, np.load(npy))


def test_other_columns_have_another_cache(csv: Path, tmp_path: Path) -> None:
    opened(request(csv), tmp_path / "cache")
    assert opened(request(csv, columns=["a"]), tmp_path / "cache").rows_read == 6
    assert opened(request(csv, weight="w"), tmp_path / "cache").rows_read == 6
    assert opened(request(csv), tmp_path / "cache").rows_read == 0


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES: Final[dict[str, Callable[[Path], object]]] = {
    "a bit of a row": lambda path: _flip(path, 100),
    "a bit of the header": lambda path: _flip(path, path.stat().st_size - 100),
    "a bit of the end": lambda path: _flip(path, path.stat().st_size - 1),
    "cut off": lambda path: os.truncate(path, path.stat().st_size - 50),
    "cut in its midst": lambda path: path.write_bytes(path.read_bytes().replace(b"{", b"", 1)),
    "begins later": lambda path: path.write_bytes(path.read_bytes()[8:]),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_said_and_written_again(damage: str, npy: Path, tmp_path: Path) -> None:
    opened(ask_npy(npy), tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.rows")
    DAMAGES[damage](file)
    again = opened(ask_npy(npy), tmp_path / "cache")
    assert again.said[0].startswith(f"warning: {file}: is damaged")
    np.testing.assert_array_equal(again.rows, np.load(npy))
    assert opened(ask_npy(npy), tmp_path / "cache").rows_read == 0


def test_a_cache_that_is_not_kept_leaves_no_file(npy: Path, tmp_path: Path) -> None:
    found = opened(ask_npy(npy), tmp_path / "cache", is_kept=False)
    assert not list((tmp_path / "cache").iterdir())
    np.testing.assert_array_equal(found.rows, np.load(npy))


def test_too_little_room_is_said_before_a_row_is_read(
    npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UnusableCache, match=r"takes about 6 kB, and 1 kB are free; give a folder"):
        opened(ask_npy(npy), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.[!l]*"))


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_disk_that_takes_no_more_leaves_nothing(npy: Path, tmp_path: Path, is_kept: bool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(
            UnusableCache, match=r"cannot hold a cache of the rows: File too large; give another"
        ):
            opened(ask_npy(npy), tmp_path / "cache", is_kept=is_kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "cache").glob("*.[!l]*"))


def test_a_folder_that_is_a_file_is_one_line(npy: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(UnusableCache, match=os.strerror(errno.EEXIST)):
        opened(ask_npy(npy), tmp_path / "cache")
    assert (tmp_path / "cache").read_text() == "mine"


def test_a_file_that_is_changed_while_it_is_read_is_refused(npy: Path, tmp_path: Path) -> None:
    def change(_: int) -> None:
        os.utime(npy, (0, 0))

    with pytest.raises(ChangedInput, match="changed while the rows were read"):
        open_cache(ask_npy(npy), tmp_path / "cache", is_kept=True, tell=print, on_rows=change)
    assert not list((tmp_path / "cache").glob("*.[!l]*"))


def test_a_bad_cell_is_refused_with_its_place_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", COLUMNS, [[1, 2], [3, "inf"]])
    with pytest.raises(BadCell, match=r"row 2 \(line 3\), column 'b': inf is infinite"):
        opened(request(path), tmp_path / "cache")
    path = write_csv(tmp_path / "rows.csv", [*COLUMNS, "w"], [[1, 2, 1], [3, 4, -1]])
    with pytest.raises(BadCell, match=r"row 2 \(line 3\), column 'w': -1 is negative"):
        opened(request(path, weight="w"), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.[!l]*"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no row|has a header and no rows"),
        ([["", 1, 1], [2, "", 1]], "each of the 2 rows has a missing value"),
        ([[0, 0, 1], [1, "", 1]], "every row is of zeros"),
        ([[1, 1, 0]], "no row that is left has a weight above 0"),
    ],
)
def test_no_row_that_is_left_is_one_line(rows: list[Any], words: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", [*COLUMNS, "w"], rows)
    with pytest.raises(NoRows, match=words):
        stream_rows(
            opened(request(path, weight="w"), tmp_path / "cache").cache,
            COLUMNS,
            skip_zero_rows=True,
        )


def test_of_two_at_once_one_writes_and_the_other_waits(npy: Path, tmp_path: Path) -> None:
    is_read, may_go_on = threading.Event(), threading.Event()
    written: list[RowCache] = []

    def hold(_: int) -> None:
        is_read.set()
        assert may_go_on.wait(60)

    def write() -> None:
        folder = tmp_path / "cache"
        written.append(
            open_cache(ask_npy(npy), folder, is_kept=True, tell=lambda _: None, on_rows=hold)
        )

    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        if text.startswith("waiting for"):
            may_go_on.set()

    first = threading.Thread(target=write)
    first.start()
    assert is_read.wait(60)
    second = open_cache(ask_npy(npy), tmp_path / "cache", is_kept=True, tell=tell)
    first.join(60)
    assert "300 rows are in the cache" in said[1]
    np.testing.assert_array_equal(second.source[:], written[0].source[:])


@pytest.fixture(scope="module")
def points() -> Points:
    return Points()


def test_killed_at_any_point_the_next_run_has_a_whole_cache(
    npy: Path, tmp_path: Path, points: Points
) -> None:
    asked = ask_npy(npy)
    with points.dying(tmp_path / "counted", 0, lambda: None):
        opened(asked, tmp_path / "counted")
    count = points.passed
    assert count >= 5
    step = 1 if SOAK else 3
    for dies_at in range(1 + random.Random(count).randrange(step), count + 1, step):
        folder = tmp_path / f"at{dies_at}"
        child = os.fork()
        if not child:
            with points.dying(folder, dies_at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                opened(asked, folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        again = opened(asked, folder)
        np.testing.assert_array_equal(again.rows, np.load(npy))
        assert sorted(path.suffix for path in folder.iterdir()) == [".lock", ".rows"]
