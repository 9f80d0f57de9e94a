import pytest

from results.leaderboard import leaderboard, seen_states
from results.report.speed import scatter, seconds_in_words

SECONDS = {"ncc": 0.001, "url": 0.01, "copa": 0.1}


@pytest.fixture
def timed(rows):
    return rows.assign(wall_s=rows["method"].map(SECONDS))


def test_faster_is_further_left_and_better_higher_up(timed, board):
    dots = {dot.name: dot for dot in scatter(timed, board).dots}
    assert dots["ncc"].x < dots["url"].x < dots["copa"].x
    assert dots["copa"].y < dots["url"].y < dots["ncc"].y
    assert "at 10 ms per episode" in dots["url"].words


def test_the_front_leaves_out_a_method_that_another_beats_in_both(timed, board):
    slow = timed.assign(wall_s=timed["method"].map(SECONDS | {"ncc": 0.05}))
    figure = scatter(slow, board)
    dots = {dot.name: (dot.x, dot.y) for dot in figure.dots}
    assert figure.front == [dots["url"], dots["copa"]]


def test_a_domain_counts_once_however_long_its_episodes_take(timed, board):
    figure = scatter(timed.assign(wall_s=timed["domain"].map({"icons": 3.0, "mnist": 1.0, "sprites": 2.0})), board)
    assert all("at 2 s per episode" in dot.words for dot in figure.dots)


def test_without_a_complete_method_there_is_no_figure(timed, plan, without):
    alone = without(timed[timed["method"] == "ncc"], "ncc", "icons", 0)
    assert scatter(alone, leaderboard(alone, plan, seen_states(alone))) is None


@pytest.mark.parametrize(("seconds", "words"), [(0.00123, "1.23 ms"), (0.5, "500 ms"), (12.34, "12.3 s")])
def test_seconds_are_said_in_three_digits(seconds, words):
    assert seconds_in_words(seconds) == words
