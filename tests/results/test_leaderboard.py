import numpy as np
import pandas as pd
import pytest

from results.entries import Entry, name_methods
from results.errors import LeaderboardError
from results.leaderboard import COLUMNS, leaderboard, paired, seen_states
from results.outputs.timings import timings_csv
from results.store import ResultStore

SEEN = {"icons": "seen", "mnist": "unseen", "sprites": "unknown"}
ACCURACIES = {
    "ncc": {"icons": [0.5, 0.6, 0.7, 0.6], "mnist": [0.2, 0.4, 0.3, 0.3], "sprites": [0.1, 0.1, 0.3, 0.3]},
    "url": {"icons": [0.55, 0.65, 0.75, 0.65], "mnist": [0.6, 0.9, 0.8, 0.7], "sprites": [0.1, 0.2, 0.3, 0.2]},
}


@pytest.fixture
def rows(make_frame):
    return make_frame(ACCURACIES)


@pytest.fixture
def plan(make_plan):
    return make_plan(icons=4, mnist=4, sprites=4)


def cell(board, method, domain):
    return board.cells.set_index(["method", "domain"]).loc[(method, domain)]


def summary(board, method):
    return board.methods.set_index("method").loc[method]


def test_a_cell_holds_mean_interval_and_rank_in_percent(rows, plan):
    board = leaderboard(rows, plan, SEEN)
    icons = cell(board, "ncc", "icons")
    assert icons["mean_pct"] == pytest.approx(60)
    assert icons["ci95_pct"] == pytest.approx(1.96 * np.std([50, 60, 70, 60]) / 2)
    assert (icons["n"], icons["planned"], icons["rank"]) == (4, 4, 1.5)
    assert (cell(board, "url", "mnist")["rank"], cell(board, "ncc", "mnist")["rank"]) == (1.0, 2.0)


def test_averages_are_over_the_seen_the_unseen_and_all_domains(rows, plan):
    url = summary(leaderboard(rows, plan, SEEN), "url")
    assert url["seen_pct"] == pytest.approx(65)
    assert url["unseen_pct"] == pytest.approx(75)
    assert url["all_pct"] == pytest.approx((65 + 75 + 20) / 3)
    assert url["avg_rank"] == pytest.approx((1.5 + 1 + 1.5) / 3)


def test_a_state_without_domains_has_no_average(rows, plan):
    url = summary(leaderboard(rows, plan, dict.fromkeys(SEEN, "unknown")), "url")
    assert np.isnan([url["seen_pct"], url["unseen_pct"]]).all()
    assert url["all_pct"] == pytest.approx((65 + 75 + 20) / 3)


def test_a_domain_missing_from_the_states_is_unknown(rows, plan):
    board = leaderboard(rows, plan, {"icons": "seen", "mnist": "unseen"})
    assert summary(board, "url")["unseen_pct"] == pytest.approx(75)


def contaminate(rows, domain, *methods):
    return rows.assign(contaminated=(rows["domain"] == domain) & rows["method"].isin(methods))


def test_a_contaminated_domain_counts_in_the_mean_over_all_and_in_the_ranks_alone(rows, plan):
    board = leaderboard(contaminate(rows, "mnist", "ncc", "url"), plan, SEEN)
    url = summary(board, "url")
    assert np.isnan(url["unseen_pct"])
    assert url["seen_pct"] == pytest.approx(65)
    assert url["all_pct"] == pytest.approx((65 + 75 + 20) / 3)
    assert url["avg_rank"] == pytest.approx((1.5 + 1 + 1.5) / 3)
    assert board.cells.set_index("domain")["contaminated"].groupby("domain").all().to_dict() == {
        "icons": False,
        "mnist": True,
        "sprites": False,
    }


def test_a_domain_that_one_backbone_was_tested_on_unfairly_is_in_nobodys_mean_and_not_ranked(rows, plan):
    board = leaderboard(contaminate(rows, "icons", "url"), plan, SEEN)
    assert board.contaminated == {"icons"}
    assert cell(board, "url", "icons")["contaminated"]
    assert not cell(board, "ncc", "icons")["contaminated"]
    for method in ("ncc", "url"):
        assert np.isnan(summary(board, method)["seen_pct"])
        assert np.isnan(cell(board, method, "icons")["rank"])
    assert summary(board, "url")["avg_rank"] == pytest.approx((1 + 1.5) / 2)


def test_a_contaminated_domain_that_a_method_has_not_begun_is_still_ranked(rows, plan):
    marked = contaminate(rows, "mnist", "ncc", "url")
    board = leaderboard(marked[(marked["method"] == "ncc") | (marked["domain"] == "icons")], plan, SEEN)
    assert cell(board, "ncc", "mnist")["rank"] == 1.0


def test_differences_leave_contaminated_domains_out_of_the_same_averages(rows, plan):
    differences = paired(contaminate(rows, "mnist", "url"), plan, SEEN).averages.set_index("group")["diff_pct"]
    assert differences["seen"] == pytest.approx(5)
    assert np.isnan(differences["unseen"])
    assert differences["all"] == pytest.approx(50 / 3)


def test_methods_are_in_order_of_average_rank_then_name(make_frame, make_plan):
    rows = make_frame({name: {"icons": [level, level]} for name, level in [("c", 0.5), ("b", 0.9), ("a", 0.5)]})
    assert leaderboard(rows, make_plan(icons=2), SEEN).methods["method"].tolist() == ["b", "a", "c"]


