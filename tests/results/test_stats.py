import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import StatisticsError
from results.stats import Running, mean_ci95, paired_difference

ACCURACIES = st.lists(st.floats(0, 100), min_size=1, max_size=50)


def test_interval_is_1_96_population_standard_errors():
    mean, ci95 = mean_ci95([0.0, 1.0, 1.0, 0.0])
    assert mean == 0.5
    assert ci95 == pytest.approx(1.96 * 0.5 / 2, rel=1e-15)


def test_result_is_plain_floats_in_the_unit_of_the_input():
    fraction, percent = mean_ci95([0.2, 0.4, 0.9]), mean_ci95(np.array([20, 40, 90]))
    assert [type(value) for value in percent] == [float, float]
    assert percent == pytest.approx([100 * value for value in fraction])


def test_one_episode_has_an_interval_of_zero():
    assert mean_ci95([0.7]) == (0.7, 0.0)


@given(ACCURACIES)
def test_order_of_episodes_changes_nothing(values):
    assert mean_ci95(values) == pytest.approx(mean_ci95(sorted(values)), abs=1e-9)


@given(ACCURACIES, st.floats(-5, 5))
def test_a_constant_gain_is_found_without_doubt(values, gain):
    difference, ci95 = paired_difference(np.array(values) + gain, values)
    assert difference == pytest.approx(gain, abs=1e-9)
    assert ci95 == pytest.approx(0, abs=1e-9)


@given(ACCURACIES)
def test_swapping_the_methods_turns_the_sign(values):
    other = values[::-1]
    forward, backward = paired_difference(values, other), paired_difference(other, values)
    assert forward == pytest.approx((-backward[0], backward[1]), abs=1e-9)


@pytest.mark.parametrize("bad", [[], 0.5, [[0.1, 0.2]]])
def test_anything_but_one_value_per_episode_is_refused(bad):
    with pytest.raises(StatisticsError, match="one value per episode"):
        mean_ci95(bad)


def test_a_missing_number_is_refused_with_its_episode():
    with pytest.raises(StatisticsError, match="episode 2 is not a finite number"):
        mean_ci95([0.1, 0.2, float("nan"), 0.4])


def test_pairs_of_different_length_are_refused():
    with pytest.raises(StatisticsError, match="same episodes, got 2 and 3"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


@given(parts=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), min_size=1, max_size=10))
def test_values_that_come_by_and_by_have_the_same_mean_and_interval(parts):
    running = Running()
    for part in parts:
        running.add(part)
    values = np.concatenate(parts)
    assert running.count == len(values)
    assert running.mean_ci95() == pytest.approx(mean_ci95(values), rel=1e-9, abs=1e-6)


def test_nothing_has_no_running_mean():
    with pytest.raises(StatisticsError, match="at least one"):
        Running().mean_ci95()
