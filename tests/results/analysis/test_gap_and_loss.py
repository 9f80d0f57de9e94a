import numpy as np
import pytest

from results.analysis.gap import gap_norm
from results.analysis.gap_and_loss import SCALE, SHIFTS, cross_entropy, gap_and_loss
from results.analysis.vectors import class_means, unit


@pytest.fixture
def two_heads(random_task):
    """Images, prototypes that went through a head of their own, queries and their labels."""
    z, labels = random_task(5, d=6)
    c = class_means(z, labels) + np.array([1.0, 0, 0, 0, 0, 0])
    return z, c, z + 0.3, labels


def test_at_shift_zero_nothing_has_moved(two_heads):
    z, c, queries, labels = two_heads
    found = gap_and_loss(z, c, queries, labels, shifts=[0.0])
    assert found["gap"].item() == pytest.approx(gap_norm(z, c))
    assert found["loss"].item() == pytest.approx(cross_entropy(SCALE * unit(queries) @ unit(c).T, labels))


def test_the_gap_closes_at_minus_its_length_and_opens_with_the_shift(two_heads):
    z, c, queries, labels = two_heads
    before = gap_norm(z, c)
    found = gap_and_loss(z, c, queries, labels, shifts=[-before, -before / 2, 0.0, 0.5, 1.0, 2.0])
    assert found["gap"].iloc[1:].is_monotonic_increasing
    assert found["gap"].iloc[0] < 0.3 * before
    assert found["gap"].iloc[-1] > 1.2
    assert found["along"].is_monotonic_increasing


def test_past_each_other_the_gap_is_wide_again_on_the_other_side(two_heads):
    z, c, queries, labels = two_heads
    found = gap_and_loss(z, c, queries, labels, shifts=[-2.0])
    assert found["gap"].item() > 0.5
    assert found["along"].item() < -0.5


def test_without_a_gap_there_is_no_direction_to_move_in(random_task):
    z, labels = random_task(6, equal_shots=1)
    found = gap_and_loss(z, class_means(z, labels), z, labels).set_index("shift")
    assert found.index.tolist() == [*SHIFTS]
    assert found.loc[0.0].notna().all()
    assert found.drop(0.0).isna().all(axis=None)


def test_cross_entropy_of_even_and_of_sure_scores():
    assert cross_entropy(np.zeros((3, 4)), [0, 1, 3]) == pytest.approx(np.log(4))
    assert cross_entropy([[0.0, 1000.0]], [1]) == 0
    assert cross_entropy([[0.0, 1000.0]], [0]) == 1000
