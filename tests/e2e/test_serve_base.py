"""``tfkmeans serve BASE`` follows train, promote, canary and rollback as they are printed."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving import GrpcClient, ModelNotFound
from serving.cli import main
from tests.published_models import publish_unvalidated
from tests.serving.cli.serve_process import ServeProcess, serve_process

pytestmark = pytest.mark.slow

POINT = np.zeros((1, 2), np.float32)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Versions 1 to 3, of which 1 is stable, served elsewhere by another program."""
    publish_unvalidated(tmp_path, "people", ("height", "weight"), rows=90, versions=3)
    base = tmp_path / "models" / "people"
    config = base.parent / "models.config"
    config.write_text(config.read_text().replace(str(base), "/models/people"))
    return base


def versions_by_label(served: ServeProcess, *labels: str) -> list[int | None]:
    assert served.grpc_address is not None
    found: list[int | None] = []
    with GrpcClient(served.grpc_address, "people") as client:
        for label in labels:
            try:
                found.append(client.assign(POINT, label=label).version)
            except ModelNotFound:
                found.append(None)
        return [*found, client.assign(POINT).version]


def test_a_server_of_base_follows_each_move(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_process(base, "--port", "auto", "--json") as served:
        assert versions_by_label(served, "stable", "canary") == [1, None, 1]
        for command, expected in (
            (["promote", str(base), "2"], [2, None, 2]),
            (["canary", str(base), "3"], [2, 3, 3]),
            (["canary", str(base), "--off"], [2, None, 2]),
            (["rollback", str(base)], [1, None, 1]),
        ):
            asked = [*command, "--server", str(served.grpc_address)]
            assert main(asked) == 0, capsys.readouterr().err
            assert versions_by_label(served, "stable", "canary") == expected
        assert served.end() == 0
    assert not [line for line in served.lines if json.loads(line)["level"] == "error"]


def test_the_base_path_of_tensorflow_serving_keeps_its_meaning(base: Path) -> None:
    flags = ("--model-name", "people", "--model-base-path", base)
    with serve_process(*flags, "--port", "auto", "--json") as served:
        assert versions_by_label(served, "stable") == [None, 3]


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        ("nonsense", [], "--model-base-path {base} serves its highest version"),
        (None, ["--model-name", "x"], "is people; leave the name out"),
        ("twice", [], "choose one with --name"),
    ],
)
def test_a_config_that_does_not_tell_is_one_line(
    base: Path,
    capsys: pytest.CaptureFixture[str],
    config: str | None,
    arguments: list[str],
    said: str,
) -> None:
    path = base.parent / "models.config"
    if config == "twice":
        own = path.read_text().partition("model_config_list {")[2].strip().removesuffix("}")
        others = (own.replace('"people"', f'"{name}"') for name in ("clients", "staff"))
        text = " ".join(each.replace("/models/people", str(base)) for each in others)
        path.write_text(f"model_config_list {{ {text} }}")
    elif config is not None:
        path.write_text(config)
    assert main(["serve", str(base), "--port", "auto", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said.format(base=base) in line
