import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from results.data_interval import class_design, data_interval
from results.errors import LeaderboardError
from results.evidence import ALL, as_json, evidence
from results.render_evidence import render_evidence
from results.significance import holm, sign_test_p, wilcoxon_p
from results.stats import mean_ci95, paired_difference

TASKS = 40
RNG = np.random.default_rng(0)
CLASSES = [RNG.choice(30, RNG.integers(5, 12), replace=False) for _ in range(TASKS)]
NCC = {domain: RNG.uniform(0.4, 0.8, TASKS) for domain in ("icons", "mnist", "emoji")}
URL = {domain: values + RNG.normal(0.05, 0.05, TASKS) for domain, values in NCC.items()}
TWIN = {domain: values.copy() for domain, values in NCC.items()}
THREE = {"ncc": NCC, "twin": TWIN, "url": URL}


def of(accuracies, make_frame, make_plan, designs=("icons",), **changed):
    plan = make_plan(**{"icons": TASKS, "mnist": TASKS, "emoji": TASKS} | changed)
    return evidence(make_frame(accuracies), plan, {domain: class_design(CLASSES) for domain in designs})


def pair_of(found, method, other, domain):
    pairs = found.pairs.set_index(["method", "other", "domain"])
    return pairs.loc[method, other, domain]


def printed(found, width=120):
    file = io.StringIO()
    console = Console(file=file, width=width)
    for part in render_evidence(found):
        console.print(part, highlight=False)
    return file.getvalue()


def test_a_cell_has_both_intervals_named_apart(make_frame, make_plan):
    cells = of(THREE, make_frame, make_plan).cells.set_index(["method", "domain"])
    icons = cells.loc["url", "icons"]
    assert (icons["mean_pct"], icons["ci95_pct"]) == pytest.approx(mean_ci95(100 * URL["icons"]))
    expected = data_interval(100 * URL["icons"], class_design(CLASSES))
    assert icons["ci95_data_pct"] == pytest.approx(expected.ci95_data)
    assert icons["classes"] == 30
    assert icons["claimed"] == expected.claimed
    assert math.isnan(cells.loc["url", "mnist"]["ci95_data_pct"])


def test_a_pair_is_tested_on_the_same_episodes(make_frame, make_plan):
    line = pair_of(of(THREE, make_frame, make_plan), "ncc", "url", "icons")
    a, b = 100 * NCC["icons"], 100 * URL["icons"]
    assert (line["diff_pct"], line["ci95_pct"]) == pytest.approx(paired_difference(a, b))
    expected = data_interval(a - b, class_design(CLASSES))
    assert (line["ci95_data_pct"], line["claimed"]) == (pytest.approx(expected.ci95_data), expected.claimed)
    assert (line["wilcoxon_p"], line["sign_p"]) == pytest.approx((wilcoxon_p(a, b), sign_test_p(a, b)))
    assert (line["wins"], line["ties"], line["losses"]) == ((a > b).sum(), 0, (a < b).sum())


def test_rows_in_another_order_are_the_same_evidence(make_frame, make_plan):
    plan, designs = make_plan(icons=TASKS, mnist=TASKS, emoji=TASKS), {"icons": class_design(CLASSES)}
    rows = make_frame(THREE)
    shuffled = rows.sample(frac=1, random_state=1).reset_index(drop=True)
    assert as_json(evidence(shuffled, plan, designs)) == as_json(evidence(rows, plan, designs))


def test_p_is_adjusted_over_pairs_and_domains_and_apart_from_that_over_pairs(make_frame, make_plan):
    pairs = of(THREE, make_frame, make_plan).pairs
    overall = pairs["domain"] == ALL
    for lines in (pairs[overall], pairs[~overall]):
        assert lines["wilcoxon_holm"].tolist() == pytest.approx(holm(lines["wilcoxon_p"]).tolist())
        assert lines["sign_holm"].tolist() == pytest.approx(holm(lines["sign_p"]).tolist())
    assert (overall.sum(), (~overall).sum()) == (3, 9)


def test_over_all_domains_weigh_the_same(make_frame, make_plan):
    found = of(THREE, make_frame, make_plan)
    parts = [pair_of(found, "ncc", "url", domain) for domain in NCC]
    line = pair_of(found, "ncc", "url", ALL)
    assert line["diff_pct"] == pytest.approx(np.mean([part["diff_pct"] for part in parts]))
    assert line["ci95_pct"] == pytest.approx(math.sqrt(sum(part["ci95_pct"] ** 2 for part in parts)) / 3)
    assert math.isnan(line["ci95_data_pct"])  # mnist and emoji have none
    assert line["wins"] + line["ties"] + line["losses"] == line["n"] == 3 * TASKS


