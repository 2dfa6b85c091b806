"""Take a screenshot of the report of the demo as docs/penguins-report.png, for README.md.

Needs Debian's chromium and chromium-driver, which scripts/ci_packages.sh installs.
"""

import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "penguins-report.png"
WIDTH, HEIGHT = 1180, 1390


def main() -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, "examples/demo.py", folder]
        subprocess.run(demo, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            browser.get((Path(folder) / "penguins.html").as_uri())
            taken = Image.open(BytesIO(browser.get_screenshot_as_png()))
    # A palette suffices for a page, with a third of the bytes.
    taken.convert("RGB").quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
