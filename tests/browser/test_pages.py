"""Pages in a real browser: nothing is cut off or fails, and what is shown is what the rows say.

Chromium is Debian's; without it, or without playwright, these tests skip and say so.
"""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mugrow.analysis import figures
from mugrow.analysis.read.store import load
from mugrow.analysis.report.build import build
from mugrow.analysis.report.charts import Chart, Scale, Series
from mugrow.analysis.report.page import HERE, scripts
from mugrow.bench.record import write_json
from mugrow.sweeps.docs.render import committed, render

pytestmark = pytest.mark.integration
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PICTURE = Path(__file__).with_name("chart.png")
WIDTHS = (390, 768, 1280, 1920)
PAGES = ("quick", "warmstarting")
CUT_OFF = """() => [...document.querySelectorAll("main *, .contents *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && box.right > document.documentElement.clientWidth + 1
      && !one.closest(".scroll, svg, pre, .chart-legend");
}).map((one) => `${one.tagName} ${one.textContent.slice(0, 60)}`)"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The pages of a committed study and a committed paper, by name."""
    out = tmp_path_factory.mktemp("rendered")
    made = {one.name: render(one, out) for one in committed(REFERENCE, PAGES)}
    assert not [one.error for one in made.values() if one.error]
    return {name: one.page for name, one in made.items()}


@pytest.fixture
def opened(browser):
    """``opened(path, width)`` opens a page and fails on whatever its scripts complain of."""
    pages, said = [], []

    def open_page(path, width=1280, **settings):
        page = browser.new_page(viewport={"width": width, "height": 900}, **settings)
        page.on("console", lambda message: said.append(message.text)
                if message.type in ("error", "warning") else None)  # fmt: skip
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url)
                if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not said


@pytest.fixture(scope="module")
def charted(tmp_path_factory):
    """The page of a committed study with those figures alone that have a chart."""
    folder = tmp_path_factory.mktemp("charted") / "quick"
    shutil.copytree(REFERENCE / "quick", folder)
    with pytest.MonkeyPatch.context() as patch:
        few = {name: figures.FIGURES[name] for name in ("curves", "equal_compute")}
        patch.setattr(figures, "FIGURES", few)
        return build(folder)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_at_any_width(rendered, opened, name):
    page = opened(rendered[name])
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(CUT_OFF) == [], width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 900})
    answer = page.locator("#answer")
    assert answer.bounding_box()["y"] < 300
    assert answer.locator("table.answer tr:has(td)").first.is_visible()
    chips = answer.locator(".chip").all_inner_texts()
    assert chips
    assert page.locator("#answer > table.answer tr:has(td)").count() <= 14


def test_the_contents_follow(charted, opened):
    page = opened(charted)
    page.locator("#tables").scroll_into_view_if_needed()
    page.evaluate(
        "window.scrollBy(0, document.getElementById('tables').getBoundingClientRect().top)"
    )
    page.wait_for_function("document.querySelector('.contents [aria-current]').hash !== '#figures'")
    assert page.locator(".contents [aria-current]").count() == 1


