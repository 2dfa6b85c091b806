"""The allocator of Arrow's memory while a job runs."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from serving.batch.arrow_memory import keep_freed_memory

BEFORE = "system"


@pytest.fixture(autouse=True)
def system_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another allocator than that of a job, so that a change of it shows."""
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    yield
    pa.set_memory_pool(before)


@pytest.mark.skipif(
    "jemalloc" not in pa.supported_memory_backends(), reason="this pyarrow has no jemalloc"
)
def test_a_job_uses_jemalloc_and_gives_the_former_allocator_back() -> None:
    with keep_freed_memory():
        assert pa.default_memory_pool().backend_name == "jemalloc"
    assert pa.default_memory_pool().backend_name == BEFORE


def test_a_job_that_fails_gives_the_former_allocator_back() -> None:
    with pytest.raises(OSError, match="full"), keep_freed_memory():
        raise OSError("full")
    assert pa.default_memory_pool().backend_name == BEFORE


def test_the_allocator_that_the_user_selected_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", BEFORE)
    with keep_freed_memory():
        assert pa.default_memory_pool().backend_name == BEFORE


def test_without_jemalloc_the_allocator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pa, "supported_memory_backends", lambda: ["mimalloc", "system"])
    with keep_freed_memory():
        assert pa.default_memory_pool().backend_name == BEFORE
