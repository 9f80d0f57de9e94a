import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.analysis.gap import gap_norm, gap_vector
from results.analysis.vectors import class_means, unit
from results.errors import AnalysisError

Z = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 4.0]])
LABELS = np.array([0, 1, 1])
MEANS = np.array([[2.0, 0.0], [0.0, 2.5]])


def test_the_gap_is_the_mean_image_minus_the_mean_prototype():
    assert gap_vector(Z, MEANS, normalize=False) == pytest.approx([2 / 3 - 1, 5 / 3 - 1.25])


def test_with_sample_weighting_a_prototype_counts_as_often_as_its_class_has_samples():
    c = MEANS + 1
    expected = Z.mean(0) - (c[0] + 2 * c[1]) / 3
    assert gap_vector(Z, c, normalize=False, weighting="sample", labels=LABELS) == pytest.approx(expected)


def test_normalised_images_and_prototypes_have_length_one_before_they_are_averaged():
    assert gap_vector(Z, MEANS) == pytest.approx([1 / 3 - 1 / 2, 2 / 3 - 1 / 2])
    assert gap_vector(Z, [[0.0, -9.0]]) == pytest.approx([1 / 3, 2 / 3 + 1])


def test_opposite_points_have_the_largest_gap_there_is():
    assert gap_norm([[1.0, 0.0]], [[-3.0, 0.0]]) == 2.0


@given(seed=st.integers(0, 10**6))
def test_class_means_leave_no_gap_when_samples_weigh_or_shots_are_equal(random_task, seed):
    z, labels = random_task(seed)
    plain = {"normalize": False, "weighting": "sample", "labels": labels}
    assert gap_norm(z, class_means(z, labels), **plain) < 1e-12
    z, labels = random_task(seed, equal_shots=3)
    assert gap_norm(z, class_means(z, labels), normalize=False) < 1e-12


def test_unequal_shots_and_unit_length_each_leave_a_gap(random_task):
    z, labels = random_task(1)
    assert len(set(np.bincount(labels).tolist())) > 1
    assert gap_norm(z, class_means(z, labels), normalize=False) > 0.01
    z, labels = random_task(1, equal_shots=3)
    assert gap_norm(z, class_means(z, labels)) > 0.01


def test_one_shot_of_every_class_leaves_no_gap_at_any_length(random_task):
    z, labels = random_task(2, equal_shots=1)
    assert gap_norm(z, class_means(z, labels)) < 1e-12


@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100))
def test_the_normalised_gap_is_at_most_two_and_blind_to_scale_and_rotation(random_task, seed, scale):
    z, labels = random_task(seed)
    c = np.random.default_rng(seed).normal(size=(labels.max() + 1, z.shape[1]))
    turn = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(8, 8)))[0]
    for weighting in ("class", "sample"):
        options = {"weighting": weighting, "labels": labels}
        gap = gap_norm(z, c, **options)
        assert 0 <= gap <= 2
        assert gap_norm(scale * z @ turn, scale * c @ turn, **options) == pytest.approx(gap, abs=1e-9)


def test_a_class_without_prototype_and_labels_of_another_length_are_refused():
    with pytest.raises(AnalysisError, match="needs the labels"):
        gap_norm(Z, MEANS, weighting="sample")
    with pytest.raises(AnalysisError, match="not those of 2 classes"):
        gap_norm(Z, MEANS, weighting="sample", labels=[0, 1, 2])
    with pytest.raises(AnalysisError, match="3 integers from 0"):
        gap_norm(Z, MEANS, weighting="sample", labels=[0, 1])
    with pytest.raises(AnalysisError, match="2 dimensions and prototypes of 1"):
        gap_norm(Z, [[1.0]])
    with pytest.raises(AnalysisError, match="NaN"):
        gap_norm([[np.nan]], [[1.0]])
    with pytest.raises(AnalysisError, match=r"\(n, d\)"):
        gap_norm(np.empty((0, 2)), MEANS)


def test_a_row_of_zeros_has_no_direction_and_stays():
    assert unit([[0.0, 0.0], [3.0, 4.0]]).tolist() == [[0, 0], [0.6, 0.8]]
