import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.report.differences import MARGIN, STEPS
from results.report.scale import linear, logarithmic, nice_step, snug, spread

spans = st.tuples(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4)).map(lambda each: (each[0], each[0] + each[1]))


@given(spans)
def test_a_linear_axis_holds_its_values_and_ends_on_ticks(span):
    axis = linear(*span, 0.0, 100.0)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low <= span[0] + slack
    assert axis.high >= span[1] - slack
    assert (axis.ticks[0].at, axis.ticks[-1].at) == (pytest.approx(0), pytest.approx(100))
    assert 2 <= len(axis.ticks) <= 8


@pytest.mark.parametrize("value", [0.0, 82.3, 100.0])
def test_equal_values_lie_inside_a_linear_axis_whose_ticks_differ(value):
    axis = linear(value, value, 0.0, 100.0)
    assert 0 < axis.at(value) < 100
    assert len({tick.label for tick in axis.ticks}) == len(axis.ticks) >= 2


@given(st.floats(-50, 0), st.floats(0.01, 50))
def test_beside_zero_a_forest_has_at_least_one_more_mark(low, length):
    axis = snug(low, max(low + length, 0.0), 0.0, 100.0, most=STEPS, margin=MARGIN)
    labels = [tick.label for tick in axis.ticks]
    assert "0" in labels
    assert 2 <= len(labels) <= 7


@given(spans, st.integers(2, 8))
def test_a_step_is_one_two_or_five_times_a_power_of_ten_and_not_too_small(span, most):
    step = nice_step(*span, most)
    leading = step / 10 ** math.floor(math.log10(step * (1 + 1e-9)))
    assert min(abs(leading - nice) for nice in (1, 2, 5)) < 1e-6
    assert (span[1] - span[0]) / step <= most * (1 + 1e-6)


def test_a_snug_axis_marks_round_values_inside_alone():
    axis = snug(-3.0, 8.0, 0.0, 110.0, most=4, margin=0.0)
    assert [(round(tick.at, 6), tick.label) for tick in axis.ticks] == [(30.0, "0"), (80.0, "5")]


def test_negative_ticks_have_a_minus_sign():
    assert snug(-6.0, 0.0, 0.0, 1.0, most=3, margin=0.1).ticks[0].label == "−6"


def test_equal_ratios_are_equally_long_on_a_logarithmic_axis():
    axis = logarithmic(0.001, 10.0, 0.0, 100.0)
    assert axis.at(0.1) - axis.at(0.01) == pytest.approx(axis.at(10) - axis.at(1))
    assert [tick.label for tick in axis.ticks] == ["0.001", "0.01", "0.1", "1", "10"]


def test_a_logarithmic_axis_of_one_value_has_room_on_both_sides():
    axis = logarithmic(3.0, 3.0, 0.0, 100.0)
    assert axis.at(3.0) == pytest.approx(50)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=7))
def test_labels_keep_their_order_and_distance_and_stay_inside(wanted):
    placed = spread(wanted, 14.0, 0.0, 100.0)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in placed)
    in_order = sorted(zip(wanted, placed, strict=True))
    assert all(b[1] - a[1] >= 14 - 1e-9 for a, b in itertools.pairwise(in_order) if a[0] < b[0])
    gaps = sorted(placed)
    assert all(b - a >= 14 - 1e-9 for a, b in itertools.pairwise(gaps))


def test_labels_that_are_far_apart_stay_where_they_are():
    assert spread([80.0, 10.0, 40.0], 14.0, 0.0, 100.0) == [80.0, 10.0, 40.0]
