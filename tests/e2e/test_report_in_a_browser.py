"""The pages of reports, and a comparison, as a browser shows them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from export import make_card, write_candidate
from kmeans_module import fit
from serving.report.numbers import format_number, format_share
from serving.report.pages import render_version
from serving.report.version_profile import VersionProfile
from tests.debian_programs import require_program

from .conftest import ROOT

pytestmark = pytest.mark.slow

#: Without these, headless Chromium looks for updates by itself.
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-quic"),
)

#: For each text of each picture, how many pixels high its letters are on the screen.
TEXT_PIXELS = """
return [...document.querySelectorAll("figure svg text")].map(
  text => { const { a, b } = text.getScreenCTM();
            return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b); })
"""

#: The contrast (WCAG 2) of what is written on what it is written on.
CONTRASTS = """
const light = color => {
  const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map(
    part => part / 255).map(
    part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b };
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05) };
const under = element => {
  const color = getComputedStyle(element).backgroundColor;
  return color === "rgba(0, 0, 0, 0)" ? under(element.parentElement) : color };
const written = [...document.querySelectorAll("h1, h2, h3, p, dt, dd, li, td, th, figcaption")];
const drawn = [...document.querySelectorAll("figure svg g[id*=axis] text")];
return [...written.map(each => contrast(getComputedStyle(each).color, under(each))),
        ...drawn.map(each => contrast(getComputedStyle(each).fill, under(each.closest("figure"))))]
"""


#: Texts of a drawing that lie over each other.
COLLISIONS = """
return [...document.querySelectorAll("figure svg")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text")].map(
    text => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([one, a], place) => boxes.slice(place + 1).filter(
    ([_, b]) => a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 4 && b.top < a.bottom - 4).map(([other]) => [one, other])) })
