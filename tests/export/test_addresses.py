"""What is an address and what is a path, and the name of a model by either."""

from pathlib import Path

import pytest

from export.addresses import is_address, model_name
from export.models_config import is_servable


@pytest.mark.parametrize(
    ("place", "address", "servable"),
    [
        ("gs://bucket/models/m", True, True),
        ("s3://bucket/m/", True, True),
        ("ram://m", True, True),
        ("file:///models/m", True, True),
        ("/models/m", False, True),
        ("models/m", False, False),
        ("./gs://m", False, False),
        ("gs:/m", False, False),
        ("", False, False),
    ],
)
def test_an_address_has_a_scheme_and_a_server_takes_no_other_relative_place(
    place: str, address: bool, servable: bool
) -> None:
    assert is_address(place) is address
    assert is_servable(place) is servable


def test_a_model_has_the_name_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("gs://bucket/models/m/", "s3://m", "models/m", Path("models/m"), "m/x/.."):
        assert model_name(place) == "m"
    assert model_name(".") == tmp_path.name
