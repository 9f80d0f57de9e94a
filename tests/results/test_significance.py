import json
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.errors import StatisticsError
from results.significance import (
    episodes_needed,
    friedman,
    holm,
    nemenyi_cd,
    sign_test_p,
    wilcoxon_p,
    win_tie_loss,
)

DEMSAR = json.loads((Path(__file__).parents[1] / "golden" / "demsar_2006_table_6.json").read_text())
AUC = pd.DataFrame.from_dict(DEMSAR["auc"], orient="index", columns=DEMSAR["methods"])
P_VALUES = st.lists(st.floats(0, 1), max_size=12)
ACCURACIES = st.lists(st.integers(0, 50), min_size=2, max_size=40).map(lambda correct: np.array(correct) / 50)


def every_sign(ranks):
    """Two-sided p of the signed-rank statistic over all signs of these ranks, by counting."""
    sums = np.array([np.dot(signs, ranks) for signs in product([-1, 1], repeat=len(ranks))])
    return lambda observed: np.mean(np.abs(sums) >= abs(observed) - 1e-9)


def test_wilcoxon_without_ties_counts_all_signs():
    differences = np.array([0.3, -0.1, 0.45, 0.2, 0.6, -0.05, 0.7])
    ranks = stats.rankdata(np.abs(differences))
    assert wilcoxon_p(differences, np.zeros(7)) == pytest.approx(every_sign(ranks)(np.sign(differences) @ ranks))


def test_wilcoxon_on_demsars_example_is_significant_as_he_says():
    assert 0.005 < wilcoxon_p(AUC["C4.5+m"], AUC["C4.5"]) < 0.05


def test_draws_keep_their_places_among_the_ranks():
    differences = np.array([0.0, 0.0, 0.0, 0.1, -0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    ranks = stats.rankdata(np.abs(differences))[3:]
    expected = every_sign(ranks)(np.sign(differences[3:]) @ ranks)
    assert wilcoxon_p(differences, np.zeros(10)) == pytest.approx(expected, abs=1e-12)


def test_equal_steps_are_ties_whatever_the_floating_point_makes_of_them():
    steps = np.array([0.3, 0.7, 0.2, 0.9]), np.array([0.2, 0.6, 0.1, 1.0])
    assert len(set(np.abs(steps[0] - steps[1]))) > 1
    assert wilcoxon_p(*steps) == wilcoxon_p([2, 2, 2, 0], [1, 1, 1, 1])


@pytest.mark.parametrize("test", [wilcoxon_p, sign_test_p])
def test_methods_that_always_agree_do_not_differ(test):
    assert test([0.2, 0.4, 0.6], [0.2, 0.4, 0.6]) == 1.0


@pytest.mark.parametrize("test", [wilcoxon_p, sign_test_p])
@settings(max_examples=25)  # up to 13 pairs, all signs are counted
@given(ACCURACIES)
def test_paired_tests_are_symmetric(test, values):
    other = values[::-1]
    assert test(values, other) == pytest.approx(test(other, values))
    assert 0 <= test(values, other) <= 1


@pytest.mark.parametrize(("wins", "losses", "ties"), [(9, 1, 0), (9, 1, 5), (10, 10, 1), (0, 6, 2)])
def test_sign_test_is_the_binomial_tail_without_draws(wins, losses, ties):
    n, rarer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(rarer + 1)) / 2**n
    a = [1.0] * wins + [0.0] * losses + [0.5] * ties
    b = [0.0] * wins + [1.0] * losses + [0.5] * ties
    assert sign_test_p(a, b) == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize("test", [wilcoxon_p, sign_test_p])
def test_unusable_pairs_are_named(test):
    with pytest.raises(StatisticsError, match="same episodes, got 2 and 3"):
        test([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(StatisticsError, match="pair 1 is not a finite number"):
        test([0.1, float("nan")], [0.1, 0.2])
    with pytest.raises(StatisticsError, match="same episodes, got 0 and 0"):
        test([], [])


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5]) == pytest.approx([0.5])
    assert holm([]).shape == (0,)
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_lies_between_nothing_and_bonferroni_in_any_order(values, random):
    p = np.array(values, dtype=float)
    adjusted = holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, p * max(1, len(p)))).all()
    order = random.sample(range(len(p)), len(p))
    assert holm(p[order]) == pytest.approx(adjusted[order])


