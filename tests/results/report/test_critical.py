import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.leaderboard import leaderboard, seen_states
from results.report.critical import cliques, diagram
from results.significance import nemenyi_cd


def test_a_bar_joins_methods_that_are_closer_than_the_critical_difference():
    assert cliques([1.0, 1.5, 3.0, 3.4], 1.0) == [(1.0, 1.5), (3.0, 3.4)]
    assert cliques([1.0, 2.0, 3.0], 1.0) == [(1.0, 2.0), (2.0, 3.0)]


def test_a_method_far_from_all_others_is_under_no_bar():
    assert cliques([1.0, 3.0, 5.0], 1.0) == []


@given(st.lists(st.floats(1, 20), min_size=2, max_size=12).map(sorted), st.floats(0.1, 10))
def test_two_methods_share_a_bar_exactly_when_their_ranks_are_close(ranks, cd):
    bars = cliques(ranks, cd)
    for i, low in enumerate(ranks):
        for high in ranks[i + 1 :]:
            assert any(a <= low and high <= b for a, b in bars) == (high - low <= cd)
    assert not any(a <= c and d <= b and (a, b) != (c, d) for a, b in bars for c, d in bars)


def test_the_diagram_shows_plain_average_ranks_and_nemenyis_difference(board):
    drawn = diagram(board)
    means = board.cells.pivot(index="domain", columns="method", values="mean_pct")
    expected = means.rank(axis=1, ascending=False).mean()
    assert {name.name: name.rank for name in drawn.names} == {name: f"{r:.2f}" for name, r in expected.items()}
    assert drawn.cd == pytest.approx(nemenyi_cd(3, 3))
    assert drawn.domains == 3


def test_a_method_that_is_not_complete_is_not_in_the_diagram(rows, plan, without):
    partial = without(rows, "copa", "mnist", 7)
    drawn = diagram(leaderboard(partial, plan, seen_states(partial)))
    assert {name.name for name in drawn.names} == {"ncc", "url"}


def test_a_domain_contaminated_for_some_methods_alone_is_left_out(rows, plan):
    marked = rows.assign(contaminated=(rows["domain"] == "mnist") & (rows["method"] == "url"))
    assert diagram(leaderboard(marked, plan, seen_states(marked))).domains == 2
    alike = rows.assign(contaminated=rows["domain"] == "mnist")
    assert diagram(leaderboard(alike, plan, seen_states(alike))).domains == 3


def test_one_method_or_one_domain_makes_no_diagram(rows, plan, make_plan):
    alone = rows[rows["method"] == "ncc"]
    assert diagram(leaderboard(alone, plan, seen_states(alone))) is None
    icons = rows[rows["domain"] == "icons"]
    assert diagram(leaderboard(icons, make_plan(icons=60), seen_states(icons))) is None