def test_a_table_is_sorted_by_numbers_and_filtered_by_words(charted, opened):
    page = opened(charted)
    table = page.locator("#table-finals ~ .scroll").first
    button = table.locator("th button", has_text="loss (nats/token)")
    column = table.locator("th").all_inner_texts().index("loss (nats/token)")

    def losses():
        cells = table.locator(f"tbody tr:not([hidden]) td:nth-child({column + 1})")
        return [float(re.match(r"[\d.]+", text)[0]) for text in cells.all_inner_texts()]

    before = losses()
    button.click()
    assert losses() == sorted(before)
    button.click()
    assert losses() == sorted(before, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_the_pointer_tells_what_the_rows_say(charted, opened):
    """A loss curve's last point, found by the keys, is a final loss of its rows."""
    page = opened(charted)
    chart = page.locator(".chart", has=page.locator("select")).filter(has_text="FLOPs with").first
    canvas = chart.locator(".chart-canvas")
    canvas.focus()
    for _ in range(200):
        page.keyboard.press("ArrowRight")
    told = chart.locator(".chart-tip").inner_text().splitlines()
    label, seed = re.match(r"(.*), seed (\d+)", told[0]).groups()
    loss = float(told[1].rpartition(": ")[2])
    store = load(REFERENCE / "quick")
    runs = store.runs[(store.runs["role"] == "target") & (store.runs["method"] == label)
                      & (store.runs["seed"] == int(seed))]  # fmt: skip
    ends = store.curves[store.curves["run_id"].isin(runs["run_id"])].groupby("run_id")["val_loss"]
    assert loss in [float(f"{value:.5g}") for value in ends.last()]


def test_the_mouse_finds_the_point_below_it(charted, opened):
    page = opened(charted)
    found = page.evaluate("""() => {
        const hosts = [...document.querySelectorAll(".chart")];
        const host = hosts.find((one) => one.made.chart.name === "curves");
        host.scrollIntoView({ block: "center" });
        const chart = host.made, line = chart.lines[0], place = 3, p = line.points[place];
        const box = chart.canvas.getBoundingClientRect();
        return { x: box.left + p[0] / devicePixelRatio, y: box.top + p[1] / devicePixelRatio,
                 name: line.series.name, loss: line.y[place] };
    }""")
    page.mouse.move(found["x"], found["y"])
    tip = page.locator(".chart-tip:not([hidden])").inner_text().splitlines()
    assert tip[0] == found["name"]
    assert float(tip[1].rpartition(": ")[2]) == found["loss"]


def test_what_is_pointed_at_is_read_aloud(charted, opened):
    """By keys and by the pointer: a status beside the chart, not inside what is read as one."""
    page = opened(charted)
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    canvas, told = chart.locator(".chart-canvas"), chart.get_by_role("status")
    name = canvas.get_attribute("aria-label")
    assert re.search(r"At w64-d2 \w+ ends lowest, at [\d.]+ \[[\d.]+, [\d.]+\] nats", name)
    assert told.inner_text() == ""
    assert (
        told.evaluate("(one) => one.parentElement.closest('[role=img], [role=application]')")
        is None
    )
    canvas.focus()
    for key, place in (("End", -1), ("Home", 0)):
        page.keyboard.press(key)
        loss = chart.evaluate(f"(one) => one.made.lines[0].y.at({place})")
        page.wait_for_function("(loss) => document.querySelector('[role=status]:not(:empty)')"
                               "?.textContent.includes(`: ${loss};`)", arg=loss)  # fmt: skip
    assert "FLOPs with the source’s: " in told.inner_text()
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelectorAll('[role=status]:not(:empty)').length === 0")
    canvas.scroll_into_view_if_needed()
    point = chart.evaluate("""(one) => {
        const p = one.made.lines[1].points[5], box = one.made.canvas.getBoundingClientRect();
        return [box.left + p[0] / devicePixelRatio, box.top + p[1] / devicePixelRatio];
    }""")
    page.mouse.move(*point)
    page.wait_for_function("document.querySelectorAll('[role=status]:not(:empty)').length === 1")
    page.wait_for_timeout(300)
    assert told.inner_text().startswith(chart.locator(".chart-tip > div").first.inner_text())


def test_plus_and_minus_zoom_around_the_point(charted, opened):
    page = opened(charted)
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    scale = "(one) => [one.made.plot.scales.x.min, one.made.plot.scales.x.max]"
    whole = chart.evaluate(scale)
    chart.locator(".chart-canvas").focus()
    page.keyboard.press("End")
    at = chart.evaluate("(one) => one.made.lines[0].x.at(-1)")
    page.keyboard.press("+")
    page.wait_for_timeout(100)
    low, high = chart.evaluate(scale)
    assert whole[0] < low < at < high <= whole[1]
    assert chart.locator(".chart-tip").is_visible()
    page.keyboard.press("-")
    page.wait_for_timeout(100)
    assert chart.evaluate(scale) == pytest.approx(whole)


def test_lines_are_toggled_and_isolated(charted, opened):
    page = opened(charted)
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    shown = "(one) => [...new Set(one.made.lines.map((line) => line.series.group))]"
    groups = chart.evaluate(shown)
    assert len(groups) > 2
    chart.locator(".entry > button[aria-pressed]").first.click()
    assert chart.evaluate(shown) == groups[1:]
    chart.locator(".entry .only").nth(1).click()
    assert chart.evaluate(shown) == [groups[1]]
    chart.locator(".entry .only").nth(1).click()
    assert chart.evaluate(shown) == groups


def test_drag_zooms_and_the_whole_range_comes_back(charted, opened):
    page = opened(charted)
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    chart.scroll_into_view_if_needed()
    scale = "(one) => [one.made.plot.scales.x.min, one.made.plot.scales.x.max]"
    whole = chart.evaluate(scale)
    box = chart.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=4)
    page.mouse.up()
    low, high = chart.evaluate(scale)
    assert whole[0] < low < high < whole[1]
    chart.get_by_role("button", name="whole range").click()
    assert chart.evaluate(scale) == whole


