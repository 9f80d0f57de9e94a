from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from results.errors import StatisticsError
from results.seeds import cells_of_seeds, over_seeds, same_but_for_seed, seeds_ci95
from results.stats import mean_ci95


def cells_of(*accuracies, method="url", domain="icons"):
    return pd.DataFrame(
        {
            "method": method,
            "domain": domain,
            "seed": range(len(accuracies)),
            "accuracies": [np.array(values, float) for values in accuracies],
        }
    )


def test_episodes_of_all_seeds_are_pooled():
    line = over_seeds(cells_of([50, 60], [70, 80], [10, 30])).iloc[0]
    assert (line["mean_pct"], line["ci95_pct"]) == pytest.approx(mean_ci95([50, 60, 70, 80, 10, 30]))
    assert (line["seeds"], line["n"]) == (3, 6)


def test_the_interval_over_seeds_is_students():
    line = over_seeds(cells_of([50, 60], [70, 80], [10, 30])).iloc[0]
    assert line["ci95_seeds_pct"] == pytest.approx(4.302653 * np.std([55, 75, 20], ddof=1) / np.sqrt(3))


def test_one_seed_has_no_interval_over_seeds():
    assert np.isnan(over_seeds(cells_of([50, 60])).iloc[0]["ci95_seeds_pct"])


def test_the_interval_over_seeds_holds_the_mean_in_95_of_100_draws():
    rng = np.random.default_rng(0)
    held = [abs(means.mean()) <= seeds_ci95(means) for means in rng.normal(0, 1, (2000, 3))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


def test_methods_and_domains_are_kept_apart():
    cells = pd.concat([cells_of([50], [60]), cells_of([10], [20], domain="mnist"), cells_of([1], [2], method="ncc")])
    found = over_seeds(cells).set_index(["method", "domain"])["mean_pct"]
    assert found.to_dict() == {("url", "icons"): 55, ("url", "mnist"): 15, ("ncc", "icons"): 1.5}


def test_seeds_of_different_weight_and_repeated_seeds_are_refused():
    with pytest.raises(StatisticsError, match="'url' on 'icons': seeds have 1 and 2 episodes"):
        over_seeds(cells_of([50], [60, 70]))
    with pytest.raises(StatisticsError, match="seed 0 is given twice"):
        over_seeds(cells_of([50], [60]).assign(seed=0))
    with pytest.raises(StatisticsError, match="mean of seed 1"):
        seeds_ci95([1.0, np.nan])


def test_plans_must_differ_in_their_seed_only(make_plan):
    first = make_plan(icons=4, mnist=4)
    same_but_for_seed([first, replace(first, seed=1), replace(first, seed=7)])
    for change, what in [
        ({"tasks": 9}, "tasks"),
        ({"split": "valid"}, "split"),
        ({"domains": {"icons": 4}}, "domains"),
    ]:
        with pytest.raises(StatisticsError, match=what):
            same_but_for_seed([first, replace(first, seed=1, **change)])
    with pytest.raises(StatisticsError, match="two plans have seed 0"):
        same_but_for_seed([first, first])


def test_cells_that_a_seed_lacks_are_left_out(make_plan, make_frame):
    first = make_plan(icons=2, mnist=2)
    whole = make_frame({"url": {"icons": [0.5, 0.6], "mnist": [0.1, 0.2]}})
    short = make_frame({"url": {"icons": [0.7, 0.8], "mnist": [0.1]}, "ncc": {"icons": [0.1, 0.2]}})
    cells = cells_of_seeds([(first, whole), (replace(first, seed=1), short)])
    assert cells[["method", "domain", "seed"]].to_numpy().tolist() == [["url", "icons", 0], ["url", "icons", 1]]
    assert over_seeds(cells).iloc[0]["mean_pct"] == pytest.approx(65)
