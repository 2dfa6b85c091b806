"""What tests do without a program of Debian, and what its shellcheck says of our scripts."""

import subprocess
from pathlib import Path

import pytest

from .debian_programs import require_program

ROOT = Path(__file__).resolve().parents[1]
MISSING = "no-such-program"


def test_a_test_without_its_program_skips_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        require_program(MISSING)


def test_in_ci_a_test_without_its_program_fails_and_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        require_program(MISSING)


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    scripts = [ROOT / ".ci" / "run", *sorted(ROOT.glob("scripts/*.sh"))]
    run = subprocess.run(
        [require_program("shellcheck"), *scripts], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
