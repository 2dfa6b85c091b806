"""Names of features: vectors by their column and width, and lists that are short."""

import pytest

from export.feature_names import group_vectors, shorten_names, show_name, vector_features


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["a", "e[0]", "e[1]", "e[2]", "b"], (("a", 1), ("e", 3), ("b", 1))),
        (["e[0]", "e[1]", "f[0]", "f[1]"], (("e", 2), ("f", 2))),
        (["e[0]", "e[2]", "e[1]"], (("e[0]", 1), ("e[2]", 1), ("e[1]", 1))),
        (["e[0]", "x", "e[1]"], (("e[0]", 1), ("x", 1), ("e[1]", 1))),
        (
            ["e[0][0]", "e[0][1]", "two\nlines[0]", "two\nlines[1]"],
            (("e[0]", 2), ("two\nlines", 2)),
        ),
        (["e[0]", "e[1]", "e"], (("e[0]", 1), ("e[1]", 1), ("e", 1))),
        ([], ()),
    ],
)
def test_names_are_grouped_into_the_columns_that_give_them_in_this_order(
    names: list[str], groups: tuple[tuple[str, int], ...]
) -> None:
    assert group_vectors(names) == groups
    assert [name for group in groups for name in vector_features(*group)] == names


def test_a_name_is_shown_without_what_a_terminal_obeys_and_not_longer_than_a_line() -> None:
    assert show_name("größe (cm)") == "größe (cm)"
    assert show_name("two\nlines") == r"'two\nlines'"
    assert show_name("\x1b[31mred") == r"'\x1b[31mred'"
    long = show_name("plan=" + "v" * 3_000 + "end")
    assert len(long) == 300
    assert long.startswith("plan=vvv")
    assert long.endswith("vvvend")
    assert "..." in long
    assert shorten_names(["a\x1b", "b"]) == r"'a\x1b', b"
    assert shorten_names(["two\nlines[0]", "two\nlines[1]"]) == r"'two\nlines[2]'"


def test_a_line_has_vectors_by_their_width_and_the_first_of_many_names() -> None:
    embedding = vector_features("embedding", 768)
    assert shorten_names([*embedding, "age"]) == "embedding[768], age"
    assert shorten_names([f"f{index}" for index in range(20)]).endswith("f18, f19")
    many = shorten_names([f"f{index}" for index in range(1_500)])
    assert many.startswith("f0, f1, ")
    assert many.endswith("f11 and 1,488 more")
