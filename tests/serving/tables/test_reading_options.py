"""Options of reading that make no sense are refused by their flags."""

from typing import Any

import pytest

from serving.tables.errors import RefusedReadingOption
from serving.tables.reading_options import ReadingOptions


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delimiter": ""}, "--delimiter '': give one ASCII character"),
        ({"delimiter": "::"}, "--delimiter '::': give one ASCII character"),
        ({"delimiter": '"'}, "--delimiter '\"': give one ASCII character, not a quote"),
        ({"delimiter": "§"}, "--delimiter '§': give one ASCII character"),
        ({"decimal": "0"}, "--decimal 0: is part of a number"),
        ({"thousands": "."}, "--thousands .: is also the decimal mark"),
        ({"thousands": "e"}, "--thousands e: is part of a number"),
        ({"comment": "\n"}, "--comment '\\n': give one ASCII character"),
        ({"comment": ";", "delimiter": ";"}, "--comment ;: is also the delimiter"),
        ({"skip_rows": -1}, "--skip-rows -1: give 0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedReadingOption) as caught:
        ReadingOptions(**options)
    assert str(caught.value).startswith(words)


def test_only_what_is_given_is_a_flag() -> None:
    assert not any(ReadingOptions().flags().values())
    given = ReadingOptions(";", ",", "\u00a0", has_header=False, comment="#", skip_rows=2)
    assert given.flags() == {
        "--delimiter": ";",
        "--decimal": ",",
        "--thousands": "\u00a0",
        "--no-header": True,
        "--comment": "#",
        "--skip-rows": 2,
        "--na-values": None,
    }
