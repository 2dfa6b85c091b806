"""The folder that a job writes, and what tells the next run how far this one came.

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
from typing import Any, Final, Self

import numpy as np

from export.durable_files import try_lock, why, write_atomically
from kmeans_module.contract import SCORE, TRANSFORM

from ..tables.errors import UnreadableFile
from ..tables.table import Table
from .errors import DamagedJob, OtherJob, OutputInUse, OutputNotWritten
from .job import Job, JobInput, OnBadRow, Stretch, part_name
from .tally import Tally

#: The format of the manifest.
_FORMAT: Final = 2

#: Bytes at either end of an input that go into its fingerprint.
_END_BYTES: Final = 2**16

_FOLDERS: Final = ("scored", "rejected", "manifest")


@dataclass(frozen=True)
class Written:
    """A file as it was when it was written.

    One of the same size and time is trusted without being read, so that going on does not mean to
    read all that was written. Of one with another time, as a copy has, the hash decides.
    """

    bytes: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        status = path.stat()
        digest = _sha256(path, status.st_size, status.st_mtime_ns)
        return cls(status.st_size, status.st_mtime_ns, digest)

    def is_still(self, path: Path) -> bool:
        """Whether the file is there, and holds what was written."""
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
    scored: Written
    rejected: Written | None
    is_last: bool
    seconds: float


class OutputFolder:
    """The folder that a job writes. ``began`` is when its first run did, UTC in ISO 8601."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._manifest = job.output / "manifest"
        self.path = job.output
        self.began = ""

    def scored(self, name: str) -> Path:
        return self.path / "scored" / f"{name}.{self._job.format}"

    def rejected(self, name: str) -> Path:
        return self.path / "rejected" / f"{name}.{self._job.format}"

    @contextmanager
    def opened(self, *, overwrite: bool = False) -> Iterator[Self]:
        """Hold the folder, which is made, for this job while the block runs.

        What a run that died has left half-written is removed.

        Raises:
            OutputNotWritten: it is a file, cannot be made, or holds what is not ours.
            OutputInUse: another run is writing there.
            OtherJob: it holds another job; not with ``overwrite``, which removes that.
            DamagedJob: nobody can tell which job it holds; not with ``overwrite``.
        """
        self._check_place()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = try_lock(self.path / ".lock")
        except OSError as error:
            raise OutputNotWritten(f"{self.path}: cannot be written: {why(error)}") from error
        if lock is None:
            raise OutputInUse(
                f"{self.path}: another run is writing there; wait for it, or name another folder"
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
            value = _unsealed((self._manifest / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        # The record of another part may have been copied over this one.
        if value is None or value["name"] != name:
            return None
        scored = Written(**value["scored"])
        rejected = None if value["rejected"] is None else Written(**value["rejected"])
        # A file that somebody has changed or removed is made again.
        if not scored.is_still(self.scored(name)):
            return None
        if rejected is not None and not rejected.is_still(self.rejected(name)):
            return None
        tally = Tally.from_json(value["tally"])
        return PartRecord(**value | {"tally": tally, "scored": scored, "rejected": rejected})

    def records(self) -> list[PartRecord]:
        """The records of all parts that are done, by name."""
        names = sorted(path.stem for path in self._manifest.glob("part-*.json"))
        return [record for name in names if (record := self.record(name)) is not None]

    def leading(self, number: int) -> list[PartRecord]:
        """The records of an input's parts that are done, up to the first that is not."""
        records: list[PartRecord] = []
        while record := self.record(part_name(number, len(records))):
            records.append(record)
        return records

    def rows_of(self, number: int) -> int:
        """The rows of the parts of an input that are done, up to the first that is not."""
        return sum(record.tally.rows for record in self.leading(number))

    def finish(self, name: str, tally: Tally, *, is_last: bool, seconds: float) -> PartRecord:
        """Note that a part is done: both of its files are there. Raises OutputNotWritten."""
        scored = Written.of(self.scored(name))
        rejected = Written.of(self.rejected(name)) if tally.rejected else None
        record = PartRecord(name, tally, scored, rejected, is_last, round(seconds, 3))
        value = asdict(record) | {"tally": tally.to_json()}
        self._write(self._manifest / f"{name}.json", json.dumps(_sealed(value)))
        return record

    def summary(self) -> dict[str, Any] | None:
        """The summary that is there; None when there is none, or it is no JSON object."""
        try:
            found = json.loads((self.path / "summary.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Raises OutputNotWritten."""
        self._write(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def _write(self, path: Path, text: str) -> None:
        try:
            write_atomically(path, text)
        except OSError as error:
            raise OutputNotWritten(f"{path}: cannot be written: {why(error)}") from error

    def _check_place(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise OutputNotWritten(f"{self.path}: is a file; name a folder")
        if (self._manifest / "job.json").exists() or not self.path.is_dir():
            return
        ours = {"manifest", ".lock"}  # of a run that died before it had begun
        others = sorted(each.name for each in self.path.iterdir() if each.name not in ours)
        if others:
            raise OutputNotWritten(
                f"{self.path}: is not empty, and holds no job of ours ({others[0]}); "
                "name a new folder"
            )

    def _clear(self) -> None:
        for name in _FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "summary.json").unlink(missing_ok=True)

    def compare(self) -> bool:
        """Whether the job was begun here before.

        Raises OtherJob when another one was; DamagedJob when nobody can tell.
        """
        self._check_place()
        path = self._manifest / "job.json"
        try:
            begun = _unsealed(path.read_bytes())
        except FileNotFoundError:
            return False
        if begun is None:
            raise DamagedJob(
                f"{path}: is damaged, and nobody can tell which job was begun there; "
                "begin it anew with --overwrite, or name another folder"
            )
        self.began = begun.pop("began")
        differences = list(_differences(begun, _identity(self._job)))
        if self._job.on_bad_row is OnBadRow.FAIL and (rejected := self._rejected_rows()):
            differences.append(f"--on-bad-row was reject, with {rejected:,} rejected, and is fail")
        if differences:
            raise OtherJob(
                f"{self.path}: holds another job: {'; '.join(differences)}; "
                "name another folder, or begin it anew with --overwrite"
            )
        return True

    def _rejected_rows(self) -> int:
        """Those of the parts that are done: none is what a job that fails at a bad row can take."""
        return sum(record.tally.rejected for record in self.records())

    def _begin(self) -> None:
        begun = self.compare()
        self._make(self._manifest)
        if not begun:
            self.began = datetime.now(UTC).isoformat(timespec="seconds")
            value = _identity(self._job) | {"began": self.began}
            self._write(self._manifest / "job.json", json.dumps(_sealed(value), indent=2) + "\n")
        for name in _FOLDERS:
            self._make(self.path / name)
            # What a run that died had not finished.
            for leftover in (self.path / name).glob(".*"):
                leftover.unlink(missing_ok=True)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputNotWritten(f"{folder}: cannot be made: {why(error)}") from error


def missing(
    job: Job, number: int, table: Table, folder: OutputFolder, limit: int | None = None
) -> list[Stretch]:
    """What is still to be scored of an input, of which ``limit`` rows are to be read at most.

    The parts of a file whose rows are counted may be done in any order; those of another one are
    done one after the other, as nobody knows where the next begins.
    """
    if table.rows is None:
        done = folder.leading(number)
        if done and done[-1].is_last:
            return []
        return [Stretch(number, len(done), sum(record.tally.rows for record in done))]
    rows = table.rows if limit is None else min(table.rows, limit)
    parts = max(1, -(-rows // job.part_rows))
    found: list[Stretch] = []
    for part in range(parts):
        if folder.record(part_name(number, part)) is not None:
            continue
        stop = part + 1 if part + 1 < parts else None
        if found and found[-1].stop == part:
            found[-1] = replace(found[-1], stop=stop)
        else:
            found.append(Stretch(number, part, part * job.part_rows, stop))
    return found


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """The hash of a file, read once in a run for each size and time that it has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of a value: with the hash that tells later whether it was damaged."""
    return {**value, "sha256": _seal(value)}


def _unsealed(text: bytes) -> dict[str, Any] | None:
    """The value that was sealed; None when it is damaged."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.pop("sha256", None) != _seal(value):
        return None
    return value


def _seal(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _identity(job: Job) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "model": asdict(job.model),
        "flags": {
            "--keep": ",".join(job.keep),
            "--score": SCORE in job.signatures,
            "--all-distances": TRANSFORM in job.signatures,
            "--format": str(job.format),
            "--part-rows": job.part_rows,
            "--limit": job.limit,
        },
        "inputs": [_fingerprint(each) for each in job.inputs],
    }


def _fingerprint(source: JobInput) -> dict[str, Any]:
    """What tells a file from another: its size, its time and its ends; of a copy, all of it.

    Raises UnreadableFile.
    """
    try:
        status = source.path.stat()
        with source.path.open("rb") as file:
            if source.is_copy:
                return {
                    "name": source.name,
                    "size": status.st_size,
                    "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                }
            ends = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, status.st_size - _END_BYTES))
            ends.update(file.read(_END_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{source.name}: cannot be read: {error.strerror}") from None
    return {
        "name": source.name,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256_of_ends": ends.hexdigest(),
    }


def _differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it was when the job was begun, in words."""
    if begun["format"] != now["format"]:
        yield f"its manifest has format {begun['format']}, and this package writes {now['format']}"
        return
    if begun["model"] != now["model"]:
        yield f"it was begun with {_model(begun['model'])}, and this is {_model(now['model'])}"
    for flag, value in now["flags"].items():
        if begun["flags"][flag] != value:
            yield f"{flag} was {begun['flags'][flag] or 'not given'}, and is {value or 'not given'}"
    before, after = begun["inputs"], now["inputs"]
    if len(before) != len(after):
        yield f"it was begun with {len(before)} input files, and there are {len(after)}"
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old["name"] != new["name"]:
            yield f"input {number} was {old['name']}, and is {new['name']}"
            return
        if old != new:
            changed = next(key for key in new if old.get(key) != new[key])
            was, now_is = old.get(changed), new[changed]
            if changed == "mtime_ns" and isinstance(was, int):
                changed, was, now_is = "its time", *_times(was, now_is)
            yield f"{new['name']} has changed ({changed} was {was}, is {now_is})"
            return


def _times(one: int, other: int) -> tuple[str, str]:
    """Two times in nanoseconds since 1970 as UTC, to the nanosecond where that tells them apart."""
    unit = "s" if one // 10**9 != other // 10**9 else "ns"
    first, second = (np.datetime64(each, "ns").astype(f"M8[{unit}]") for each in (one, other))
    return f"{first} UTC", f"{second} UTC"


def _model(model: Mapping[str, Any]) -> str:
    return f"version {model['version']} of {model['name']} ({model['sha256'][:12]})"
