"""Alignment, uniformity, NEMD, clusters and spectra, against plain sums and clouds whose answer is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from results.analysis.alignment import alignment, prototype_statistics, uniformity
from results.analysis.clusters import davies_bouldin
from results.analysis.nemd import nemd
from results.analysis.spectra import effective_rank, spectrum
from results.analysis.vectors import unit

SEEDS = st.integers(0, 10**6)


def coagulated(sigma, d=16, way=10, n=60, seed=0):
    """Clouds on the sphere around random prototypes; sigma None: all of it evenly."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(way), n)
    if sigma is None:
        return unit(rng.normal(size=(way * n, d))), labels
    centres = unit(rng.normal(size=(way, d)))
    return unit(centres[labels] + sigma / np.sqrt(d) * rng.normal(size=(way * n, d))), labels


@given(seed=SEEDS)
def test_alignment_and_uniformity_are_the_sums_over_pairs(random_task, seed):
    z, labels = random_task(seed)
    points = unit(z)
    squares = {(i, j): np.sum((points[i] - points[j]) ** 2) for i, j in itertools.combinations(range(len(z)), 2)}
    expected = np.log(np.mean([np.exp(-2 * square) for square in squares.values()]))
    assert uniformity(z) == pytest.approx(expected)
    own = [square for (i, j), square in squares.items() if labels[i] == labels[j]]
    assert alignment(z, labels) == pytest.approx(np.mean(own), nan_ok=True) if own else np.isnan(alignment(z, labels))
    if own:
        assert alignment(z, labels, alpha=1) == pytest.approx(np.mean(np.sqrt(own)))


def test_one_point_is_perfectly_aligned_and_not_uniform_at_all():
    z = np.ones((6, 4))
    assert alignment(z, [0, 0, 0, 1, 1, 1]) == 0
    assert uniformity(z) == 0
    assert np.isnan(uniformity(z[:1]))
    assert np.isnan(alignment(z[:2], [0, 1]))


def test_an_even_cloud_is_more_uniform_than_any_other():
    values = [uniformity(coagulated(sigma)[0]) for sigma in (None, 1.0, 0.3, 0.01)]
    assert values == sorted(values)


def test_a_simplex_of_prototypes_has_one_cosine_and_its_diagonal_does_not_count():
    simplex = np.eye(5) - 1 / 5
    found = prototype_statistics(simplex)
    assert found.max_cos == pytest.approx(-1 / 4)
    assert found.min_cos == pytest.approx(found.mean_cos) == pytest.approx(-1 / 4)
    assert found.mean_angle == pytest.approx(np.arccos(-1 / 4))
    assert found.uniformity == pytest.approx(-2 * (2 + 2 / 4))


def test_a_cross_polytope_of_prototypes_has_the_cosines_0_and_minus_1():
    found = prototype_statistics(np.vstack([np.eye(4), -np.eye(4)]))
    assert found[:3] == pytest.approx((0, -1, -1 / 7))
    assert all(np.isnan(prototype_statistics(np.eye(4)[:1])))


def test_nemd_is_the_mean_distance_in_the_cheapest_matching():
    angles = np.array([0.0, 0.1, 0.5, 0.65])
    z, labels = np.stack([np.cos(angles), np.sin(angles)], 1), np.array([0, 0, 1, 1])
    chord = [2 * np.sin(each / 2) for each in (0.5, 0.55, 0.65, 0.4)]
    found = nemd(3 * z, labels)
    assert found.nemd == pytest.approx(min((chord[0] + chord[1]) / 2, (chord[2] + chord[3]) / 2))
    assert found.n_pairs == 1
    assert found.ratio == pytest.approx(found.nemd / found.spread)


def test_on_a_tiny_arc_nemd_is_the_distance_of_scipy_in_one_dimension():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40) * 1e-5
    labels = np.repeat([0, 1], 20)
    found = nemd(np.stack([np.ones(40), x], 1), labels)
    assert found.nemd == pytest.approx(wasserstein_distance(x[:20], x[20:]), rel=1e-6)


def test_clouds_that_coagulate_have_a_higher_nemd_and_ratio_and_a_collapse_shows_in_the_rank():
    found = [nemd(*coagulated(sigma)) for sigma in (None, 1.0, 0.5, 0.1)]
    assert [each.nemd for each in found] == sorted(each.nemd for each in found)
    assert [each.ratio for each in found] == sorted(each.ratio for each in found)
    assert found[-1].nemd == pytest.approx(np.sqrt(2), abs=0.02)  # between random directions
    assert found[-1].ratio > 8 * found[0].ratio
    rng = np.random.default_rng(0)
    collapsed = nemd(np.ones(16) + 1e-3 * rng.normal(size=(600, 16)), coagulated(None)[1])
    assert collapsed.nemd < found[0].nemd
    assert collapsed.effective_rank < 1.3
    assert found[0].effective_rank > 15


def test_nemd_takes_so_many_pairs_at_most_and_always_the_same():
    z, labels = coagulated(1.0, n=5)
    few = nemd(z, labels, max_pairs=7, seed=3)
    assert few.n_pairs == 7
    assert few == nemd(z, labels, max_pairs=7, seed=3)
    assert few.nemd != nemd(z, labels, max_pairs=7, seed=4).nemd
    assert nemd(z, labels).n_pairs == 45


def test_without_a_pair_of_classes_or_without_spread_nemd_says_so():
    assert np.isnan(nemd(np.eye(3), [0, 0, 0]).nemd)
    assert np.isnan(nemd(np.eye(3), [0, 1, 2]).ratio)
    assert nemd(np.eye(3), [0, 1, 2]).nemd == pytest.approx(np.sqrt(2))


def test_tighter_clusters_have_a_lower_davies_bouldin_index():
    loose, tight = davies_bouldin(*coagulated(0.5)), davies_bouldin(*coagulated(0.1))
    assert 0 < tight < loose
    assert np.isnan(davies_bouldin(np.eye(3), [0, 1, 2]))
    assert np.isnan(davies_bouldin(np.eye(3), [0, 0, 0]))


def test_the_spectrum_of_a_cloud_of_known_variances():
    axes = np.diag([4.0, 2.0, 1.0, 0.0])
    found = spectrum(np.vstack([axes, -axes]) + 7)
    assert found.singular_values == pytest.approx([1, 1 / 2, 1 / 4, 0])
    assert found.explained == pytest.approx([16 / 21, 20 / 21, 1, 1])
    assert found.components_80 == 2


@given(seed=SEEDS)
def test_explained_variance_grows_to_one_and_few_points_span_few_directions(random_task, seed):
    z, _ = random_task(seed, d=12)
    found = spectrum(z)
    assert found.singular_values[0] == 1
    assert found.singular_values.shape == found.explained.shape == (12,)
    assert np.all(np.diff(found.explained) >= -1e-12)
    assert found.explained[-1] == pytest.approx(1)
    assert found.singular_values[len(z) - 1 :] == pytest.approx(np.zeros(12)[len(z) - 1 :], abs=1e-9)
    assert found.explained[found.components_80 - 1] >= 0.8
    assert 1 <= effective_rank(z) <= min(z.shape) + 1e-9


def test_one_point_has_no_spectrum_and_rank_one():
    found = spectrum(np.ones((4, 3)))
    assert found.components_80 == 0
    assert np.isnan(found.singular_values).all()
    assert effective_rank(np.ones((4, 3))) == pytest.approx(1)
    assert effective_rank(np.eye(5)) == pytest.approx(5)
