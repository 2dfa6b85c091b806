"""What is shown on a terminal, and what is not shown elsewhere."""

import json
import os
import select
import sys
import time

import pytest

from serving.cli import terminal
from serving.cli.terminal import print_json, progress


def test_progress_shows_on_a_terminal_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    seen = b""
    with os.fdopen(theirs, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress("scoring") as tell:
            tell("12 rows")
            end = time.monotonic() + 20
            while b"12 rows" not in seen and time.monotonic() < end:
                if select.select([ours], [], [], 1)[0]:
                    seen += os.read(ours, 4096)
    os.close(ours)
    assert b"scoring" in seen
    assert b"12 rows" in seen


def test_progress_shows_nothing_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    with progress("scoring") as tell:
        tell("12 rows", 0.5)
    assert capfd.readouterr() == ("", "")


def test_json_for_machines_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "two\nlines", "numbers": [1, 0.5]}
    print_json(value)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == value
