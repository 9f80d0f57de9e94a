import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benches.coverage import World, coverage, draw
from results.data_interval import class_design, data_interval, disjoint_ci95
from results.errors import StatisticsError
from results.stats import mean_ci95

SEEDS = st.integers(0, 2**32 - 1)
WORLDS = st.sampled_from(
    [World(8, way=4, episodes=12), World(12, way=1, episodes=40), World(30, way=5, episodes=20), World(40, episodes=60)]
)


def drawn(world, seed=0):
    return draw(world, np.random.default_rng(seed))


@pytest.mark.parametrize(("classes", "way"), [(30, None), (50, 5), (100, None)])
def test_the_interval_holds_the_mean_of_all_classes_in_95_of_100_draws(classes, way):
    found = coverage(World(classes, way=way), repeats=150, seed=1)
    assert 91.5 <= found.data_pct <= 98.5  # two standard errors of 150 draws
    assert found.episodes_pct < 60
    assert found.claimed_pct > 95


def test_few_classes_are_corrected_for_but_not_claimed():
    found = coverage(World(10), repeats=150, seed=1)
    assert 90 <= found.data_pct <= 99
    assert found.claimed_pct == 0


def test_weak_effects_of_classes_give_a_cautious_interval():
    found = coverage(World(30, of_classes=1.0, of_images=1.0), repeats=100, seed=1)
    assert found.data_pct >= 94
    assert found.claimed_pct < 5


@settings(max_examples=20)
@given(WORLDS, SEEDS)
def test_counting_the_data_never_narrows_an_interval(world, seed):
    accuracies, classes = drawn(world, seed)
    found = data_interval(accuracies, class_design(classes))
    assert found.ci95_data >= mean_ci95(accuracies)[1]


@settings(max_examples=20)
@given(WORLDS, SEEDS, st.floats(-50, 50), st.floats(0.01, 100))
def test_the_interval_has_the_unit_of_the_values_and_no_order(world, seed, shift, scale):
    accuracies, classes = drawn(world, seed)
    first = data_interval(accuracies, class_design(classes))
    order = np.random.default_rng(seed).permutation(len(accuracies))
    renamed = [[f"class {-c}" for c in classes[i]][::-1] for i in order]
    again = data_interval(scale * accuracies[order] + shift, class_design(renamed))
    assert again.ci95_data == pytest.approx(scale * first.ci95_data, rel=1e-5)


def test_without_noise_the_spread_of_the_classes_is_found():
    world = World(60, of_noise=0.0, of_images=0.0)
    found = [data_interval(a, class_design(c)).class_sd ** 2 for a, c in (drawn(world, seed) for seed in range(20))]
    assert np.mean(found) == pytest.approx(world.of_classes**2, rel=0.15)


def test_noise_alone_is_not_taken_for_classes():
    worlds = (drawn(World(60, way=5, of_classes=0.0, of_images=0.0), seed) for seed in range(20))
    found = [data_interval(accuracies, class_design(classes)).class_sd ** 2 for accuracies, classes in worlds]
    assert np.mean(found) < 0.5 * World(60).of_noise ** 2


def test_what_the_way_does_to_accuracy_is_no_effect_of_classes():
    _, classes = drawn(World(40))
    ways = np.array([len(ids) for ids in classes])
    assert data_interval(90 - 10 * np.log(ways), class_design(classes)).class_sd == pytest.approx(0, abs=1e-4)


def test_overlap_is_the_mean_share_that_two_episodes_have_in_common():
    classes = [[1, 2, 3], [2, 3, 4, 5], [5, 6]]
    shares = [(0, 1, 2 / 12), (0, 2, 0), (1, 2, 1 / 8)]
    assert class_design(classes).overlap == pytest.approx(sum(share for *_, share in shares) / 3)


def test_families_of_like_classes_widen_the_interval():
    rng = np.random.default_rng(0)
    family = np.arange(60) // 3
    narrow, wide = [], []
    for _ in range(10):
        effects = rng.normal(0, 12, 20)[family]
        classes = [rng.choice(60, 5, replace=False) for _ in range(300)]
        values = [70 + effects[ids].mean() + rng.normal(0, 3) for ids in classes]
        narrow.append(data_interval(values, class_design(classes)).ci95_data)
        wide.append(data_interval(values, class_design([family[ids] for ids in classes])).ci95_data)
    assert np.mean(wide) > 1.4 * np.mean(narrow)  # sqrt(3), had the families been of endless number


@pytest.mark.parametrize("classes", [[[1, 2]] * 9, [[1]] * 9, [[1, 2], [1, 3]]])
def test_where_nothing_tells_classes_apart_there_is_no_interval(classes):
    values = np.linspace(40, 60, len(classes))
    assert np.isnan(data_interval(values, class_design(classes)).ci95_data)


def test_equal_values_have_an_interval_of_zero():
    _, classes = drawn(World(30, way=5, episodes=50))
    assert data_interval(np.full(50, 99.0), class_design(classes)).ci95_data == pytest.approx(0, abs=1e-9)


def test_unusable_input_is_named():
    design = class_design([[1, 2], [2, 3], [1, 3], [4, 5]])
    with pytest.raises(StatisticsError, match=r"4 episodes .* shape \(3,\)"):
        data_interval([1, 2, 3], design)
    with pytest.raises(StatisticsError, match="episode 2 is not a finite number"):
        data_interval([1, 2, np.nan, 3], design)
    with pytest.raises(StatisticsError, match="a class or more in each"):
        class_design([[1, 2], []])


def test_disjoint_episodes_are_those_without_an_image_of_an_earlier_one():
    mean, ci95, episodes = disjoint_ci95([10, 20, 40, 70], [[1, 2], [2, 3], [3, 4], [5]])
    assert episodes == 3  # the second shares image 2 with the first; the third shares 3 with the second, not used
    assert mean == pytest.approx(40)
    assert ci95 == pytest.approx(4.302653 * 30 / np.sqrt(3))


def test_one_disjoint_episode_has_no_interval():
    mean, ci95, episodes = disjoint_ci95([10, 20], [[1, 2], [2, 3]])
    assert (mean, episodes) == (10.0, 1)
    assert np.isnan(ci95)
    with pytest.raises(StatisticsError, match="2 episodes have images"):
        disjoint_ci95([10], [[1], [2]])
