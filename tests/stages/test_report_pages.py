"""The pages of the report in a real browser: they ask for nothing, are readable in both themes, on a phone and by keyboard.

Pages of made-up outputs, and those of a small run where `PEOPLE_SMALL_RUN` names one.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
import report_workspace
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from stages.reporting import front_page, system_page
from stages.shared.project import params

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

PHONE, DESKTOP = 390, 1280
LEAST_CONTRAST, LARGE_CONTRAST = 4.5, 3.0

# Of each text that is shown: its colour, that of the ground behind it, its size in px and its weight.
TEXTS = """
document.querySelectorAll("details").forEach(each => each.open = true);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Map();
const parsed = colour => colour.match(/[0-9.]+/g).map(Number);
while (walker.nextNode()) {
  const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
  if (!text || ["SCRIPT", "STYLE"].includes(element.tagName) || !element.getClientRects().length) continue;
  const style = getComputedStyle(element), colour = element.closest("svg") ? style.fill : style.color;
  let ground = element;
  while (ground && (parsed(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
  const behind = ground ? getComputedStyle(ground).backgroundColor : "rgb(255, 255, 255)";
  const size = parseFloat(style.fontSize), key = [colour, behind, size, style.fontWeight].join("|");
  const weight = Number(style.fontWeight);
  if (!found.has(key)) found.set(key, {text, colour: parsed(colour), behind: parsed(behind), size, weight});
}
return [...found.values()];
"""
# Elements wider than the screen that do not scroll in a region of their own.
WIDE = """
document.querySelectorAll("details").forEach(each => each.open = true);
return [document.documentElement.scrollWidth, innerWidth];
"""
UNNAMED = """
const images = [...document.images].filter(each => !each.alt.trim() || !each.naturalWidth);
const drawings = [...document.querySelectorAll("svg")].filter(
  each => each.getAttribute("aria-hidden") !== "true" && !(each.getAttribute("aria-label") || "").trim());
const regions = [...document.querySelectorAll(".region, pre")].filter(
  each => each.tabIndex !== 0 || each.getAttribute("role") !== "region" || !each.getAttribute("aria-label"));
const heads = [...document.querySelectorAll("th")].filter(each => !["row", "col"].includes(each.scope));
return [...images, ...drawings, ...regions, ...heads].map(each => each.outerHTML.slice(0, 200));
"""
COLUMN = "return [...arguments[0].tBodies[0].rows].map(row => row.cells[arguments[1]].textContent)"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name the pages of a workspace with one report, and of a small run that is there."""
    workspace = report_workspace.write(tmp_path_factory.mktemp("report"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        folder = Path("data/report", report_workspace.SYSTEM)
        folder.mkdir(parents=True)
        system_page.write(system_page.build(report_workspace.SYSTEM, params()), folder)
        front = workspace / front_page.write(params("systems"))
    found = {"front": front, "system": front.parent / report_workspace.SYSTEM / "index.html"}
    if run := os.environ.get("PEOPLE_SMALL_RUN"):
        found |= {f"small run {path.parent.name}": path for path in sorted(Path(run, "data/report").rglob("index.html"))}
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    with browser.chromium() as driver:
        yield driver


def show(
    driver: webdriver.Chrome, page: Path, width: int = DESKTOP, theme: str = "light", motion: str = "no-preference"
) -> None:
    """Open a page on a screen of this width, with these wishes of the reader."""
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wishes = [{"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": motion}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})
    driver.get(page.as_uri())


def contrast(first: list[float], second: list[float]) -> float:
    """The ratio of WCAG 2.2 between two colours of three levels up to 255."""

    def luminance(levels: list[float]) -> float:
        shares = [level / 255 for level in levels[:3]]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def least_contrast(text: dict[str, Any]) -> float:
    """What WCAG AA asks of this text: large is 24 px, or 18.66 px and bold."""
    is_large = text["size"] >= 24 or (text["size"] >= 18.66 and text["weight"] >= 700)
    return LARGE_CONTRAST if is_large else LEAST_CONTRAST


def test_a_page_asks_for_nothing_and_its_console_is_silent(chromium: webdriver.Chrome, pages: dict[str, Path]):
    for name, page in pages.items():
        browser.requested(chromium)
        browser.complaints(chromium)
        show(chromium, page)
        asked = [address for address in browser.requested(chromium) if not address.startswith(("data:", "blob:"))]
        assert asked == [page.as_uri()], name
        assert browser.complaints(chromium) == [], name
        assert page.stat().st_size < 4_000_000, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(chromium: webdriver.Chrome, pages: dict[str, Path], theme: str):
    for name, page in pages.items():
        show(chromium, page, theme=theme)
        texts = chromium.execute_script(TEXTS)
        assert len(texts) > 5, name
        faint = [text for text in texts if contrast(text["colour"], text["behind"]) < least_contrast(text)]
        assert not faint, (name, faint)
        is_dark = sum(texts[0]["behind"][:3]) < 200
        assert is_dark == (theme == "dark"), name


@pytest.mark.parametrize("width", [PHONE, 320, DESKTOP])
def test_no_page_scrolls_sideways(chromium: webdriver.Chrome, pages: dict[str, Path], width: int):
    for name, page in pages.items():
        show(chromium, page, width)
        whole, shown = chromium.execute_script(WIDE)
        assert whole <= shown, name


def test_everything_has_a_name_for_who_cannot_see_it(chromium: webdriver.Chrome, pages: dict[str, Path]):
    for name, page in pages.items():
        show(chromium, page)
        assert chromium.execute_script(UNNAMED) == [], name
        assert chromium.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"
        assert len(chromium.find_elements(By.TAG_NAME, "h1")) == 1
        targets = [link.get_attribute("href") or "" for link in chromium.find_elements(By.CSS_SELECTOR, "nav a, .links a")]
        for target in targets:
            file, _, anchor = target.removeprefix("file://").partition("#")
            assert Path(file).is_file(), target
            assert not anchor or f'id="{anchor}"' in Path(file).read_text(), target


def test_tables_sort_by_keyboard_and_by_click(chromium: webdriver.Chrome, pages: dict[str, Path]):
    show(chromium, pages["system"])
    table = next(each for each in chromium.find_elements(By.CSS_SELECTOR, "table.sortable") if "paper's" in each.text)
    head = table.find_elements(By.CSS_SELECTOR, "th[scope=col]")[3]
    assert head.text.startswith("Rank-1")
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert chromium.execute_script(COLUMN, table, 3) == ["9.5", "100.0", ""]  # by number, what is not known last
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert chromium.execute_script(COLUMN, table, 3) == ["100.0", "9.5", ""]
    assert head.get_attribute("aria-sort") == "descending"
    first = table.find_elements(By.CSS_SELECTOR, "th[scope=col]")[0]
    first.find_element(By.TAG_NAME, "button").click()
    assert chromium.execute_script(COLUMN, table, 0) == ["colours", "paper's", "reid"]
    assert head.get_attribute("aria-sort") is None


def test_an_animation_stops_at_once_and_for_those_who_want_no_motion(chromium: webdriver.Chrome, pages: dict[str, Path]):
    show(chromium, pages["system"])
    button = chromium.find_element(By.CSS_SELECTOR, "button.motion")
    image = chromium.find_element(By.CSS_SELECTOR, "picture img")
    moving = image.get_attribute("src")
    button.send_keys(Keys.ENTER)
    assert (button.text, image.get_attribute("src") == moving) == ("Play", False)
    button.send_keys(Keys.ENTER)
    assert (button.text, image.get_attribute("src") == moving) == ("Pause", True)
    show(chromium, pages["system"], motion="reduce")
    assert not chromium.find_elements(By.CSS_SELECTOR, "button.motion")
    shown = chromium.execute_script("return document.querySelector('picture img').currentSrc")
    assert shown == chromium.find_element(By.CSS_SELECTOR, "picture source").get_attribute("srcset") != moving


def test_what_a_reader_could_not_use_would_be_found(chromium: webdriver.Chrome, tmp_path: Path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><body style='background:#fff'>"
        "<p style='color:#999;width:900px'>faint and wide</p><img alt='' src='data:,'><svg></svg><th>"
        "<table><tr><th>head</table><div class=region></div>"
    )
    show(chromium, bad, PHONE)
    (text,) = [each for each in chromium.execute_script(TEXTS) if each["text"] == "faint and wide"]
    assert contrast(text["colour"], text["behind"]) == pytest.approx(2.85, abs=0.01)
    whole, _ = chromium.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert whole > PHONE
    assert len(chromium.execute_script(UNNAMED)) == 4


def test_print_has_a_light_page_without_what_is_for_screens(chromium: webdriver.Chrome, pages: dict[str, Path]):
    show(chromium, pages["system"], theme="dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    script = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('nav')).display]"
    assert chromium.execute_script(script) == ["rgb(255, 255, 255)", "none"]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