"""

#: What is wider than the cell, the card or the line that it stands in.
OVERFLOWS = """
return [...document.querySelectorAll("td, th, li, dd, p, h3, .bar > *, figcaption")].filter(
  each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== "inline"
).map(each => each.outerHTML.slice(0, 200))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = require_program("chromium")
    for flag in QUIET:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(require_program("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(told: tuple[Path, str]) -> dict[str, Path]:
    folder, _ = told
    version = folder / "penguins" / "1"
    compared = subprocess.run(
        [sys.executable, "-m", "serving", "compare", version, version, "--report", "same.html"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert compared.returncode == 0, compared.stderr
    return {"report": folder / "penguins.html", "comparison": folder / "same.html"}


@pytest.fixture(scope="module")
def wide_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 20 clusters of 200 features with long names and large and small numbers."""
    folder = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    rows = 3 * rng.normal(size=(20, 200))[rng.integers(20, size=2000)]
    rows = ((rows + rng.normal(size=rows.shape)) * 10.0 ** rng.integers(-3, 8, 200)).astype("f4")
    names = [f"average_monthly_spend_per_household_on_{number}_groceries" for number in range(200)]
    result = fit(rows, 20, standardize=True, max_iter=5, n_init=1)
    write_candidate(folder / "1", result, make_card(result, rows, feature_names=names), rows)
    profile = VersionProfile.measure(folder / "1", "wide, version 1")
    page = folder / "wide.html"
    page.write_text(render_version(profile, example_rows=True), encoding="utf-8")
    return page


def show(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_is_whole_in_itself(
    browser: webdriver.Chrome, pages: dict[str, Path], name: str
) -> None:
    page = pages[name]
    assert page.stat().st_size < 2_000_000
    browser.get_log("performance")
    browser.get_log("browser")
    show(browser, page, 1400, "light")
    told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        each["params"]["request"]["url"]
        for each in told
        if each["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_can_be_read_on_a_narrow_and_a_wide_screen_in_light_and_dark(
    browser: webdriver.Chrome, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    show(browser, pages[name], width, scheme)
    assert run(browser, "return document.documentElement.scrollWidth") <= width
    pixels = run(browser, TEXT_PIXELS)
    assert len(pixels) > 20
    assert min(pixels) >= 9
    contrasts = run(browser, CONTRASTS)
    assert len(contrasts) > 50
    assert min(contrasts) >= 4.5
    background = run(browser, "return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_every_picture_has_a_text_that_stands_for_it(
    browser: webdriver.Chrome, pages: dict[str, Path]
) -> None:
    show(browser, pages["report"], 1400, "light")
    pictures = browser.find_elements("css selector", "figure svg")
    said = [picture.get_attribute("aria-label") or "" for picture in pictures]
    # Five charts, and the distributions of four features.
    assert len(said) == 9
    assert all(picture.get_attribute("role") == "img" for picture in pictures)
    assert all(len(text) > 40 for text in said)
    assert any("342 rows on the plane" in text for text in said)
    ids = run(browser, "return [...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_twenty_clusters_of_200_features_can_be_read(
    browser: webdriver.Chrome, wide_page: Path, width: int, scheme: str
) -> None:
    show(browser, wide_page, width, scheme)
    run(browser, "document.querySelector('details').open = true")
    assert run(browser, "return document.documentElement.scrollWidth") <= width
    assert run(browser, OVERFLOWS) == []
    assert run(browser, COLLISIONS) == []
    assert min(run(browser, TEXT_PIXELS)) >= 9
    assert min(run(browser, CONTRASTS)) >= 4.5
    # The table of 200 lines scrolls in itself, and keeps its names in sight.
    table = "const [table] = document.querySelectorAll('.wide');"
    assert run(browser, f"{table} return table.scrollWidth > table.clientWidth")
    moved = f"{table} table.scrollTo(500, 500); const place = table.getBoundingClientRect();"
    name = "table.querySelector('tbody th').getBoundingClientRect().left - place.left"
    head = "table.querySelector('thead th').getBoundingClientRect().top - place.top"
    assert run(browser, f"{moved} return [{name}, {head}].map(Math.round)") == [0, 0]


def test_shares_and_powers_of_ten_are_sorted_by_their_values(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    shares = [1.0, 0.9996, 0.5, 0.001, 0.0001, 0.0]
    numbers = [2.5e12, 1234.0, 0.01, 1.87e-5, -2e-5, -3.0]
    expected = [[format_share(each) for each in shares], [format_number(each) for each in numbers]]
    mixed = zip(*(cells[::2] + cells[1::2] for cells in expected), strict=True)
    rows = "".join(f"<tr><td>{escape(one)}</td><td>{other}</td></tr>" for one, other in mixed)
    script = (ROOT / "serving" / "report" / "templates" / "tables.js").read_text("utf-8")
    page = tmp_path / "table.html"
    page.write_text(
        '<meta charset="utf-8"><table class="sortable"><thead><tr><th>a</th><th>b</th></tr></thead>'
        f"<tbody>{rows}</tbody></table><script>{script}</script>",
        encoding="utf-8",
    )
    browser.get(page.as_uri())
    for column, cells in enumerate(expected):
        browser.find_elements("css selector", "th button")[column].click()
        found = browser.find_elements("css selector", f"tbody td:nth-child({column + 1})")
        assert [each.text for each in found] == cells


def test_a_click_on_a_heading_sorts_the_table_and_another_turns_it_round(
    browser: webdriver.Chrome, pages: dict[str, Path]
) -> None:
    show(browser, pages["report"], 1400, "light")
    table = browser.find_element("css selector", "table.sortable")

    def click_and_read(column: int) -> list[str]:
        table.find_elements("css selector", "thead button")[column].click()
        lines = table.find_elements("css selector", "tbody tr")
        return [line.find_elements("css selector", "th, td")[column].text for line in lines]

    names = click_and_read(0)
    assert names == sorted(names)
    assert len(names) == 4
    assert click_and_read(0) == names[::-1]
    values = [float(value.replace(",", "")) for value in click_and_read(4)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1_000
    sorted_by = table.find_elements("css selector", "[aria-sort]")
    assert [each.get_attribute("aria-sort") for each in sorted_by] == ["descending"]


def run(browser: webdriver.Chrome, script: str) -> Any:
    return browser.execute_script(script)
