import itertools

import numpy as np
import pytest

from results.report.aligned import align
from results.report.curves import FEWEST_EPISODES, binned, charts, edges_of
from results.stats import mean_ci95


def test_a_bin_holds_the_mean_and_interval_of_its_episodes():
    ways = np.repeat([5.0, 9.0, 10.0], FEWEST_EPISODES)
    accuracy = np.random.default_rng(0).uniform(0, 100, (len(ways), 2))
    first, second = binned(ways, accuracy, [5, 10, 15])
    assert (first.episodes, first.x) == (2 * FEWEST_EPISODES, 7.0)
    assert first.accuracies[1] == mean_ci95(accuracy[ways < 10, 1])
    assert second.accuracies[0] == mean_ci95(accuracy[ways == 10, 0])


def test_a_bin_of_few_episodes_is_left_out():
    ways = np.array([5.0] * FEWEST_EPISODES + [12.0] * (FEWEST_EPISODES - 1))
    assert [each.low for each in binned(ways, np.zeros((len(ways), 1)), [5, 10, 15])] == [5]


@pytest.mark.parametrize(("figure", "values"), [("ways", [5, 9, 10, 50]), ("shots", [1, 1.5, 2, 7.9, 64])])
def test_every_value_is_in_exactly_one_bin(figure, values):
    edges = edges_of(np.array(values, float), figure)
    for value in values:
        assert sum(low <= value < high for low, high in itertools.pairwise(edges)) == 1


def test_ways_are_binned_by_fives_and_shots_by_doubling():
    assert edges_of(np.array([5, 14]), "ways") == [5, 10, 15]
    assert edges_of(np.array([1.0, 5.0]), "shots") == [1, 2, 4, 8]


@pytest.mark.parametrize("figure", ["ways", "shots"])
def test_there_is_a_chart_of_all_domains_and_one_of_each(episodes, figure):
    drawn = charts(episodes, figure)
    assert [chart.scope for chart in drawn] == [None, "icons", "mnist", "sprites"]
    assert {line.name for line in drawn[0].lines} == {"ncc", "url", "copa"}


def test_a_higher_accuracy_is_drawn_higher_up(episodes):
    ends = {line.name: line.points[-1].y for line in charts(episodes, "ways")[0].lines}
    assert ends["url"] < ends["ncc"]


def test_shots_are_support_images_per_class(episodes, rows):
    one = rows[(rows["domain"] == "mnist") & (rows["task"] == 3)].iloc[0]
    at = np.flatnonzero(episodes.of("mnist"))[3]
    assert episodes.shots[at] == one["n_support"] / one["way"]


def test_a_method_that_lacks_an_episode_is_drawn_where_it_is_complete_alone(rows, plan, without):
    partial = align(without(rows, "url", "mnist", 7), plan, ["ncc", "url", "copa"])
    names = {chart.scope: {line.name for line in chart.lines} for chart in charts(partial, "shots")}
    assert names[None] == names["mnist"] == {"ncc", "copa"}
    assert names["icons"] == {"ncc", "url", "copa"}


def test_episodes_of_one_way_make_no_chart_but_a_sentence(rows, plan):
    fixed = align(rows.assign(way=5), plan, ["ncc", "url", "copa"])
    chart = charts(fixed, "ways")[0]
    assert not chart.lines
    assert "Every episode has 5 ways" in chart.why


def test_one_domain_alone_has_one_chart(rows, make_plan):
    of_icons = rows[rows["domain"] == "icons"]
    assert len(charts(align(of_icons, make_plan(icons=60), ["ncc", "url"]), "ways")) == 1
