import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from results.comparison import as_json, compare
from results.contenders import Contender
from results.errors import LeaderboardError
from results.render_comparison import render
from results.significance import holm, wilcoxon_p
from results.stats import paired_difference
from results.store import StoredPlan


def contender(name, accuracies, *, contaminated=(), label="net"):
    rows = [
        (domain, task, accuracy, "seen" if domain == "icons" else "unseen", domain in contaminated)
        for domain, values in accuracies.items()
        for task, accuracy in (values.items() if isinstance(values, dict) else enumerate(values))
    ]
    return Contender(
        method=name,
        backbone="net",
        label=label,
        words=frozenset(),
        aside=False,
        former=False,
        version="1",
        weights_sha256="weights",
        rows=pd.DataFrame(rows, columns=["domain", "task", "accuracy", "seen", "contaminated"]),
    )


def plan(**domains):
    return StoredPlan(
        plan_hash="plan", benchmark="pocket", split="test", seed=0, tasks=max(domains.values()), domains=domains
    )


@pytest.fixture
def both():
    """A is far better on icons, worse on mnist, and like B on emoji."""
    rng = np.random.default_rng(0)
    base = {domain: rng.uniform(0.3, 0.7, 60) for domain in ("icons", "mnist", "emoji")}
    shifts = {"icons": 0.1, "mnist": -0.05, "emoji": 0.0}
    a = {domain: values + shifts[domain] + rng.normal(0, 0.02, 60) for domain, values in base.items()}
    return contender("a", a), contender("b", base)


SIXTY = plan(icons=60, mnist=60, emoji=60)


def test_each_domain_has_the_paired_difference_and_the_adjusted_p(both):
    a, b = both
    table = compare(a, b, SIXTY).domains.set_index("domain")
    pairs = {d: [x.rows.loc[x.rows["domain"] == d, "accuracy"].to_numpy() for x in both] for d in SIXTY.domains}
    for domain, (one, other) in pairs.items():
        assert tuple(table.loc[domain, ["diff_pct", "ci95_pct"]]) == pytest.approx(
            paired_difference(100 * one, 100 * other)
        )
    raw = [wilcoxon_p(100 * one, 100 * other) for one, other in pairs.values()]
    assert table["wilcoxon_holm"].tolist() == pytest.approx(holm(raw).tolist())
    assert table["better"].to_dict() == {"icons": "a", "mnist": "b", "emoji": ""}


def test_episodes_that_are_needed_are_given_where_nothing_is_resolved(both):
    table = compare(*both, SIXTY).domains.set_index("domain")
    assert table["needed"].isna().to_dict() == {"icons": True, "mnist": True, "emoji": False}
    assert table.loc["emoji", "needed"] > 60


def test_an_unresolved_domain_never_needs_fewer_episodes_than_it_has():
    a, b = contender("a", {"icons": [0.6] * 4 + [0.5] * 2}), contender("b", {"icons": [0.5] * 6})
    line = compare(a, b, plan(icons=6)).domains.iloc[0]
    assert line["better"] == "" and line["needed"] > 6


def test_the_verdict_says_where_seen_and_unseen_domains_disagree(both):
    verdict = compare(*both, SIXTY).verdict
    assert verdict.startswith("a is better than b: by ")
    assert "on seen and" in verdict
    assert "a better on icons; b better on mnist; not resolved on emoji" in verdict


def test_only_episodes_that_both_have_count():
    a, b = contender("a", {"icons": {0: 0.5, 2: 0.9}}), contender("b", {"icons": {1: 0.1, 2: 0.4, 3: 0.2}})
    line = compare(a, b, plan(icons=4, mnist=4)).domains.iloc[0]
    assert (line["n"], line["planned"], line["a_pct"], line["b_pct"]) == (1, 4, 90, 40)


def test_one_common_episode_makes_no_interval_and_resolves_nothing():
    result = compare(contender("a", {"icons": [0.9]}), contender("b", {"icons": [0.1]}), plan(icons=1))
    assert np.isnan(result.domains["ci95_pct"].iloc[0])
    assert result.groups["better"].tolist() == ["", ""]
    assert "Neither is shown to be better" in result.verdict


def test_equal_results_are_no_difference():
    same = {"icons": [0.5, 0.6, 0.7]}
    line = compare(contender("a", same), contender("b", same), plan(icons=3)).domains.iloc[0]
    assert (line["wilcoxon_p"], line["sign_p"], line["ties"], line["better"]) == (1, 1, 3, "")
    assert np.isnan(line["needed"])


def test_no_common_episode_is_an_error_that_names_both():
    with pytest.raises(LeaderboardError, match="a @ net and b @ net have no episode in common"):
        compare(contender("a", {"icons": [0.5]}), contender("b", {"mnist": [0.5]}), plan(icons=1, mnist=1))


def test_a_contaminated_domain_counts_in_the_mean_over_all_only(both):
    a, b = both
    tainted = contender("a", {d: part["accuracy"] for d, part in a.rows.groupby("domain")}, contaminated=["icons"])
    groups = compare(tainted, b, SIXTY).groups.set_index("group")["domains"].to_dict()
    assert groups == {"unseen": 2, "all": 3}


def test_holm_counts_only_the_domains_that_are_compared(both):
    line = compare(*both, SIXTY, ["emoji"]).domains.iloc[0]
    assert line["wilcoxon_holm"] == line["wilcoxon_p"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30))
def test_the_other_way_round_everything_changes_its_sign_and_nothing_else(pairs):
    one, other = ([pair[i] / 20 for pair in pairs] for i in (0, 1))
    a, b = contender("a", {"icons": one}), contender("b", {"icons": other})
    there = compare(a, b, plan(icons=len(pairs))).domains.iloc[0]
    back = compare(b, a, plan(icons=len(pairs))).domains.iloc[0]
    assert there["diff_pct"] == -back["diff_pct"]
    assert (there["wins"], there["losses"]) == (back["losses"], back["wins"])
    assert there["better"] == {"a": "b", "b": "a", "": ""}[back["better"]]
    for column in ("wilcoxon_p", "sign_p", "ci95_pct", "needed"):
        assert there[column] == pytest.approx(back[column], nan_ok=True)


def test_rows_in_another_order_compare_the_same(both):
    a, b = both
    b.rows.index = range(len(b.rows))
    mixed = contender("b", {})
    object.__setattr__(mixed, "rows", b.rows.sample(frac=1, random_state=1))
    assert as_json(compare(a, mixed, SIXTY)) == as_json(compare(a, b, SIXTY))


def test_the_json_holds_null_for_what_is_not_known():
    result = compare(contender("a", {"icons": [0.9]}), contender("b", {"icons": [0.1]}), plan(icons=1, mnist=1))
    text = json.loads(json.dumps(as_json(result), allow_nan=False))
    assert [line["n"] for line in text["domains"]] == [1, 0]
    assert text["domains"][1]["diff_pct"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits_its_width_and_cuts_nothing(both, width):
    console = Console(width=width, record=True, file=io.StringIO())
    for part in render(compare(*both, SIXTY), width=width):
        console.print(part)
    text = console.export_text()
    assert "…" not in text
    assert "icons" in text and "won/tied/lost" in text
    assert ("sign" in text) == (width == 120)


def test_other_backbones_are_named_and_a_common_one_is_not():
    values = {"icons": [0.5, 0.6]}
    result = compare(contender("url", values), contender("url", values, label="net bfloat16"), plan(icons=2))
    assert (result.a, result.b, result.backbone) == ("url @ net", "url @ net bfloat16", "")
