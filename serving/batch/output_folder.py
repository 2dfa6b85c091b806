"""The output folder of a job, with the manifest from which the next run resumes.

::

    OUT/scored/part-00000-00000.parquet     the rows that were scored, in their order
    OUT/rejected/part-00000-00000.parquet   those that could not be, where there are some
    OUT/summary.json                        written when all is done
    OUT/manifest/job.json                   the inputs, the model and the flags
    OUT/manifest/part-00000-00000.json      one for each part that is done
    OUT/.lock                               held by the run that writes here

A part counts as done when its record is there, which is written last. What is in the manifest
holds its own hash: a damaged record is none, and a damaged ``job.json`` is refused.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self

from export.durable_files import explain, try_lock, write_atomically
from export.json_text import parse_json

from ..tables.table import Table
from .errors import DamagedJob, OtherJob, OutputInUse, OutputNotWritten
from .job import Job, OnBadRow, PartRange, part_name
from .job_identity import describe_differences, identify_job
from .tally import Tally

_RowFolder = Literal["scored", "rejected"]
_ROW_FOLDERS: Final[tuple[_RowFolder, ...]] = ("scored", "rejected")


@dataclass(frozen=True)
class FileStamp:
    """The size, time and hash of a written file.

    A file with the same size and time is accepted without reading it, so that a run resumes
    quickly. For a file with another time, such as a copy, the hash decides.
    """

    bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        status = path.stat()
        digest = _sha256(path, status.st_size, status.st_mtime_ns)
        return cls(status.st_size, status.st_mtime_ns, digest)

    def matches(self, path: Path) -> bool:
        """Whether the file exists with the written content."""
        try:
            status = path.stat()
            if status.st_size != self.bytes:
                return False
            if status.st_mtime_ns == self.mtime_ns:
                return True
            return _sha256(path, status.st_size, status.st_mtime_ns) == self.sha256
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class PartRecord:
    """A part that is done.

    Attributes:
        name: that of its files, without what tells their kind.
        tally: what was counted.
        scored: its file of scored rows.
        rejected: its file of rejected rows; None where there are none.
        is_last: whether its input has no rows after it.
        seconds: from its first row to its last.
    """

    name: str
    tally: Tally
    scored: FileStamp
    rejected: FileStamp | None
    is_last: bool
    seconds: float


class OutputFolder:
    """The folder that a job writes. ``began`` is when its first run did, UTC in ISO 8601."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._manifest = job.output / "manifest"
        self.path = job.output
        self.began = ""

    def rows_file(self, folder: _RowFolder, name: str) -> Path:
        """The file of a part's rows that were scored, or rejected."""
        return self.path / folder / f"{name}.{self._job.format}"

    @contextmanager
    def lock(self, *, overwrite: bool = False) -> Iterator[Self]:
        """Hold the folder, which is made, for this job while the block runs.

        What a run that died has left half-written is removed.

        Raises:
            OutputNotWritten: it is a file, cannot be made, or holds what is not ours.
            OutputInUse: another run is writing there.
            OtherJob: it holds another job; not with ``overwrite``, which removes that.
            DamagedJob: nobody can tell which job it holds; not with ``overwrite``.
        """
        self._check_folder()
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = try_lock(self.path / ".lock")
        if lock is None:
            raise OutputInUse(
                f"{self.path}: another run is writing to it; wait for that run, or give another "
                "folder"
            )
        try:
            if overwrite:
                self._clear()
            self._begin()
            yield self
        finally:
            os.close(lock)

    def record(self, name: str) -> PartRecord | None:
        """The record of a part; None when it is not done."""
        try:
            value = _unseal((self._manifest / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        # The record of another part may have been copied over this one.
        if value is None or value["name"] != name:
            return None
        value["tally"] = Tally.from_json(value["tally"])
        for folder in _ROW_FOLDERS:
            if value[folder] is not None:
                value[folder] = FileStamp(**value[folder])
                # A file that somebody has changed or removed is made again.
                if not value[folder].matches(self.rows_file(folder, name)):
                    return None
        return PartRecord(**value)

    def records(self) -> list[PartRecord]:
        """The records of all parts that are done, by name."""
        names = sorted(path.stem for path in self._manifest.glob("part-*.json"))
        return [record for name in names if (record := self.record(name)) is not None]

    def leading_records(self, number: int) -> list[PartRecord]:
        """The records of an input's parts that are done, up to the first that is not."""
        records: list[PartRecord] = []
        while record := self.record(part_name(number, len(records))):
            records.append(record)
        return records

    def add_record(self, name: str, tally: Tally, *, is_last: bool, seconds: float) -> PartRecord:
        """Note that a part is done: both of its files are there. Raises OutputNotWritten."""
        scored = FileStamp.of(self.rows_file("scored", name))
        rejected = FileStamp.of(self.rows_file("rejected", name)) if tally.rejected else None
        record = PartRecord(name, tally, scored, rejected, is_last, round(seconds, 3))
        stamps = {
            "scored": asdict(scored),
            "rejected": None if rejected is None else asdict(rejected),
        }
        value = vars(record) | {"tally": tally.to_json()} | stamps
        self._write(self._manifest / f"{name}.json", json.dumps(_seal(value)))
        return record

    def summary(self) -> dict[str, Any] | None:
        """The existing summary; None if it is missing or not a JSON object."""
        try:
            found = parse_json((self.path / "summary.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Raises OutputNotWritten."""
        self._write(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def _write(self, path: Path, text: str) -> None:
        with _writing(path):
            write_atomically(path, text)

    def _check_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise OutputNotWritten(f"{self.path}: is a file; give a folder")
        if (self._manifest / "job.json").exists() or not self.path.is_dir():
            return
        ours = {"manifest", ".lock"}  # of a run that died before it had begun
        others = sorted(each.name for each in self.path.iterdir() if each.name not in ours)
        if others:
            raise OutputNotWritten(
                f"{self.path}: is not empty, and is not a batch-score job ({others[0]}); give a "
                "new folder"
            )

    def _clear(self) -> None:
        for name in (*_ROW_FOLDERS, "manifest"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "summary.json").unlink(missing_ok=True)

    def has_begun(self) -> bool:
        """Whether the folder contains an earlier start of the job.

        Raises OtherJob when another one was; DamagedJob when nobody can tell.
        """
        self._check_folder()
        path = self._manifest / "job.json"
        try:
            begun = _unseal(path.read_bytes())
        except FileNotFoundError:
            return False
        if begun is None:
            raise DamagedJob(
                f"{path}: is damaged, so the job in the folder is unknown; start again with "
                "--overwrite, or give another folder"
            )
        self.began = begun.pop("began")
        differences = list(describe_differences(begun, identify_job(self._job)))
        # A job that fails at a bad row can only go on from parts that have none.
        is_strict = self._job.on_bad_row is OnBadRow.FAIL
        if is_strict and (rejected := sum(each.tally.rejected for each in self.records())):
            differences.append(f"--on-bad-row was reject, with {rejected:,} rejected, and is fail")
        if differences:
            raise OtherJob(
                f"{self.path}: contains another job: {'; '.join(differences)}; give another "
                "folder, or start again with --overwrite"
            )
        return True

    def _begin(self) -> None:
        has_begun = self.has_begun()
        # The note of the job comes first: what else lies there without it is taken for others'.
        self._make_folder("manifest")
        if not has_begun:
            self.began = datetime.now(UTC).isoformat(timespec="seconds")
            value = identify_job(self._job) | {"began": self.began}
            self._write(self._manifest / "job.json", json.dumps(_seal(value), indent=2) + "\n")
        for folder in _ROW_FOLDERS:
            self._make_folder(folder)

    def _make_folder(self, name: str) -> None:
        folder = self.path / name
        with _writing(folder):
            folder.mkdir(exist_ok=True)
            # What a run that died had not finished.
            for leftover in folder.glob(".*"):
                leftover.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputNotWritten(f"{path}: cannot be written: {explain(error)}") from error


def find_missing_parts(
    job: Job,
    number: int,
    table: Table,
    folder: OutputFolder,
    limit: int | None = None,
    *,
    one_by_one: bool = False,
) -> list[PartRange]:
    """Return the parts of an input that are not scored yet, within ``limit`` rows.

    The parts of a file whose rows are counted may be done in any order, each for itself where
    ``one_by_one``; those of another one are done one after the other, as nobody knows where the
    next begins.
    """
    if table.rows is None:
        done = folder.leading_records(number)
        if done and done[-1].is_last:
            return []
        return [PartRange(number, len(done), sum(record.tally.rows for record in done))]
    rows = table.rows if limit is None else min(table.rows, limit)
    last = max(0, (rows - 1) // job.part_rows)
    found: list[PartRange] = []
    for part in range(last + 1):
        if folder.record(part_name(number, part)) is not None:
            continue
        stop = part + 1 if part < last else None
        if found and found[-1].stop == part and not one_by_one:
            found[-1] = replace(found[-1], stop=stop)
        else:
            found.append(PartRange(number, part, part * job.part_rows, stop))
    return found


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """The hash of a file, read once in a run for each size and time that it has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a value the hash that later shows damage."""
    return {**value, "sha256": _digest(value)}


def _unseal(text: bytes) -> dict[str, Any] | None:
    """The value that was sealed; None when it is damaged."""
    try:
        value = parse_json(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.pop("sha256", None) != _digest(value):
        return None
    return value


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
