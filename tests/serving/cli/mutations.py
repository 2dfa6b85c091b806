"""What can become of a file: the same for the same seed."""

import gzip
import io
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Final

_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
_WORD: Final = re.compile(rb"\w+")
_NUMBERS: Final = (
    b"-1",
    b"0",
    b"1e999",
    b"1" + b"0" * 30,
    b"9" * 5000,
    b"nan",
    b"18446744073709551616",
    b"null",
    b'"text"',
    b"true",
    b"[]",
    b"{}",
)
_DEEP: Final = (b"[" * 100_000, b'{"a":' * 50_000, b"{ a " * 50_000, b"(" * 50_000)
_LENGTHS: Final = (2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**40)


def mutate(data: bytes, seed: str) -> bytes:
    """A damaged copy. What is packed by gzip or zip is damaged inside of it every other time."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(_damage(gzip.decompress(data), rng), mtime=0)
        if data.startswith(b"PK\x03\x04"):
            return _damage_entry(data, rng)
    return _damage(data, rng)


def _damage_entry(data: bytes, rng: random.Random) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            entry = old.read(name)
            new.writestr(name, _damage(entry, rng) if name == chosen else entry)
    return written.getvalue()


def _damage(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 3))):
        data = rng.choice(_DAMAGES)(data, rng)
    return data


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, and every other time near the start or the end, where headers and footers are."""
    near = min(len(data), 128)
    return rng.choice(
        (rng.randint(0, len(data)), rng.randint(0, near), len(data) - rng.randint(0, near))
    )


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = _place(data, rng)
        changed[at : at + 1] = bytes(each ^ 1 << rng.randrange(8) for each in changed[at : at + 1])
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.randint(1, 64)
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:at] + filling + data[at + length :]


def _remove(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.randint(1, 256) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, at = _place(data, rng), _place(data, rng)
    return data[:at] + data[start : start + rng.randint(1, 256)] + data[at:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice((rng.randbytes(16), b"\0", b"\n", b'"', b",,")) + data[at:]


def _renumber(data: bytes, rng: random.Random) -> bytes:
    return _replace_one(_NUMBER, data, rng, lambda: rng.choice(_NUMBERS))


def _swap_words(data: bytes, rng: random.Random) -> bytes:
    words = _WORD.findall(data) or [b"word"]
    return _replace_one(_WORD, data, rng, lambda: rng.choice(words))


def _replace_one(
    pattern: re.Pattern[bytes], data: bytes, rng: random.Random, new: Callable[[], bytes]
) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return _overwrite(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + new() + data[one.end() :]


def _nest(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    values = [one.start() for one in _NUMBER.finditer(data)]
    if values and rng.random() < 0.5:
        at = rng.choice(values)
    return data[:at] + rng.choice(_DEEP) + data[at:]


def _claim(data: bytes, rng: random.Random) -> bytes:
    """A length of an impossible size, in four or eight bytes."""
    at, size = _place(data, rng), rng.choice((4, 8))
    claim = rng.choice(_LENGTHS) & ((1 << 8 * size) - 1)
    return data[:at] + claim.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _compress(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((gzip.compress(data, mtime=0), zlib.compress(data), b""))


_DAMAGES: Final = (
    _cut,
    _flip,
    _overwrite,
    _remove,
    _repeat,
    _insert,
    _renumber,
    _renumber,
    _swap_words,
    _nest,
    _claim,
    _compress,
)
