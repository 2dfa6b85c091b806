"""A move edits the entry of the folder, under whatever name that is served."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export import label_moves, publish, publishing, versions
from export.errors import InvalidModelsConfig
from export.label_moves import carry_out
from export.repository import config_entry


@pytest.fixture
def base(
    tmp_path: Path, make_stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Versions 1 and 2, of which 1 is stable, served as ``clients``."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    base = tmp_path / "models" / "customers"
    publish(make_stand_in("first"), base)
    config = base.parent / "models.config"
    config.write_text(config.read_text().replace('name: "customers"', 'name: "clients"'))
    publish(make_stand_in("second"), base)
    return base


def promote(base: Path, version: int, name: str | None = None) -> None:
    decide = partial(label_moves.promote, base, version=version)
    carry_out(base, decide, name=name, poll_interval=0)


def stable_versions(base: Path) -> dict[str, int]:
    text = (base.parent / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return {each.name: each.version_labels["stable"] for each in config.model_config_list.config}


def add_entry(base: Path, name: str, base_path: str) -> None:
    config = base.parent / "models.config"
    entry = (
        f'config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" '
        "model_version_policy { specific { versions: 1 } } "
        'version_labels { key: "stable" value: 1 } }'
    )
    config.write_text(config.read_text().rstrip().removesuffix("}") + entry + "\n}\n")


def test_the_entry_of_the_folder_is_moved_and_none_is_added(base: Path) -> None:
    assert stable_versions(base) == {"clients": 1}  # the second version did not add one either
    promote(base, 2)
    assert stable_versions(base) == {"clients": 2}


def test_two_entries_of_the_folder_ask_for_a_name(base: Path) -> None:
    add_entry(base, "customers", "/models/customers")  # as a container has it
    with pytest.raises(InvalidModelsConfig, match="entries clients and customers are all of"):
        promote(base, 2)
    promote(base, 2, "customers")
    assert stable_versions(base) == {"clients": 1, "customers": 2}
    promote(base, 2, "clients")
    assert stable_versions(base) == {"clients": 2, "customers": 2}


def test_another_name_than_that_of_the_entry_is_refused(base: Path) -> None:
    with pytest.raises(InvalidModelsConfig, match="served as clients, not as people"):
        promote(base, 2, "people")
    assert stable_versions(base) == {"clients": 1}


def test_the_entry_of_another_folder_is_not_moved(base: Path, tmp_path: Path) -> None:
    (base.parent / "models.config").unlink()
    other = tmp_path / "models" / "others"
    other.mkdir()
    add_entry_to_none = "model_config_list {\n}\n"
    (base.parent / "models.config").write_text(add_entry_to_none)
    add_entry(base, "others", str(other))
    with pytest.raises(InvalidModelsConfig, match=f"others is the model in {other}; give another"):
        promote(base, 2, "others")
    assert stable_versions(base) == {"others": 1}


def test_the_first_entry_of_a_model_takes_the_name(base: Path) -> None:
    (base.parent / "models.config").unlink()
    promote(base, 2, "people")
    assert stable_versions(base) == {"people": 2}
    assert (entry := config_entry(base)) is not None
    assert entry.base_path == str(base)


def test_the_first_version_is_entered_under_the_name_that_it_is_served_as(
    base: Path, tmp_path: Path, make_stand_in: Callable[[str], Path]
) -> None:
    other = tmp_path / "models" / "visitors"
    publish(make_stand_in("third"), other, served_as="guests", served_at="/models/visitors")
    assert stable_versions(base) == {"clients": 1, "guests": 1}
    publish(make_stand_in("fourth"), other, served_as="guests")
    assert stable_versions(base) == {"clients": 1, "guests": 1}
    with pytest.raises(InvalidModelsConfig, match="served as clients, not as guests"):
        publish(make_stand_in("fifth"), base, served_as="guests")


def test_prune_keeps_what_any_entry_of_the_folder_needs(
    base: Path, make_stand_in: Callable[[str], Path]
) -> None:
    add_entry(base, "customers", str(base))
    promote(base, 2, "customers")  # clients stays on 1
    for number in (3, 4):
        publish(make_stand_in(f"later{number}"), base)
    assert label_moves.prune(base, 1, dry_run=True) == (3,)
    assert label_moves.prune(base, 1) == (3,)
    assert versions(base) == (1, 2, 4)
