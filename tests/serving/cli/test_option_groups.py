"""Options that go together reach a command as one dataclass."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from serving.cli.option_groups import flat_options


@dataclass(frozen=True)
class Sizes:
    width: Annotated[int, typer.Option("--wide", help="How wide.")] = 1
    height: int = 2


#: As ruff asks: no call in a default.
TALL = Sizes(height=9)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @flat_options
    def draw(name: str, sizes: Sizes = TALL, bold: bool = False) -> None:
        """Draw it."""
        typer.echo(f"{name} {sizes.width} {sizes.height} {bold}")

    return app


def test_each_field_is_an_option_in_its_place_with_the_default_of_the_instance(
    app: typer.Typer,
) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["box"]).stdout == "box 1 9 False\n"
    assert runner.invoke(app, ["box", "--wide", "4", "--height", "5", "--bold"]).stdout == (
        "box 4 5 True\n"
    )


def test_the_help_lists_the_options_and_the_command_keeps_its_text(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout
    assert "Draw it." in shown
    assert shown.index("--wide") < shown.index("--height") < shown.index("--bold")
    assert "--sizes" not in shown


def test_a_value_of_the_wrong_type_is_refused_by_the_options_name(app: typer.Typer) -> None:
    refused = CliRunner().invoke(app, ["box", "--wide", "broad"])
    assert refused.exit_code == 2
    assert "--wide" in refused.output
