"""Check a model from fit to answers, or a running server against a published model.

::

    python -m serving.smoke_check
        fit a small model, publish it, start the embedded server and check it; reproducible
    python -m serving.smoke_check HOST GRPC_PORT REST_PORT BASE
        check the server at HOST against the model folder BASE; the model's name is that of its
        entry in models.config, or else of the folder

Each check prints one line, ``ok`` or ``FAIL`` with the expected and the observed value. Exit code
0: all passed; 3: a check failed; 2: usage error or server unreachable.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import typer

from export.errors import ExportError
from export.models_config import ModelsConfig
from kmeans_module.quiet_import import LOG_LEVEL

from .cli.errors import UserMistake
from .cli.exit_codes import DONE, INTERRUPTED, MISTAKE, REFUSED, exit_code
from .cli.tensorflow_import import load_tensorflow
from .cli.terminal import note
from .embedded.errors import ServerStartError
from .embedded.sockets import address_of
from .errors import ServingError
from .golden_check import Check, check_server

USAGE: Final = "usage: scripts/smoke_check.sh [HOST GRPC_PORT REST_PORT BASE]"


def main(arguments: Sequence[str]) -> int:
    """Run the checks of the arguments; return the exit code."""
    if arguments in (["-h"], ["--help"]):
        typer.echo(f"{USAGE}\n\n{__doc__}")
        return DONE
    try:
        if not arguments:
            return _check_pipeline()
        return _check_running_server(arguments)
    except KeyboardInterrupt:
        note("interrupted")
        return INTERRUPTED
    except (UserMistake, ExportError, ServerStartError, ServingError, OSError) as error:
        note(f"error: {error}")
        return exit_code(error) or MISTAKE


def _check_running_server(arguments: Sequence[str]) -> int:
    if len(arguments) != 4:
        raise UserMistake(f"{len(arguments)} arguments where there are none or four; {USAGE}")
    host, grpc_port, rest_port, folder = arguments
    base = Path(folder)
    return _print_checks(
        check_server(
            address_of(host, _port("GRPC_PORT", grpc_port)),
            address_of(host, _port("REST_PORT", rest_port)),
            base,
            ModelsConfig.read(base).model,
        )
    )


def _port(name: str, text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise UserMistake(f"{name} {text!r} is not a port; give 1 to 65535; {USAGE}")


def _print_checks(checks: Iterable[Check]) -> int:
    passed = True
    for check in checks:
        typer.echo(str(check))
        passed &= check.passed
    return DONE if passed else REFUSED


def _check_pipeline() -> int:
    os.environ.setdefault(LOG_LEVEL, "2")
    load_tensorflow("serve")
    from .embedded import EmbeddedServer

    with tempfile.TemporaryDirectory(prefix="smoke-check-") as folder:
        base = Path(folder) / "smoke"
        _print_checks([_publish_small_model(base)])
        with EmbeddedServer(model_name=base.name, model_base_path=base) as server:
            assert server.grpc_address is not None
            assert server.rest_address is not None
            return _print_checks(
                check_server(server.grpc_address, server.rest_address, base, base.name)
            )


def _publish_small_model(base: Path) -> Check:
    """Fit three clusters in columns of very different units, and publish them as version 1."""
    import numpy as np

    from export import publish_fit
    from kmeans_module import fit

    random = np.random.default_rng(0)
    centers = np.repeat([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], 100, axis=0)
    points = ((centers + random.normal(size=centers.shape)) * [1, 500] + [20, 4000]).astype(
        np.float32
    )
    result = fit(points, 3, standardize=True)
    version = publish_fit(result, points, base, feature_names=["a", "b"]).version
    return Check(True, "publish", f"{len(points)} rows, 3 clusters, as version {version}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