def test_another_x_is_the_same_losses(charted, opened):
    page = opened(charted)
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    line = "(one) => [one.made.lines[0].x.at(-1), one.made.lines[0].y.at(-1)]"
    _, loss = chart.evaluate(line)
    x = {}
    for place, key in enumerate(("charged", "flops", "tokens", "steps", "seconds")):
        chart.locator("select").nth(1).select_option(str(place))
        x[key], same = chart.evaluate(line)
        assert same == loss
    assert x["tokens"] > x["steps"] > 0
    assert x["flops"] > x["tokens"]


def test_without_scripts_the_pictures_are_there(charted, opened):
    page = opened(charted, java_script_enabled=False)
    assert page.locator("details.picture figure svg").first.is_visible()
    assert not page.locator(".chart").first.is_visible()


def test_text_of_files_does_nothing(opened, tmp_path):
    """Names and titles with markup are text, in the page and in its charts."""
    evil = "<img src=x onerror=\"document.title='harmed'\">\n</script><script>harmed()</script>"
    folder = tmp_path / "study"
    shutil.copytree(REFERENCE / "quick", folder)
    store = load(folder)
    write_json(folder / "study.json", store.study | {"title": evil})
    page = opened(build(folder))
    assert page.title().startswith("<img src=x")
    assert page.locator("img").count() == 0


