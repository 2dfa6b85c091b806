"""The depth of a JSON text is seen without reading it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded.json_nesting import is_nested_deeper


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b"[]", 1),
        (b'[{"a": [1]}, [[2]]]', 3),
        (b'["[[[[", "]]]]", {"{{{": "}"}]', 2),
        (rb'["\"[[[", "\\", [1]]', 2),
        (rb'["\\\"[[[", "\\\\", [1]]', 2),
        (b"[1]]]][[[[[[", 3),
        (b"[" * 3_000_000 + b"]" * 3_000_000, 3_000_000),
        (b"[" + b"[]," * 2_000_000, 2),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_brackets_are_counted_outside_of_strings(text: bytes, depth: int) -> None:
    assert not is_nested_deeper(text, depth)
    assert depth == 0 or is_nested_deeper(text, depth - 1)


def _depth(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
    return 0


_texts = st.text(st.sampled_from('[]{}"\\a,:'))


@given(
    value=st.recursive(
        _texts | st.integers(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
        max_leaves=20,
    )
)
def test_the_depth_is_that_of_the_value(value: Any) -> None:
    text, depth = json.dumps(value).encode(), _depth(value)
    assert not is_nested_deeper(text, depth)
    assert depth == 0 or is_nested_deeper(text, depth - 1)
