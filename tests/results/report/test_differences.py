import numpy as np
import pytest

from results.leaderboard import leaderboard, paired, seen_states
from results.report.aligned import align
from results.report.differences import every_pair, panels


@pytest.mark.parametrize("baseline", ["ncc", "url"])
def test_every_pair_agrees_with_the_leaderboards_differences(rows, plan, board, episodes, baseline):
    pairs, names = every_pair(episodes, board), list(episodes.methods)
    expected = paired(rows, plan, board.seen, baseline)
    cells = expected.cells.rename(columns={"domain": "row"}).to_dict("records")
    averages = expected.averages.assign(row="mean " + expected.averages["group"]).to_dict("records")
    assert len(cells) == 6
    for cell in cells + averages:
        effect = pairs.effects[names.index(cell["method"]), names.index(baseline), pairs.rows.index(cell["row"])]
        assert effect == pytest.approx([cell["diff_pct"], cell["ci95_pct"]])


def test_swapping_two_methods_turns_the_sign_and_keeps_the_interval(episodes, board):
    effects = every_pair(episodes, board).effects
    swapped = effects.swapaxes(0, 1)
    assert effects[..., 0] == pytest.approx(-swapped[..., 0])
    assert effects[..., 1] == pytest.approx(swapped[..., 1])


def test_a_missing_episode_takes_away_its_domain_and_the_averages(rows, plan, without):
    partial = without(rows, "url", "mnist", 7)
    board = leaderboard(partial, plan, seen_states(partial))
    names = ["ncc", "url", "copa"]
    pairs = every_pair(align(partial, plan, names), board)
    lacking = dict(zip(pairs.rows, np.isnan(pairs.effects[1, 0, :, 0]).tolist(), strict=True))
    assert lacking == {
        "icons": False,
        "mnist": True,
        "sprites": False,
        "mean seen": True,
        "mean unseen": True,
        "mean all": True,
    }
    assert not np.isnan(pairs.effects[2, 0]).any()


def test_a_panel_counts_the_domains_where_the_interval_leaves_out_zero(episodes, board):
    pairs, names = every_pair(episodes, board), list(episodes.methods)
    axis, drawn = panels(pairs, names, names.index("ncc"))
    url = next(panel for panel in drawn if panel.name == "url")
    assert {panel.name for panel in drawn} == {"url", "copa"}
    assert url.verdict == "better on 3, worse on 0 of 3 domains"
    assert all(effect.low < effect.x < effect.high and effect.low > axis.at(0) for effect in url.effects)


def test_words_of_an_effect_have_a_sign(episodes, board):
    pairs, names = every_pair(episodes, board), list(episodes.methods)
    _, drawn = panels(pairs, names, names.index("url"))
    ncc = next(panel for panel in drawn if panel.name == "ncc")
    assert ncc.effects[0].words.startswith("−")
    assert ncc.effects[0].sign == -1


def test_one_method_alone_has_no_panel(rows, plan):
    alone = rows[rows["method"] == "ncc"]
    board = leaderboard(alone, plan, seen_states(alone))
    _, drawn = panels(every_pair(align(alone, plan, ["ncc"]), board), ["ncc"], 0)
    assert drawn == []


def test_a_contaminated_domain_is_marked(rows, plan):
    marked = rows.assign(contaminated=rows["domain"] == "mnist")
    board = leaderboard(marked, plan, seen_states(marked))
    assert every_pair(align(marked, plan, ["ncc", "url"]), board).rows[:3] == ["icons", "mnist †", "sprites"]