def test_three_hundred_runs_are_drawn_once(browser, tmp_path):
    """Of 30 000 points the pointer finds one and draws its line alone: all others stay."""
    rng = np.random.default_rng(0)
    steps = np.arange(1, 101) * 50.0
    series = tuple(
        Series(f"m{n % 30}, seed {n // 30}", f"m{n % 30}", "target", "#0072B2", steps,
               2 + 5 * steps**-0.4 + rng.normal(0, 0.01, 100), axes={"flops": (0.0, 1e6 + n)})
        for n in range(300)
    )  # fmt: skip
    chart = Chart("curves", "t", "runs", (Scale("flops", "FLOPs", log=True),), Scale("l", "loss"),
                  series)  # fmt: skip
    path = tmp_path / "index.html"
    host = f'<div><div class="chart">{chart.to_script()}</div></div>'
    path.write_text(f"<!doctype html><meta charset=utf-8>{host}{scripts(True)}", encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('.chart').made.lines[299].points")
    drawn, told = page.locator(".chart").first.evaluate("""(host) => {
        const chart = host.made, paint = chart.paint, trace = chart.trace;
        let painted = 0, traced = 0;
        chart.paint = (...given) => { painted += 1; paint.apply(chart, given); };
        chart.trace = (...given) => { traced += 1; trace.apply(chart, given); };
        for (let n = 0; n < 9; n += 1) {
          const p = chart.lines[30 * n].points[50], { left, top } = chart.plot.bbox;
          chart.plot.setCursor({
            left: (p[0] - left) / devicePixelRatio, top: (p[1] - top) / devicePixelRatio,
          });
        }
        return [[painted, traced], chart.near && chart.near.line.series.name];
    }""")
    page.close()
    assert told
    assert drawn[0] == 0
    assert 0 < drawn[1] <= 9


def test_every_number_has_its_macro(charted, opened):
    """The list is what ``macros.tex`` has, and is filtered like any table."""
    page = opened(charted)
    numbers = page.locator("#numbers")
    numbers.locator("summary").click()
    rows = numbers.locator("tbody tr")
    rows.first.wait_for()
    macros = (charted.parent / "macros.tex").read_text(encoding="utf-8")
    assert rows.count() == macros.count("\\newcommand")
    numbers.locator(".filter").fill("szp loss lo")
    shown = numbers.locator("tbody tr:not([hidden])").all_inner_texts()
    assert shown
    for row in shown:
        value, _, macro = row.partition("\t")
        assert f"\\newcommand{{{macro.strip()}}}{{{value}}}" in macros.replace(
            "\\ensuremath{-}", "−"
        )


def test_legends_and_labels_are_inside_their_boxes(charted, opened):
    page = opened(charted)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        outside = page.evaluate("""() => {
          const charts = [...document.querySelectorAll(".chart")];
          return charts.flatMap((chart) => {
            const box = chart.getBoundingClientRect();
            return [...chart.querySelectorAll("label, button, select, canvas, .entry")]
              .filter((one) => one.getBoundingClientRect().right > box.right + 1
                || one.getBoundingClientRect().left < box.left - 1)
              .map((one) => one.outerHTML.slice(0, 80));
          });
        }""")
        assert outside == [], width


def test_a_method_in_a_table_leads_to_its_curves(charted, opened):
    page = opened(charted)
    page.locator("#table-finals ~ .scroll").first.get_by_role("button", name="szp").click()
    chart = page.locator(".chart").filter(has_text="FLOPs with").first
    shown = chart.evaluate("(one) => [...new Set(one.made.lines.map((l) => l.series.group))]")
    assert sorted(shown) == ["scratch", "szp"]
    assert chart.locator(".entry > [aria-pressed=true]").count() == 2
    assert chart.evaluate("(one) => Math.abs(one.getBoundingClientRect().top) < innerHeight")


def test_keys_pass_over_what_the_axes_do_not_show(browser, tmp_path):
    """The first point has no logarithm and the third no loss: the keys tell of the second."""
    line = Series(
        "scratch, seed 0", "scratch", "t", "#000000",
        np.array([0.0, 10.0, 20.0]), np.array([3.0, 2.5, np.nan]), dash="--",
    )  # fmt: skip
    chart = Chart("c", "t", "runs", (Scale("x", "FLOPs", log=True),), Scale("l", "loss"), (line,))
    path = tmp_path / "index.html"
    path.write_text(
        f'<!doctype html><meta charset=utf-8><div><div class="chart">{chart.to_script()}</div>'
        f'<details class="picture" open></details></div>{scripts(True)}',
        encoding="utf-8",
    )
    page = browser.new_page()
    said = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('.chart').made.lines[0].points")
    page.locator(".chart-canvas").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        assert "loss: 2.5" in page.locator(".chart-tip").inner_text()
    assert "transparent" in page.locator(".swatch").get_attribute("style")
    picture = page.locator("details.picture")
    assert picture.get_attribute("open") is None
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert picture.get_attribute("open") is not None
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert picture.get_attribute("open") is None
    page.close()
    assert not said


def test_a_chart_looks_as_it_did(browser, tmp_path):
    """Three lines, one dashed, one with a band and points: within two levels of grey, on average,
    of the stored picture, which `MUGROW_PICTURES=write` draws anew."""
    x = np.array([1e9, 1e10, 1e11, 1e12])
    y = np.array([3.0, 2.5, 2.2, 2.0])
    series = (
        Series("scratch, seed 0", "scratch", "t", "#000000", x, y),
        Series("szp, seed 0", "szp", "t", "#0072B2", x, y - 0.1, dash="--"),
        Series("front", "front", "t", "#D55E00", x, y + 0.2, low=y + 0.1, high=y + 0.3, marks=True),
    )
    chart = Chart("c", "t", "runs", (Scale("x", "FLOPs", log=True),), Scale("l", "loss"), series)
    path = tmp_path / "index.html"
    host = f'<div><div class="chart">{chart.to_script()}</div></div>'
    style = (HERE / "page.css").read_text() + (HERE / "vendor/uplot/uPlot.min.css").read_text()
    path.write_text(
        f"<!doctype html><meta charset=utf-8><style>{style}</style>{host}{scripts(True)}",
        encoding="utf-8",
    )
    page = browser.new_page(viewport={"width": 700, "height": 600})
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('.chart').made.lines[2].points")
    content = page.locator(".u-over").screenshot()  # without text, whose fonts are the machine's
    page.close()
    if os.environ.get("MUGROW_PICTURES") == "write":
        PICTURE.write_bytes(content)
    seen, known = (
        np.asarray(Image.open(io.BytesIO(one)).convert("L"), dtype=float)
        for one in (content, PICTURE.read_bytes())
    )
    assert seen.shape == known.shape
    assert np.abs(seen - known).mean() < 2
    blank = np.full_like(known, 255.0)
    assert np.abs(blank - known).mean() > 2