def test_one_missing_episode_leaves_a_method_without_averages_and_rank(rows, plan):
    missing = (rows["adapter"] == "url") & (rows["domain"] == "mnist") & (rows["task"] == 2)
    board = leaderboard(rows[~missing], plan, SEEN)
    url, mnist = summary(board, "url"), cell(board, "url", "mnist")
    assert url[["avg_rank", "seen_pct", "unseen_pct", "all_pct"]].isna().all()
    assert mnist["n"] == 3
    assert mnist[["mean_pct", "ci95_pct", "rank"]].isna().all()
    assert board.methods["method"].tolist() == ["ncc", "url"]


def test_a_domain_is_ranked_among_the_methods_complete_on_it(rows, plan):
    board = leaderboard(rows[(rows["adapter"] == "ncc") | (rows["domain"] == "icons")], plan, SEEN)
    assert cell(board, "ncc", "mnist")["rank"] == 1.0
    assert cell(board, "ncc", "icons")["rank"] == cell(board, "url", "icons")["rank"] == 1.5
    assert summary(board, "ncc")["avg_rank"] == pytest.approx((1.5 + 1 + 1) / 3)
    assert cell(board, "url", "sprites")["n"] == 0


def test_a_board_on_which_nothing_is_complete_has_counts_only(rows, plan):
    board = leaderboard(rows[rows["task"] < 3], plan, SEEN)
    assert (board.cells["n"] == 3).all()
    assert board.cells[["mean_pct", "ci95_pct", "rank"]].isna().all(axis=None)


def test_order_of_rows_changes_nothing(rows, plan):
    board, shuffled = (leaderboard(frame, plan, SEEN) for frame in (rows, rows.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(shuffled.cells, board.cells, check_exact=True)
    pd.testing.assert_frame_equal(shuffled.methods, board.methods, check_exact=True)


def test_two_results_for_one_episode_under_one_name_are_refused(rows, plan):
    with pytest.raises(LeaderboardError, match="method 'x' has two results for task 0 of domain 'icons'"):
        leaderboard(rows.assign(method="x"), plan, SEEN)


def test_rows_of_a_domain_outside_the_plan_are_refused(rows, make_plan):
    with pytest.raises(LeaderboardError, match="plan does not have: mnist, sprites"):
        leaderboard(rows, make_plan(icons=4), SEEN)


def test_no_rows_are_no_leaderboard(rows, plan):
    with pytest.raises(LeaderboardError, match="no episode of plan plan is done yet"):
        leaderboard(rows.iloc[:0], plan, SEEN)


def test_differences_are_taken_episode_by_episode(rows, plan):
    differences = paired(rows.sample(frac=1, random_state=0), plan, SEEN)
    assert differences.cells[["method", "domain"]].values.tolist() == [["url", domain] for domain in SEEN]
    icons, mnist, _ = differences.cells[["diff_pct", "ci95_pct"]].values.tolist()
    assert icons == pytest.approx([5, 0], abs=1e-9)
    assert mnist == pytest.approx([45, 1.96 * np.std([40, 50, 50, 40]) / 2])


def test_the_interval_of_an_average_difference_combines_independent_domains(rows, plan):
    differences = paired(rows, plan, SEEN)
    assert differences.averages["group"].tolist() == ["seen", "unseen", "all"]
    seen, unseen, over_all = differences.averages[["diff_pct", "ci95_pct"]].values.tolist()
    assert (seen[0], unseen[0]) == pytest.approx((5, 45))
    intervals = differences.cells["ci95_pct"]
    assert over_all == pytest.approx([50 / 3, np.sqrt((intervals**2).sum()) / 3])


def test_a_missing_episode_of_either_method_leaves_no_difference(rows, plan):
    for adapter in ("ncc", "url"):
        missing = (rows["adapter"] == adapter) & (rows["domain"] == "mnist") & (rows["task"] == 2)
        differences = paired(rows[~missing], plan, SEEN)
        assert differences.cells["diff_pct"].isna().tolist() == [False, True, False]
        assert differences.averages["diff_pct"].isna().all()


def test_an_unknown_baseline_is_answered_with_the_known_methods(rows, plan):
    with pytest.raises(LeaderboardError, match=r"no method 'nc' .* Did you mean 'ncc'\? Known: ncc, url"):
        paired(rows, plan, SEEN, baseline="nc")


def test_a_domain_seen_by_any_backbone_is_seen(make_row):
    states = [("icons", "unseen"), ("icons", "seen"), ("mnist", "unseen"), ("emoji", "unknown"), ("emoji", "unseen")]
    frame = pd.DataFrame(states, columns=["domain", "seen"])
    assert seen_states(frame) == {"icons": "seen", "mnist": "unseen", "emoji": "unknown"}


def test_the_columns_it_asks_for_are_enough(tmp_path, make_row, record):
    with ResultStore(tmp_path / "results.sqlite") as store:
        record(store, icons=2)
        store.add([make_row(task=task) for task in range(2)])
        row = make_row()
        entry = Entry(
            method="ncc",
            backbone="net",
            domain="icons",
            adapter_hash=row.adapter_hash,
            backbone_hash=row.backbone_hash,
            flags="{}",
            seen="seen",
        )
        store.record_entries("plan", [entry])
        rows, plan = name_methods(store.rows("plan", COLUMNS), store.entries("plan")), store.plan("plan")
    assert leaderboard(rows, plan, seen_states(rows)).cells["mean_pct"].tolist() == [50.0]
    assert timings_csv(rows).splitlines()[1:] == ["ncc,net,icons,2,0.010000,0.010000"]
