"""``python -m serving`` is the command ``tfkmeans``."""

import sys

from serving.cli import main

sys.exit(main())
