"""Run the demo and draw its output as docs/demo.svg, a picture of README.md."""

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "demo.svg"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "examples/demo.py", folder],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    console = Console(record=True, width=100, file=io.StringIO(), highlight=False)
    console.print(Text("$ make demo", style="bold"))
    console.print(Text(run.stdout.replace(folder, "models").rstrip()))
    svg = console.export_svg(title="the main job, end to end", unique_id="demo")
    # The picture uses the fonts of its reader; it loads none.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
