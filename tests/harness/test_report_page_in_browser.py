"""The page as a reader has it: headless Chromium opens the file, clicks, types, and listens for complaints."""

import itertools
import json
import os
import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest
from synthetic_store import fill_store

from results.entries import name_methods
from results.report.cards import DomainImages
from results.report.page import COLUMNS, report_page
from results.store import ResultStore

pytestmark = pytest.mark.faults

HOSTILE = "<script>document.title='taken'</script>"
NAMES = ["ncc", "knn", "url", "url(lr=0.5,steps=20)", "ridge", "copa", "tsa", "copa-tsa", HOSTILE]
VISIBLE = ".filter(e => e.getClientRects().length)"  # checkVisibility() does not look at SVG
PHONE, DESK = (360, 800), (1280, 900)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(rows, plan) of nine methods on five domains."""
    folder = tmp_path_factory.mktemp("store")
    chosen = fill_store(folder / "results.sqlite", domains=5, tasks=40, names=NAMES, contaminated=("dtd",))
    with ResultStore(folder / "results.sqlite") as store:
        return name_methods(store.rows(chosen, COLUMNS), store.entries(chosen)), store.plan(chosen)


@pytest.fixture(scope="module")
def page(stored, tmp_path_factory):
    """The file of their page."""
    rows, plan = stored
    noise = np.random.default_rng(0).integers(0, 256, (6, 120, 90, 3), dtype=np.uint8)
    images = {domain: DomainImages(classes=7, images=1000, samples=list(noise)) for domain in plan.domains}
    manifest = {"finished": "2026-01-01", "command": ["run", "x" * 300], "packages": {"torch": "2"}}
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report_page(rows, plan, images=images, manifests=[("run.json", manifest)]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests, driven by selenium."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with chromedriver here (Debian: apt install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--disable-gpu", "--disable-background-networking", "--no-first-run"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


class Opened:
    """The page in the browser, at a size and in the system's light or dark."""

    def __init__(self, browser, path, size=DESK, scheme="light"):
        self.browser = browser
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": scheme}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(path.as_uri())

    def script(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def texts(self, selector):
        """The texts of what is visible of the selected."""
        return self.script(
            f"return [...document.querySelectorAll(arguments[0])]{VISIBLE}.map(e => e.textContent.trim())", selector
        )

    def choose(self, selector, label):
        from selenium.webdriver.support.ui import Select

        Select(self.one(selector)).select_by_visible_text(label)

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def paper(self):
        return self.script("return getComputedStyle(document.body).backgroundColor")

    def complaints(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture
def opened(browser, page):
    return Opened(browser, page)


def column(opened, name):
    """Values down a column of the table as shown, "" for none."""
    return opened.script(
        "const heads = [...document.querySelectorAll('#board thead th')];"
        "const at = heads.findIndex(h => h.querySelector('button').textContent.startsWith(arguments[0]));"
        "const rows = [...document.querySelector('#board tbody').rows].filter(r => !r.hidden);"
        "return rows.map(r => r.cells[at].dataset.value)",
        name,
    )


def head(opened, name):
    return next(
        each
        for each in opened.browser.find_elements("css selector", "#board thead th button")
        if each.text.startswith(name)
    )


def sorting(opened):
    return opened.script(
        "const heads = [...document.querySelectorAll('#board thead th')];"
        "return heads.map(h => h.getAttribute('aria-sort')).filter(s => s !== 'none')"
    )


def test_a_page_in_use_complains_of_nothing_and_asks_for_nothing(opened):
    for button in opened.browser.find_elements("css selector", "#board thead button, #theme, [data-chip]"):
        button.click()
    opened.one("#filter").send_keys("url")
    opened.choose("#baseline", "copa")
    opened.choose("#scope", "omniglot")
    opened.choose("#states", "seen domains")
    for link in opened.browser.find_elements("css selector", "nav a"):
        link.click()
    assert opened.complaints() == []
    sent = [json.loads(entry["message"])["message"] for entry in opened.browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert any(urlsplit(url).path.endswith("report.html") for url in asked)
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}
    assert all(url.endswith("report.html") for url in asked if url.startswith("file"))


def test_the_policy_stops_a_script_that_is_not_the_pages_own(opened):
    opened.script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"taken\"';"
        "document.body.append(s)"
    )
    opened.script("const i = new Image(); i.src = 'https://example.org/x.png'; document.body.append(i)")
    assert opened.browser.title != "taken"
    assert len([line for line in opened.complaints() if "Content Security Policy" in line]) >= 2


def test_a_method_called_like_a_script_stays_text(opened):
    assert opened.browser.title == "meta-dataset-mdl · test · Metabench"
    assert HOSTILE in opened.texts("#board tbody th")
    opened.choose("#baseline", HOSTILE)
    assert opened.browser.title == "meta-dataset-mdl · test · Metabench"
    assert HOSTILE in opened.script("return document.querySelector('#baseline-name').textContent")


def test_a_click_sorts_and_another_turns_the_order(opened):
    assert sorting(opened) == ["ascending"]
    head(opened, "omniglot").click()
    down = column(opened, "omniglot")
    assert down == sorted(down, key=float, reverse=True)
    assert len(set(down)) > 3
    assert sorting(opened) == ["descending"]
    head(opened, "omniglot").click()
    assert column(opened, "omniglot") == down[::-1]
    assert sorting(opened) == ["ascending"]


def test_methods_sort_by_name(opened):
    head(opened, "method").click()
    names = [name for name in column(opened, "method") if name != HOSTILE]
    assert names == sorted(names)


def test_the_filter_keeps_the_methods_with_that_in_their_name(opened):
    opened.one("#filter").send_keys("TSA")
    assert sorted(column(opened, "method")) == ["copa-tsa", "tsa"]
    assert opened.one("#count").text == "2 of 9 methods"
    opened.one("#filter").send_keys("x")
    assert opened.texts("#nothing")
    opened.one("#filter").send_keys("\ue003" * 4)
    assert len(column(opened, "method")) == 9


def test_columns_intervals_and_ranks_can_be_chosen(opened):
    assert len(opened.texts("#board thead th")) == 1 + 2 + 2 + 5  # name, ranks, means, domains
    opened.choose("#states", "averages only")
    assert len(opened.texts("#board thead th")) == 1 + 2 + 2
    opened.choose("#states", "all domains")
    assert opened.texts("#board .ci")
    assert not opened.texts("#board .rank")
    opened.one("#intervals").click()
    opened.one("#ranks-shown").click()
    assert not opened.texts("#board .ci")
    assert opened.texts("#board .rank")


def test_the_table_can_be_sorted_with_the_keyboard_alone(opened):
    from selenium.webdriver.common.keys import Keys

    opened.keys(Keys.TAB)
    assert opened.script("return document.activeElement.className") == "skip"
    assert opened.script("return document.activeElement.getBoundingClientRect().left >= 0")
    opened.keys(Keys.ENTER)
    assert opened.script("return document.activeElement.id") == "table"
    for _ in range(30):
        opened.keys(Keys.TAB)
        if opened.script("return document.activeElement.textContent").startswith("mean all"):
            break
    style = "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)]"
    assert opened.script(style) == ["solid", 2]
    opened.keys(Keys.ENTER)
    values = column(opened, "mean all")
    assert values == sorted(values, key=float, reverse=True)
    opened.keys(Keys.SPACE)
    assert column(opened, "mean all") == values[::-1]


def test_links_lead_to_their_sections(opened):
    links = opened.browser.find_elements("css selector", "nav a")
    assert len(links) == 8
    for link in links:
        link.click()
        target = link.get_attribute("href").split("#")[1]
        assert opened.script("return document.querySelector(':target').id") == target


@pytest.mark.parametrize(("scheme", "before", "after"), [("light", "rgb(255", "rgb(20"), ("dark", "rgb(20", "rgb(255")])
def test_the_theme_follows_the_system_until_it_is_switched(browser, page, scheme, before, after):
    opened = Opened(browser, page, scheme=scheme)
    assert opened.paper().startswith(before)
    opened.one("#theme").click()
    assert opened.paper().startswith(after)
    opened.one("#theme").click()
    assert opened.paper().startswith(before)


def test_another_baseline_redraws_the_forest_as_it_would_have_been_drawn(opened):
    drawing = (
        "return [...document.querySelectorAll('.panel')].map(p => ["
        " p.dataset.panel, p.querySelector('.verdict').textContent,"
        " [...p.querySelectorAll('.effect')].map(e => [e.classList.contains('s1'), e.classList.contains('s-1'),"
        " e.querySelector('.number').textContent, e.querySelector('.whisker').getAttribute('d'),"
        " e.querySelector('circle').getAttribute('cx')]),"
        " [...p.querySelectorAll('.ticks text')].map(t => [t.textContent, t.getAttribute('x')]),"
        " p.querySelector('.zero').getAttribute('d')])"
    )
    served = opened.script(drawing)
    assert len(served) == 8
    opened.choose("#baseline", "copa")
    moved = opened.script(drawing)
    assert moved != served
    opened.choose("#baseline", "ncc")
    again = opened.script(drawing)
    for before, after in zip(served, again, strict=True):
        assert [effect[:3] for effect in before[2]] == [effect[:3] for effect in after[2]]
        assert (before[0], before[1], [t[0] for t in before[3]]) == (after[0], after[1], [t[0] for t in after[3]])
        for old, new in zip(before[2], after[2], strict=True):
            assert abs(float(old[4]) - float(new[4])) <= 0.11


def test_a_baseline_that_lacks_an_episode_has_no_difference_there(browser, stored, tmp_path):
    rows, plan = stored
    lacking = rows[(rows["method"] != "copa") | (rows["domain"] != "omniglot") | (rows["task"] != 3)]
    (tmp_path / "report.html").write_text(report_page(lacking, plan), encoding="utf-8")
    opened = Opened(browser, tmp_path / "report.html")
    opened.choose("#baseline", "copa")
    numbers = "return [...document.querySelector('.panel').querySelectorAll('.number')].map(t => t.textContent)"
    shown = opened.script(numbers)
    assert len(shown) == 5 + 2
    assert [i for i, words in enumerate(shown) if words == "–"] == [1, 5, 6]
    opened.choose("#baseline", "ncc")
    assert "–" not in opened.script(numbers)
    head(opened, "omniglot").click()
    assert column(opened, "omniglot")[-1] == ""
    head(opened, "omniglot").click()
    assert column(opened, "omniglot")[-1] == ""
    assert opened.complaints() == []


def test_a_chip_shows_and_hides_a_method_in_every_figure(opened):
    marks = "document.querySelectorAll('svg [data-method=\\'0\\'], [data-panel=\\'0\\']')"
    count = f"return [...{marks}]{VISIBLE}.length"
    shown = opened.script(count)
    assert shown == 4  # ways, shots, seconds, differences
    opened.one('[data-chip="0"]').click()
    assert opened.script(count) == 0
    twins = "return [...document.querySelectorAll('[data-chip=\"0\"]')].map(e => e.getAttribute('aria-pressed'))"
    assert opened.script(twins) == ["false", "false"]
    opened.one('[data-chip="0"]').click()
    assert opened.script(count) == shown


def test_curves_of_one_domain_can_be_chosen(opened):
    visible = f"return [...document.querySelectorAll('[data-scope]')]{VISIBLE}.map(e => e.dataset.scope)"
    assert opened.script(visible) == ["0", "0"]
    opened.choose("#scope", "aircraft")
    assert opened.script(visible) == ["3", "3"]


def test_names_beside_curves_do_not_cover_each_other(opened):
    tops = opened.script(
        "return [...document.querySelectorAll('[data-scope=\"0\"] svg')].map(s => [...s.querySelectorAll('.label')]"
        f"{VISIBLE}.map(e => Number(e.getAttribute('y'))).sort((a, b) => a - b))"
    )
    assert len(tops) == 2
    for ys in tops:
        assert len(ys) == 8
        assert all(b - a >= 13.8 for a, b in itertools.pairwise(ys))


def test_on_a_phone_nothing_but_boxes_of_their_own_is_wider_than_the_screen(browser, page):
    opened = Opened(browser, page, PHONE)
    assert opened.script("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    wide = opened.script(
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"
    )
    assert wide == []
    assert opened.script("const s = document.querySelector('.sheet'); return s.scrollWidth > s.clientWidth")
    assert opened.complaints() == []


def test_pictures_are_shown(opened):
    sizes = opened.script("return [...document.images].map(i => [i.complete, i.naturalWidth])")
    assert len(sizes) == 30
    assert all(complete and width > 0 for complete, width in sizes)


def test_without_script_the_page_still_says_everything(browser, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened = Opened(browser, page)
        controls = opened.browser.find_elements("css selector", ".controls, #theme")
        assert controls
        assert not any(each.is_displayed() for each in controls)
        assert len([p for p in opened.browser.find_elements("css selector", ".panel") if p.is_displayed()]) == 8
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_on_paper_it_is_light_and_without_controls(browser, page):
    opened = Opened(browser, page, scheme="dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert opened.paper().startswith("rgb(255")
    assert not any(each.is_displayed() for each in browser.find_elements("css selector", "nav, #theme, .controls"))
    assert opened.one("#baseline-name").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