def test_twins_are_not_told_apart_by_any_number_of_episodes(make_frame, make_plan):
    found = of(THREE, make_frame, make_plan)
    line = pair_of(found, "ncc", "twin", ALL)
    assert (line["wilcoxon_p"], line["sign_holm"], line["ties"]) == (1, 1, 3 * TASKS)
    assert math.isnan(line["episodes_needed"])
    assert found.friedman.average_ranks.to_dict() == {"ncc": 2.5, "twin": 2.5, "url": 1.0}


def test_a_method_that_lacks_episodes_is_left_out_of_what_is_over_all(make_frame, make_plan):
    short = {"icons": URL["icons"], "mnist": URL["mnist"][:-1]}
    found = of({"ncc": NCC, "twin": TWIN, "url": short}, make_frame, make_plan)
    assert set(found.friedman.average_ranks.index) == {"ncc", "twin"}
    overall = found.pairs[found.pairs["domain"] == ALL]
    assert overall[["method", "other"]].to_numpy().tolist() == [["ncc", "twin"]]
    assert "url" not in set(found.cells.loc[found.cells["domain"] == "mnist", "method"])
    assert pair_of(found, "ncc", "url", "icons")["n"] == TASKS
    assert "–" in printed(found)


def test_methods_that_lack_episodes_are_named_below_the_tables(make_frame, make_plan):
    short = {domain: values[:-1] for domain, values in URL.items()}
    found = of({"ncc": NCC, "twin": TWIN, "url": short}, make_frame, make_plan)
    assert found.incomplete == ("url",)
    assert as_json(found)["incomplete"] == ["url"]
    assert "episodes are missing: url;" in printed(found)
    assert "episodes are missing" not in printed(of(THREE, make_frame, make_plan))


def test_domains_whose_classes_a_backbone_was_trained_on_are_marked(make_frame, make_plan):
    rows = make_frame(THREE)
    rows.loc[(rows["domain"] == "mnist") & (rows["method"] == "url"), "contaminated"] = True
    found = evidence(rows, make_plan(icons=TASKS, mnist=TASKS, emoji=TASKS), {})
    assert as_json(found)["contaminated"] == ["mnist"]
    text = printed(found)
    assert text.count("\nmnist †") == 2  # in the cells, and in the pairs by domain
    assert "†: a backbone was trained on these very test classes" in text
    assert "†" not in printed(of(THREE, make_frame, make_plan))


def test_one_episode_a_domain_says_nothing_of_how_many_are_needed(make_frame, make_plan):
    one = {name: {domain: values[:1] for domain, values in own.items()} for name, own in THREE.items()}
    found = evidence(make_frame(one), make_plan(icons=1, mnist=1, emoji=1), {})
    assert set(found.pairs["domain"]) == {"icons", "mnist", "emoji", ALL}
    assert found.pairs["episodes_needed"].isna().all()


def test_a_single_method_has_intervals_and_nothing_to_compare(make_frame, make_plan):
    found = of({"ncc": NCC}, make_frame, make_plan)
    assert found.friedman is None and found.pairs.empty
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["friedman"] is None
    assert "Friedman over" not in printed(found)


def test_a_plan_that_is_not_finished_anywhere_is_shown_without_numbers(make_frame, make_plan):
    found = of({"ncc": {"icons": NCC["icons"][:2]}, "url": {"icons": URL["icons"][:2]}}, make_frame, make_plan)
    assert found.cells.empty and found.pairs.empty
    assert "icons" in printed(found)


def test_json_says_none_where_there_is_no_number(make_frame, make_plan):
    told = json.loads(json.dumps(as_json(of(THREE, make_frame, make_plan)), allow_nan=False))
    cells = {(cell["method"], cell["domain"]): cell for cell in told["cells"]}
    assert cells["ncc", "mnist"]["ci95_data_pct"] is None
    assert cells["ncc", "icons"]["ci95_data_pct"] > cells["ncc", "icons"]["ci95_pct"]
    assert told["friedman"]["average_ranks"]["url"] == 1


def test_a_screen_shows_five_methods_and_says_what_tests_assume(make_frame, make_plan):
    five = THREE | {"copa": URL, "knn": NCC}
    shown = printed(of(five, make_frame, make_plan))
    assert len(shown.splitlines()) <= 60
    assert max(map(len, shown.splitlines())) <= 120
    for word in ("Friedman", "Nemenyi", "Wilcoxon", "sign test", "Holm"):
        assert sum(line.startswith(word) for line in shown.splitlines()) >= 1
    assert "ncc − url" in shown
    assert "***" in shown


def test_errors_name_plan_and_task(make_frame, make_plan):
    plan = make_plan(icons=2)
    with pytest.raises(LeaderboardError, match="run the benchmark first"):
        evidence(make_frame({"ncc": {"icons": [0.5]}}).iloc[:0], plan, {})
    rows = make_frame({"ncc": {"icons": [0.5, 0.6]}})
    with pytest.raises(LeaderboardError, match="two results for task 1 of domain 'icons'"):
        evidence(pd.concat([rows, rows.iloc[1:]]), plan, {})
