"""The theorems hold in the forms of `results.analysis.bounds`, and not in others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.analysis.bounds import (
    contrastive_loss_bound,
    contrastive_loss_floor,
    ncc_loss_bound,
    shared_map_bounds,
)
from results.analysis.gap import gap_norm
from results.analysis.gap_and_loss import cross_entropy
from results.analysis.vectors import class_means, unit
from results.errors import AnalysisError

SEEDS = st.integers(0, 10**9)


def textbook_contrastive_loss(z, c, labels, tau):
    """The slides' equation 4, with n copies of prototypes and pseudo-labels 0 to n - 1."""
    scores = z @ c[labels].T / tau
    pseudo = np.arange(len(z))
    return cross_entropy(scores, pseudo) + cross_entropy(scores.T, pseudo)


@given(seed=SEEDS, scale=st.floats(0.01, 50))
def test_the_ncc_loss_is_never_below_theorem_3_1(random_task, seed, scale):
    z, labels = random_task(seed)
    for rows in (z, unit(z)):
        found = ncc_loss_bound(rows, labels, scale=scale)
        assert found.left == pytest.approx(cross_entropy(scale * rows @ class_means(rows, labels).T, labels))
        assert found.slack == found.left - found.right
        assert found.slack >= -1e-9 * max(1, abs(found.right))


def test_theorem_3_1_is_an_equality_when_the_scores_of_every_sample_are_equal(random_task):
    z, labels = random_task(3)
    same = np.repeat(z[:1], len(z), axis=0)
    found = ncc_loss_bound(same, labels)
    assert found.left == pytest.approx(np.log(labels.max() + 1))
    assert abs(found.slack) < 1e-12
    assert ncc_loss_bound(1e-4 * z, labels).slack == pytest.approx(0, abs=1e-6)


def test_theorem_3_1_is_not_empty_it_can_ask_for_more_than_zero(random_task):
    assert max(ncc_loss_bound(0.1 * random_task(seed)[0], random_task(seed)[1]).right for seed in range(50)) > 0.5


@given(seed=SEEDS)
def test_the_printed_right_side_of_theorem_3_1_is_never_above_zero(random_task, seed):
    z, labels = random_task(seed)
    z = unit(z)
    means, shots = class_means(z, labels), np.bincount(labels)
    alpha = 1 / (len(shots) * shots.max())
    printed = -np.mean(np.sum(z * means[labels], axis=1)) + alpha / len(z) * np.sum(z.sum(0) ** 2)
    assert printed <= 1e-12


@given(seed=SEEDS)
def test_a_shared_linear_map_moves_the_gap_within_theorem_3_2(random_task, seed):
    z, labels = random_task(seed)
    theta = np.random.default_rng(seed).normal(size=(8, 8))
    if len(set(np.bincount(labels).tolist())) == 1:
        return
    mapped = z @ theta
    lower, upper = shared_map_bounds(z, labels, theta)
    assert lower.left == upper.right
    assert lower.left == pytest.approx(gap_norm(mapped, class_means(mapped, labels), normalize=False) ** 2)
    assert min(lower.slack, upper.slack) >= -1e-9 * upper.left


def test_theorem_3_2_is_an_equality_for_a_map_into_one_dimension(random_task):
    z, labels = random_task(1)
    lower, upper = shared_map_bounds(z, labels, np.random.default_rng(0).normal(size=(8, 1)))
    assert lower.slack == pytest.approx(0, abs=1e-12)
    assert upper.slack == pytest.approx(0, abs=1e-12)
    assert lower.left > 1e-3


def test_theorem_3_2_fails_sometimes_with_rows_of_theta_or_unit_length_after_the_map(random_task):
    violations = {"columns": 0, "rows": 0, "unit": 0}
    for seed in range(400):
        z, labels = random_task(seed, d=2)
        if len(set(np.bincount(labels).tolist())) == 1:
            continue
        theta = np.random.default_rng(seed).normal(size=(2, 2))
        (after, least, _), (most, _, _) = shared_map_bounds(z, labels, theta)
        violations["columns"] += not least * (1 - 1e-9) <= after <= most * (1 + 1e-9)
        (_, least_rows, _), (most_rows, _, _) = shared_map_bounds(z, labels, theta.T)
        violations["rows"] += not least_rows <= after <= most_rows
        mapped = unit(z @ theta)
        after_unit = gap_norm(mapped, unit(class_means(mapped, labels))) ** 2
        violations["unit"] += not least <= after_unit <= most
    assert violations["columns"] == 0
    assert violations["rows"] > 0
    assert violations["unit"] > 0


def test_theorem_3_2_says_when_it_has_no_cosine_to_speak_of(random_task):
    z, labels = random_task(0, equal_shots=2)
    with pytest.raises(AnalysisError, match="equal shots"):
        shared_map_bounds(z, labels, np.eye(8))
    z, labels = random_task(1)
    with pytest.raises(AnalysisError, match="column of zeros"):
        shared_map_bounds(z, labels, np.diag([1.0] * 7 + [0.0]))


@given(seed=SEEDS, tau=st.floats(0.05, 20))
def test_the_contrastive_loss_is_never_below_theorem_5_1_nor_below_its_floor(random_task, seed, tau):
    z, labels = random_task(seed)
    c = np.random.default_rng(seed).normal(size=(labels.max() + 1, z.shape[1]))
    for images, prototypes in ((z, c), (unit(z), unit(c)), (z, class_means(z, labels))):
        bound = contrastive_loss_bound(images, prototypes, labels, tau=tau)
        floor = contrastive_loss_floor(images, prototypes, labels, tau=tau)
        assert bound.left == floor.left
        assert bound.left == pytest.approx(textbook_contrastive_loss(images, prototypes, labels, tau))
        assert min(bound.slack, floor.slack) >= -1e-9 * max(1, abs(bound.right))


def test_theorem_5_1_is_an_equality_when_all_scores_are_equal(random_task):
    z, labels = random_task(4)
    found = contrastive_loss_bound(z, np.zeros((labels.max() + 1, 8)), labels)
    assert found.left == pytest.approx(2 * np.log(len(z)))
    assert abs(found.slack) < 1e-12


def test_the_printed_theorem_5_1_has_at_least_two_log_n_of_slack(random_task):
    for seed in range(50):
        z, labels = random_task(seed)
        z = unit(z)
        n, c, shots = len(z), unit(class_means(z, labels)), np.bincount(labels)
        printed = -2 * np.mean(np.sum(z * c[labels], axis=1)) + 2 * (z @ c.T @ shots).sum() / n**2
        assert contrastive_loss_bound(z, c, labels).left - printed >= 2 * np.log(n) - 1e-9


def test_the_floor_is_reached_by_orthogonal_classes_at_a_low_temperature():
    labels = np.array([0, 0, 0, 1, 2, 2])
    z, c = np.eye(3)[labels], np.eye(3)
    found = contrastive_loss_floor(z, c, labels, tau=1e-3)
    assert found.right == pytest.approx(2 * (3 * np.log(3) + 2 * np.log(2)) / 6)
    assert abs(found.slack) < 1e-12