@pytest.mark.parametrize(("bad", "what"), [([0.1, np.nan], "p value 1 is not"), ([0.1, 1.5], "got 1.5")])
def test_what_is_no_p_value_is_refused(bad, what):
    with pytest.raises(StatisticsError, match=what):
        holm(bad)


def test_friedman_reproduces_demsars_ranks_and_statistic():
    found = friedman(AUC)
    assert found.average_ranks.to_dict() == pytest.approx(
        dict(zip(DEMSAR["methods"], DEMSAR["average_ranks"], strict=True)), abs=5e-4
    )
    ties = 1 - (60 + 3 * 6) / (14 * 60)  # one block of four equal values, three with a pair: sum of t^3 - t
    assert found.statistic * ties == pytest.approx(DEMSAR["friedman_without_ties"], abs=5e-3)


def test_friedman_equals_scipys():
    expected = stats.friedmanchisquare(*AUC.to_numpy().T)
    assert friedman(AUC)[:2] == pytest.approx(tuple(expected))


def test_two_methods_are_compared_by_the_sign_of_each_block():
    table = pd.DataFrame({"a": [3.0, 3, 3, 1], "b": [2.0, 2, 2, 2]})
    assert friedman(table).statistic == pytest.approx((3 - 1) ** 2 / 4)
    assert friedman(table).average_ranks.to_dict() == {"a": 1.25, "b": 1.75}


def test_one_block_and_nothing_but_ties_have_no_evidence():
    assert friedman(pd.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]})).p > 0.1
    tied = friedman(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))
    assert (tied.statistic, tied.p) == (0.0, 1.0)


def test_friedman_names_the_missing_cell():
    with pytest.raises(StatisticsError, match=r"'C4\.5\+m' on 'iris': no finite accuracy"):
        friedman(AUC.assign(**{"C4.5+m": AUC["C4.5+m"].where(AUC.index != "iris")}))
    with pytest.raises(StatisticsError, match="got 1 and 14"):
        friedman(AUC[["C4.5"]])


def test_critical_differences_are_demsars():
    for methods, quantile in DEMSAR["q_0.05"].items():
        k = int(methods)
        assert nemenyi_cd(k, 7) == pytest.approx(quantile * math.sqrt(k * (k + 1) / 42), rel=5e-4)
    assert nemenyi_cd(4, 14) == pytest.approx(DEMSAR["cd_0.05"], abs=5e-3)
    assert nemenyi_cd(4, 14, alpha=0.10) == pytest.approx(DEMSAR["cd_0.10"], abs=5e-3)
    with pytest.raises(StatisticsError, match="got 1, 14"):
        nemenyi_cd(1, 14)


def test_wins_ties_and_losses_are_counted_on_common_episodes_only():
    rows = pd.DataFrame(
        [("a", "icons", t, v) for t, v in enumerate([0.5, 0.6, 0.7, 0.8])]
        + [("b", "icons", t, v) for t, v in enumerate([0.5, 0.5, 0.8])]
        + [("a", "mnist", 0, 0.1), ("b", "mnist", 0, 0.2)],
        columns=["method", "domain", "task", "accuracy"],
    )
    found = win_tie_loss(rows).set_index(["method", "other", "domain"])
    assert found.loc["a", "b", "icons"].to_dict() == {"wins": 1, "ties": 1, "losses": 1}
    assert found.loc["b", "a", "mnist"].to_dict() == {"wins": 1, "ties": 0, "losses": 0}
    assert len(found) == 4


@pytest.mark.parametrize(("effect", "episodes"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_episodes_needed_are_those_of_power_tables(effect, episodes):
    differences = effect + np.array([-1.0, 1.0]) / math.sqrt(2)  # standard deviation 1
    assert episodes_needed(differences) == episodes


def test_more_power_takes_more_episodes_and_no_difference_has_no_number():
    differences = np.random.default_rng(0).normal(0.1, 1, 100)
    assert episodes_needed(differences, power=0.9) > episodes_needed(differences)
    assert episodes_needed(-differences) == episodes_needed(differences)
    assert episodes_needed([0.0, 0.0]) is None
    assert episodes_needed([-0.1, 0.1]) is None
    with pytest.raises(StatisticsError, match="two episodes"):
        episodes_needed([0.1])
