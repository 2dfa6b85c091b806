"""What clients and commands need of this package imports without TensorFlow."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "import export",
        "import export.repository, export.model_card, export.golden_requests, export.errors",
        "from export import ModelCard, GoldenRequest, publish, versions, version_directory",
        "from export import validate, ExportError, PublishRefused",
        "from export.wire import serving_pb2, tensor_pb2",
    ],
)
def test_no_tensorflow_is_imported(statement: str) -> None:
    check = "import sys; print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", f"{statement}; {check}"], capture_output=True, text=True, check=True
    )
    assert process.stdout == "[]\n"


def test_every_public_name_can_be_had() -> None:
    import export

    for name in dir(export):
        assert getattr(export, name).__module__.startswith("export.")
