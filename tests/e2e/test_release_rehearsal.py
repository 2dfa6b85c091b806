"""``make release-rehearsal``: docs/release.md, every command of it, against the embedded server."""

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from export import publishing, validation
from scripts import release_rehearsal
from scripts.documented_commands import Command, Reader, parse_commands

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rehearsed() -> str:
    """What a rehearsal prints.

    Without the fresh processes that validate: the test of every documented command has them.
    """
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        for module in (publishing, validation):
            patch.setattr(module, "validate", lambda *_arguments, **_keywords: None)
        assert release_rehearsal.main() == 0
    return said.getvalue()


def test_every_command_of_the_page_ends_as_the_page_says(rehearsed: str) -> None:
    steps = list(parse_commands(release_rehearsal.PAGE))
    assert len(steps) > 15
    assert [line[2:] for line in rehearsed.splitlines() if line.startswith("$ ")] == [
        step.text for step in steps
    ]
    assert rehearsed.splitlines()[-1].startswith(f"{len(steps)} of {len(steps)} commands")


def test_each_step_shows_its_evidence(rehearsed: str) -> None:
    sections = re.split(r"\n== (\d)\. .*\n", rehearsed)
    said = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert "version 3: ok" in said["1"]
    assert "the canary" in said["2"]
    assert said["3"].count("ok   ") == 16
    assert "10,320 recent rows" in said["3"]
    answer = json.loads("".join(re.findall(r"^    (.*)$", said["4"].partition("\n$ ")[0], re.M)))
    assert "is not compatible with expected shape [?,4]" in answer["error"]
    assert 'status="INVALID_ARGUMENT"} 1\n' in said["4"]
    assert said["5"].count("no drift") == 2
    assert "stable: version 1 -> version 3" in said["6"]
    assert "stable: version 3 -> version 1" in said["7"]
    assert "exit code 3" in said["7"]
    assert "stable: version 1 -> version 3" in said["8"]


def test_a_step_that_ends_otherwise_stops_the_rehearsal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        Command("1. One", 7, None, "true", 0),
        Command("1. One", 8, None, "exit 4", 0),
        Command("1. One", 9, None, "echo never", 0),
    ]
    with Reader(tmp_path) as reader:
        assert release_rehearsal.rehearse(steps, reader) == 3
    said, complaint = capsys.readouterr()
    assert "never" not in said
    assert complaint == (
        "error: release.md:8: exit code 4 where the page says 0; "
        "1 of 3 commands ended as expected\n"
    )


def test_the_commands_of_a_page_are_those_of_its_blocks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n```sh\nfirst  # exit code 3\n# a comment\nsecond \\\n  goes on   # for people\n```\n"
        "```\nno command\n```\n## B\n```sh kubectl\n# Kubernetes\nthird\n```\n"
        "```python\nno()\n```\n"
    )
    assert list(parse_commands(page)) == [
        Command("A", 3, None, "first", 3),
        Command("A", 6, None, "second goes on", 0),
        Command("B", 14, "kubectl", "third", 0),
    ]
