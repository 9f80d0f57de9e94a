import pandas as pd

from results.leaderboard import leaderboard, seen_states
from results.report.table import table


def line_of(board, method):
    columns, lines = table(board)
    cells = next(line.cells for line in lines if line.method == method)
    return dict(zip([column.name for column in columns], cells, strict=True))


def test_columns_are_ranks_averages_and_the_plans_domains(board):
    columns, lines = table(board)
    assert [column.name for column in columns] == [
        *("average rank", "plain rank", "mean seen", "mean unseen", "mean all"),
        *("icons", "mnist", "sprites"),
    ]
    assert [column.state for column in columns[5:]] == ["seen", "unseen", "unseen"]
    assert [line.method for line in lines] == board.methods["method"].tolist()


def test_a_cell_has_mean_interval_rank_and_a_value_to_sort_by(board):
    cell = board.cells.set_index(["method", "domain"]).loc[("ncc", "icons")]
    shown = line_of(board, "ncc")["icons"]
    assert (shown.text, shown.ci95, shown.rank) == (f"{cell['mean_pct']:.1f}", f"{cell['ci95_pct']:.1f}", "3")
    assert abs(float(shown.value) - cell["mean_pct"]) < 1e-6


def test_the_best_and_what_ties_with_it_are_bold(board):
    bold = {method: line_of(board, method)["icons"].best for method in ("ncc", "url", "copa")}
    assert bold == {"ncc": False, "url": True, "copa": True}


def test_an_unfinished_cell_says_how_far_it_is_and_sorts_last(rows, plan, without):
    partial = without(rows, "url", "mnist", 7)
    shown = line_of(leaderboard(partial, plan, seen_states(partial)), "url")
    assert (shown["mnist"].text, shown["mnist"].value, shown["mnist"].best) == ("59/60", "", False)
    assert (shown["average rank"].text, shown["average rank"].value) == ("–", "")


def test_contaminated_cells_are_marked_and_so_is_the_mean_that_counts_them(rows, plan):
    marked = rows.assign(contaminated=(rows["domain"] == "mnist") & (rows["method"] == "url"))
    board = leaderboard(marked, plan, seen_states(marked))
    url, ncc = line_of(board, "url"), line_of(board, "ncc")
    assert (url["mnist"].contaminated, url["mean all"].contaminated, url["mean unseen"].contaminated) == (
        True,
        True,
        False,
    )
    assert not any(cell.contaminated for cell in ncc.values())
    assert url["mnist"].rank == ""


def test_each_kind_of_average_rank_has_a_column_where_it_has_numbers(rows, make_plan):
    domains = ("ilsvrc_2012", "omniglot", "aircraft", "cu_birds", "dtd", "quickdraw", "fungi", "vgg_flower")
    domains += ("traffic_sign", "mscoco")
    icons = rows[rows["domain"] == "icons"]
    official = pd.concat([icons.assign(domain=domain) for domain in domains])
    board = leaderboard(official, make_plan(**dict.fromkeys(domains, 60)), seen_states(official))
    columns, lines = table(board)
    assert [c.name for c in columns[:3]] == ["average rank", "plain rank", "rank on the official 10"]
    assert "rank on the papers’ 13" not in {column.name for column in columns}
    assert [cell.text for cell in lines[-1].cells[:3]] == ["3.00", "3.00", "3.00"]
