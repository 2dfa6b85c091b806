"""The batching parameters of a version."""

from pathlib import Path
from typing import Final

#: Read by TensorFlow Serving as ``<version>/batching_params.pbtxt``, and only when it is started
#: with ``--enable_per_model_batching_parameters``.
BATCHING_FILE: Final = Path("batching_params.pbtxt")

# Sizes are in rows, or for fit_step in problems.
#
# - A request above max_batch_size is an error, so it is far above what a client sends at once; an
#   execution above 1024 rows gains nothing, so larger requests are split. It must not be below the
#   largest warm-up record, or the version does not load.
# - No timeout: a request that finds a thread free does not wait for others. Under load the
#   requests that wait are merged all the same.
# - A queue of 256 executions holds four of the largest requests; one that does not fit is answered
#   UNAVAILABLE, which clients retry.
# - No allowed_batch_sizes: the graph takes any number of rows, and padding would only be work.
#   No pad_variable_length_inputs: it would invent features.
# - The thread pool is the server's, and is not read from this file.
_PARAMETERS: Final = """\
max_batch_size { value: 65536 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 1024 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 256 }
"""


def write(version_directory: Path) -> None:
    """Write the parameters into a version directory. Raises OSError."""
    (version_directory / BATCHING_FILE).write_text(_PARAMETERS, encoding="utf-8")
