"""The identity of a job: its model, its flags and its input files."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from kmeans_module.contract import SCORE, TRANSFORM

from ..tables.errors import UnreadableFile
from .job import Job, JobInput

#: The format of the manifest.
_FORMAT: Final = 2

#: Bytes at either end of an input that go into its fingerprint.
_END_BYTES: Final = 2**16


def identify_job(job: Job) -> dict[str, Any]:
    """The inputs, the model and the flags of a job, as its manifest has them.

    Raises UnreadableFile.
    """
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
            **job.reading.flags(),
        },
        "inputs": [_fingerprint(each) for each in job.inputs],
    }


def _fingerprint(source: JobInput) -> dict[str, Any]:
    """The identity of a file: its size, time and ends; for a copy, its whole content.

    Raises UnreadableFile.
    """
    try:
        status = source.path.stat()
        found = {"name": source.name, "size": status.st_size}
        with source.path.open("rb") as file:
            if source.is_copy:
                return found | {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            ends = hashlib.sha256(file.read(_END_BYTES))
            file.seek(max(0, status.st_size - _END_BYTES))
            ends.update(file.read(_END_BYTES))
    except OSError as error:
        raise UnreadableFile(f"{source.name}: cannot be read: {error.strerror}") from None
    return found | {"mtime_ns": status.st_mtime_ns, "sha256_of_ends": ends.hexdigest()}


def describe_differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Describe the changes since the start of the job."""
    if begun["format"] != now["format"]:
        yield f"its manifest has format {begun['format']}, and this package writes {now['format']}"
        return
    if begun["model"] != now["model"]:
        yield f"it was started with {_model(begun['model'])}, and this is {_model(now['model'])}"
    for flag, value in now["flags"].items():
        # A release that had no such flag read as if it were not given.
        was = begun["flags"].get(flag)
        if (was or None) != (value or None):
            yield f"{flag}: {_describe_flag(was)} before, {_describe_flag(value)} now"
    before, after = begun["inputs"], now["inputs"]
    if len(before) != len(after):
        yield f"it was started with {len(before)} input files, and now there are {len(after)}"
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old["name"] != new["name"]:
            yield f"input {number} was {old['name']}, and is {new['name']}"
            return
        if old != new:
            changed = next(key for key in new if old.get(key) != new[key])
            was, now_is = old.get(changed), new[changed]
            if changed == "mtime_ns" and isinstance(was, int):
                changed, was, now_is = "its time", *_format_times(was, now_is)
            yield f"{new['name']} has changed ({changed} was {was}, is {now_is})"
            return


def _describe_flag(value: object) -> str:
    if value is True:
        return "given"
    return str(value or "not given")


def _format_times(one: int, other: int) -> tuple[str, str]:
    """Two times in nanoseconds since 1970 as UTC, to the nanosecond where that tells them apart."""
    unit = "s" if one // 10**9 != other // 10**9 else "ns"
    first, second = (np.datetime64(each, "ns").astype(f"M8[{unit}]") for each in (one, other))
    return f"{first} UTC", f"{second} UTC"


def _model(model: Mapping[str, Any]) -> str:
    return f"version {model['version']} of {model['name']} ({model['sha256'][:12]})"
