"""docs/runbook.md: its commands work, and it has a word on every alert and every error."""

import inspect
import re
from types import ModuleType

import pytest
import yaml

import export.errors
import serving.embedded.errors
import serving.errors
from scripts.documented_commands import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "runbook.md"


def test_every_command_that_is_not_run_is_marked_so() -> None:
    text = PAGE.read_text()
    for needs, mark in (("docker", "# Docker"), ("kubectl", "# Kubernetes")):
        assert text.count(f"```sh {needs}\n") == text.count(f"```sh {needs}\n{mark}\n") > 0


def alerts() -> dict[str, dict[str, str]]:
    rules = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules.yaml").read_text())
    return {rule["alert"]: rule["annotations"] for rule in rules["groups"][0]["rules"]}


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_what_it_means_what_to_do_and_who_decides(alert: str) -> None:
    heading = f"\n### {alert}\n"
    _, found, rest = PAGE.read_text().partition(heading)
    assert found
    section = re.split(r"\n##+ ", rest)[0]
    for part in ("**Means**", "**First**", "**Rollback**", "**Who decides**"):
        assert part in section
    assert alerts()[alert]["runbook"] == f"docs/runbook.md#{alert.lower()}"


@pytest.mark.parametrize(
    "module", [serving.errors, export.errors, serving.embedded.errors], ids=lambda m: m.__name__
)
def test_every_error_is_in_a_table(module: ModuleType) -> None:
    text = PAGE.read_text()
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    leaves = [each for each in classes if Exception in each.__mro__[2:]]
    assert len(leaves) > 5
    for each in leaves:
        assert f"`{each.__name__}`" in text
