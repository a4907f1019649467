"""The report in a real browser, from disk, without network: Debian's Chromium, driven by Playwright."""

import shutil

import pytest

from seglib.report import naming, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
WIDTHS_PX = (360, 768, 1440)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

# WCAG 2 contrast of every visible text against what lies behind it, in the current colour scheme.
LOWEST_CONTRAST = """() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const parse = (css) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = css;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      const bar = style.backgroundImage.match(/(rgba?|color)\\([^)]*\\)/);
      if (bar) layers.push(parse(bar[0]));
      const colour = parse(style.backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return layers.reverse().reduce((under, layer) => over(layer, under), dark ? [0, 0, 0] : [255, 255, 255]);
  };
  const light = (rgb) => {
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const details of document.querySelectorAll("details")) details.open = true;
  let lowest = [99, ""];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("svg, script, style")) continue;
    const ground = behind(element);
    const ink = over(parse(getComputedStyle(element).color), ground);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, texts.currentNode.data.trim().slice(0, 60)];
  }
  return lowest;
}"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser):
    """``visit(file)``: an open page; at the end nothing may have failed or been complained of."""
    complaints, contexts = [], []

    def open_page(file, *, width_px=1280, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width_px, "height": 800}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
        tab.goto(file.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def pages(finished):
    """One page of each kind."""
    return [
        finished.out / "index.html",
        finished.out / naming.page(finished.plan.cells[2].id),
        finished.out / "datasets" / "scenes.html",
    ]


def test_pages_open_without_a_complaint_and_pictures_load_when_seen(visit, pages):
    for file in pages:
        tab = visit(file)
        assert tab.title()
        for picture in tab.locator("img").all():
            picture.scroll_into_view_if_needed()
        tab.wait_for_function(
            "[...document.images].every((i) => i.complete && i.naturalWidth > 0)", timeout=5000
        )


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_no_page_scrolls_sideways(visit, pages, width_px):
    for file in pages:
        tab = visit(file, width_px=width_px)
        tab.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width_px, file


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(visit, pages, scheme):
    for file in pages:
        contrast, text = visit(file, scheme=scheme).evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, f"{file}: {text!r}"


def column(tab, name: str, number: int) -> list[str]:
    return tab.locator(f'[id="table-{name}"] tbody tr:not([hidden]) > :nth-child({number})').all_inner_texts()


def test_tables_sort_by_their_headers_with_the_keyboard_too(visit, pages):
    tab = visit(pages[0])
    head = tab.locator('[id="table-cells"] thead th', has_text="mIoU")
    position = head.evaluate("head => head.cellIndex + 1")
    before = column(tab, "cells", position)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending", "the best first"
    assert column(tab, "cells", position) == sorted(before, key=float, reverse=True)
    head.locator("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(tab, "cells", position) == sorted(before, key=float)
    tab.locator('[id="table-cells"] thead th', has_text="Method").locator("button").click()
    assert head.get_attribute("aria-sort") is None
    assert column(tab, "cells", 1) == sorted(column(tab, "cells", 1))


def test_rows_filter_by_words_and_status(visit, fabricate):
    made = fabricate()
    for cell in made.plan.cells[1:]:
        made.run(cell)
    made.fail(made.plan.cells[0], "out of memory", "")
    page.run(config=made.config, results=made.results, out=made.out, partial=True)
    tab = visit(made.out / "index.html")
    tools = tab.locator('.tools[data-table="table-cells"]')
    tools.locator("input").fill("ISNET narrow")
    assert column(tab, "cells", 1) == ["isnet · narrow"] * 2
    assert tools.locator("output").inner_text() == "2 of 6 rows"
    tools.locator("input").fill("")
    tools.locator("select").select_option("failed")
    assert column(tab, "cells", 1) == ["fcn"]
    unknown_last = tab.locator('[id="table-cells"] thead th', has_text="mIoU")
    tools.locator("select").select_option("")
    for _ in range(2):
        unknown_last.locator("button").click()
        assert column(tab, "cells", unknown_last.evaluate("head => head.cellIndex + 1"))[-1] == "–"


def test_hostile_names_run_nothing_and_stay_within_the_page(visit, fabricate):
    script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    made = fabricate(
        title=script,
        class_names=["a", "b", script, "\"'", "w" * 200],
        variants={},
        matrix=[
            {
                "datasets": ["scenes"],
                "methods": ["fcn"],
                "backbones": ["small"],
                "recipes": ["quick"],
                "seeds": [0, 1],
            }
        ],
    )
    made.run(made.plan.cells[0])
    made.fail(made.plan.cells[1], script * 5, f"{script}\n</pre></code>{script}\n")
    page.run(config=made.config, results=made.results, out=made.out, partial=True)
    for file in (made.out / "index.html", *(made.out / "cells").glob("*.html")):
        tab = visit(file, width_px=360)
        tab.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        assert tab.evaluate("window.hacked") is None
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert "<script>" in tab.inner_text("h1" if file.name == "index.html" else "main")


def test_without_scripts_everything_is_there(visit, pages):
    tab = visit(pages[0], java_script_enabled=False)
    assert tab.locator('[id="table-cells"] tbody tr').count() == 6
    assert not tab.locator(".tools").first.is_visible(), "a filter that cannot work is not shown"


def test_points_of_a_figure_lead_to_their_cells(visit, pages):
    tab = visit(pages[0])
    tab.locator(".figures a[href^='cells/']").first.click()
    assert tab.url.startswith((pages[0].parent / "cells").as_uri())


def test_print_is_black_on_white_with_whole_tables(visit, pages):
    tab = visit(pages[0], scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate(
        "[...document.querySelectorAll('.scroll')].every((b) => getComputedStyle(b).overflowX === 'visible')"
    )
