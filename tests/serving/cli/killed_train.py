"""``tfkmeans train`` that dies in the middle.

    python -m tests.serving.cli.killed_train FOLDER DIES_AT ARGUMENT...

runs the command with these arguments, and dies as of kill -9 at the DIES_AT-th thing that it does
to the file system below the folder; 0 is never. It prints how many things those were.
"""

import os
import signal
import sys

from serving.cli import main
from tests.kmeans_module.stopped_fits import Points

if __name__ == "__main__":
    folder, dies_at, *arguments = sys.argv[1:]
    points = Points()
    with points.dying(folder, int(dies_at), lambda: os.kill(os.getpid(), signal.SIGKILL)):
        code = main(arguments)
    sys.stdout.write(f"\npassed {points.passed}\n")
    sys.exit(code)
