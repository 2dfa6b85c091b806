"""The public names that serving.batch had in the release before resolve, with a warning."""

import pytest

import serving.batch
from serving import tables
from serving.batch import OutputNotWritten, plan_job

MOVED = ["Table", "input_files", "open_table"]
MOVED += ["BadCell", "ColumnMismatch", "NoRows", "RepeatedInput", "UnreadableFile"]
RENAMED = {"BatchError": tables.TableError, "planned": plan_job}


@pytest.mark.parametrize(
    ("name", "now"),
    [*((name, getattr(tables, name)) for name in MOVED), *RENAMED.items()],
    ids=[*MOVED, *RENAMED],
)
def test_a_name_of_the_release_before_is_what_it_became(name: str, now: object) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^serving\.batch\.{name} is serving\.\S+ now"):
        assert getattr(serving.batch, name) is now


def test_who_caught_the_base_of_all_errors_of_a_job_still_catches_every_one() -> None:
    with pytest.warns(DeprecationWarning, match="TableError"):
        base = getattr(serving.batch, "BatchError")  # noqa: B009 - mypy knows the names of today
    for error in (tables.UnreadableFile, tables.NoRows, OutputNotWritten, serving.batch.NoAnswer):
        assert issubclass(error, base)
