import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.errors import LeaderboardError
from results.report.cards import DomainImages
from results.report.page import report_page
from results.report.runs import MOST

VOID = {"meta", "link", "input", "img", "br", "wbr"}
MANIFEST = {"plan": "plan", "finished": "2026-01-01", "command": ["run", "pocket"], "backbone": {"name": "net"}}


class Reader(HTMLParser):
    """Tags with their attributes, the text outside of scripts and styles, and what is left open."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open, self.ids = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def said(self):
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture
def page(rows, plan):
    images = {"icons": DomainImages(classes=3, images=9, samples=[np.zeros((8, 8, 3), np.uint8)])}
    return report_page(rows, plan, images=images, manifests=[("run.json", MANIFEST)])


def test_every_tag_is_closed_in_its_place_and_every_id_stands_once(page):
    reader = Reader(page)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 10


def test_links_lead_to_places_on_the_page(page):
    reader = Reader(page)
    ids = {attributes.get("id") for _, attributes in reader.tags}
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert len(links) >= 8
    assert {link.removeprefix("#") for link in links} <= ids


def test_nothing_is_asked_of_the_network(page):
    reader = Reader(page)
    sources = [a[key] for _, a in reader.tags for key in ("src", "href", "data", "srcset", "action") if key in a]
    assert len(sources) > 8
    assert all(source.startswith(("#", "data:")) for source in sources)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_the_pages_own_script_and_style_alone(page):
    policy = next(a["content"] for tag, a in Reader(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", rules["style-src"])
    assert not any(key == "style" or key.startswith("on") for _, a in Reader(page).tags for key in a)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "\"'&{{ 7*7 }}"]
)
def test_names_stay_text(rows, plan, name):
    named = rows.assign(method=rows["method"].replace("url", name))
    page = report_page(named, plan, manifests=[(name, {"command": [name]})])
    reader = Reader(page)
    assert reader.open == []
    assert name in reader.said()
    assert [tag for tag, _ in reader.tags].count("script") == 2
    assert "img" not in [tag for tag, _ in reader.tags]
    assert 'onerror=alert(1)>"' not in page


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_same_rows_in_any_order_give_the_same_bytes(rows, plan, page, shuffled, seed):
    images = {"icons": DomainImages(classes=3, images=9, samples=[np.zeros((8, 8, 3), np.uint8)])}
    again = report_page(shuffled(rows, seed), plan, images=images, manifests=[("run.json", MANIFEST)])
    assert again == page


def test_the_page_says_who_leads(page):
    assert (
        "copa and url share the lowest average rank (1.50); copa has the highest mean accuracy" in Reader(page).said()
    )


def test_the_baseline_is_ncc_unless_another_is_asked_for(rows, plan, page):
    def chosen(page):
        return next(a["value"] for tag, a in Reader(page).tags if tag == "option" and "selected" in a)

    order = re.findall(r'<th scope="row" class="name" data-value="(\w+)"', page)
    assert order[int(chosen(page))] == "ncc"
    assert order[int(chosen(report_page(rows, plan, baseline="url")))] == "url"
    without = rows[rows["method"] != "ncc"]
    assert order[int(chosen(report_page(without, plan)))] == "url"


def test_an_unknown_baseline_is_refused_with_the_nearest_one(rows, plan):
    with pytest.raises(LeaderboardError, match="no method 'copaa' to compare with. Did you mean 'copa'"):
        report_page(rows, plan, baseline="copaa")


def test_a_baseline_on_several_backbones_is_found_by_its_name(rows, plan):
    named = rows.assign(method=rows["method"] + " @ net")
    page = report_page(named, plan, baseline="url")
    assert '<b id="baseline-name">url @ net</b>' in page


def test_cells_without_all_episodes_are_explained(rows, plan, page, without):
    assert "episodes are done so far" not in page
    partial = Reader(report_page(without(rows, "url", "mnist", 7), plan)).said()
    assert "n/60: n episodes are done so far" in partial
    assert "59/60" in partial


def test_the_state_of_a_domain_without_rows_yet_is_told_if_it_is_known(rows, plan):
    waiting = rows[rows["domain"] != "mnist"]
    assert 'data-state="unknown"' in report_page(waiting, plan)
    assert 'data-state="unknown"' not in report_page(waiting, plan, seen={"mnist": "unseen"})


def test_contamination_is_explained_where_there_is_any(rows, plan, page):
    assert "these very" not in page
    marked = rows.assign(contaminated=(rows["domain"] == "mnist") & (rows["method"] == "url"))
    said = Reader(report_page(marked, plan)).said()
    assert "trained on these very test classes" in said
    assert "mnist: not ranked" in said


def test_runs_are_shown_the_newest_first_and_not_more_than_a_few(rows, plan):
    manifests = [(f"run-{i}.json", MANIFEST) for i in range(MOST + 3)]
    said = Reader(report_page(rows, plan, manifests=manifests)).said()
    assert said.index("run-0.json") < said.index("run-1.json")
    assert f"run-{MOST}.json" not in said
    assert "3 earlier runs" in said


def test_without_a_manifest_the_page_says_so(rows, plan):
    assert "No manifest of a run of this plan" in report_page(rows, plan)


def test_one_method_on_one_domain_makes_a_page(rows, make_plan):
    alone = rows[(rows["method"] == "ncc") & (rows["domain"] == "icons")]
    reader = Reader(report_page(alone, make_plan(icons=60)))
    assert reader.open == []
    assert "nothing to compare it with" in reader.said()
    assert "#ranks" not in [a.get("href") for _, a in reader.tags]


def test_a_plan_of_which_nothing_is_done_is_refused(rows, plan):
    with pytest.raises(LeaderboardError, match="no episode of plan"):
        report_page(rows.iloc[:0], plan)
