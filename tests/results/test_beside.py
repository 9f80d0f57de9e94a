import csv
import io

import numpy as np
import pytest
from rich.console import Console

from results.beside import set_beside, write_beside
from results.leaderboard import leaderboard
from results.published_tables import load_table
from results.ranks import PAPERS13
from results.render_beside import render_beside
from results.store import StoredPlan

ACCURACIES = {"url": [0.5, 0.6], "copa": [0.6, 0.7], "my-method": [0.1, 0.2]}
SEEN = {domain: "seen" if i < 8 else "unseen" for i, domain in enumerate(PAPERS13)}


@pytest.fixture
def board(make_frame):
    """board(domains, benchmark=..., split=..., seen=..., methods=...): the leaderboard of two episodes a domain."""

    def make(domains=PAPERS13, *, benchmark="meta-dataset-mdl", split="test", seen=SEEN, methods=ACCURACIES):
        rows = make_frame({method: dict.fromkeys(domains, values) for method, values in methods.items()})
        planned = dict.fromkeys(domains, 2)
        plan = StoredPlan(plan_hash="plan", benchmark=benchmark, split=split, seed=0, tasks=2, domains=planned)
        return leaderboard(rows, plan, seen)

    return make


def shown(beside, width=120, colour=None):
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=colour, legacy_windows=False)
    for part in render_beside(beside, width=width):
        console.print(part)
    return file.getvalue()


def test_measured_rows_stand_beside_the_printed_ones_of_the_same_setting(board):
    beside = set_beside(board())
    assert beside.table == "copa-table-1"
    cells = beside.cells.set_index(["source", "method", "domain"])
    assert cells.loc[("measured", "url", "dtd"), "mean_pct"] == pytest.approx(55)
    assert cells.loc[("printed", "URL", "dtd"), "mean_pct"] == 76.2
    assert len(cells) == 3 * 13 + len(load_table("copa-table-1"))
    assert cells.index.is_unique


def test_the_table_is_the_one_of_the_setting(board):
    assert set_beside(board(benchmark="meta-dataset-sdl")).table == "copa-table-2"


@pytest.mark.parametrize(
    "other", [{"benchmark": "pocket"}, {"benchmark": "meta-dataset-mdl-5shot"}, {"split": "valid"}]
)
def test_another_setting_has_nothing_beside_it(board, other):
    assert set_beside(board(**other)) is None


def test_measured_and_printed_methods_are_never_ranked_with_each_other(board):
    summary = set_beside(board()).summary.set_index(["source", "method"])["average rank"]
    assert summary["measured"].to_dict() == {"copa": 1.0, "url": 2.0, "my-method": 3.0}
    assert summary["printed"].dropna().min() > 1
    alone = set_beside(board(methods={"my-method": [1.0, 1.0]})).summary.set_index(["source", "method"])["average rank"]
    assert alone["measured", "my-method"] == 1.0
    assert alone["printed"].equals(summary["printed"].reindex(alone["printed"].index))


def test_means_of_both_are_over_the_domains_of_the_run_seen_as_the_paper_has_it(board):
    domains = ("dtd", "fungi", "mscoco")
    summary = set_beside(board(domains)).summary.set_index(["source", "method"])
    copa = summary.loc[("printed", "CoPA")]
    assert copa["mean seen"] == pytest.approx((77.8 + 69.5) / 2)
    assert copa["mean unseen"] == pytest.approx(56.3)
    assert copa["mean all"] == pytest.approx((77.8 + 69.5 + 56.3) / 3)
    assert summary.loc[("measured", "copa"), "mean all"] == pytest.approx(65)


def test_a_printed_method_without_a_cell_has_no_average(board):
    summary = set_beside(board()).summary.set_index(["source", "method"])
    cnaps = summary.loc[("printed", "CNAPS")]
    assert np.isnan(cnaps[["mean unseen", "mean all", "average rank"]].astype(float)).all()
    assert cnaps["mean seen"] == pytest.approx(71.6375)


def test_a_printed_method_follows_the_measured_one_of_its_name(board):
    methods = {"copa-tsa": [0.9, 0.9], "copa(lr=0.1)": [0.8, 0.8], "other": [0.1, 0.1]}
    summary = set_beside(board(methods=methods)).summary
    order = list(zip(summary["source"], summary["method"], strict=True))
    assert order[:5] == [
        ("measured", "copa-tsa"),
        ("printed", "CoPA+TSA"),
        ("measured", "copa(lr=0.1)"),
        ("printed", "CoPA"),
        ("measured", "other"),
    ]
    assert len(order) == len(set(order)) == 3 + 11


def test_domains_that_the_backbone_saw_otherwise_than_the_papers_are_named(board):
    beside = set_beside(board(seen=SEEN | {"mnist": "seen", "dtd": "unknown"}))
    assert beside.otherwise_seen == ("dtd", "mnist")
    assert "not the paper's setting: dtd, mnist" in " ".join(shown(beside).split())
    same = set_beside(board())
    assert same.otherwise_seen == ()
    assert "not the paper's setting" not in shown(same)


def test_printed_columns_are_marked_as_printed(board):
    text = shown(set_beside(board()))
    assert text.count("(printed)") == 11
    assert "57.8 ±1.1" in text
    assert "Table 1" in text


def test_printed_numbers_are_dim_and_measured_ones_are_not(board):
    text = shown(set_beside(board(("dtd",))), colour="standard")
    assert "\x1b[2m77.8 ±0.7\x1b[0m" in text
    assert "\x1b[2m65.0" not in text
    assert "65.0 ±" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(board, width):
    text = shown(set_beside(board()), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("±") == 3 * 13 + len(load_table("copa-table-1"))


def test_an_unfinished_domain_is_left_empty(board, make_frame):
    rows = make_frame({"url": {"dtd": [0.5, 0.6], "fungi": [0.5]}})
    domains = {"dtd": 2, "fungi": 2}
    plan = StoredPlan(plan_hash="plan", benchmark="meta-dataset-mdl", split="test", seed=0, tasks=2, domains=domains)
    beside = set_beside(leaderboard(rows, plan, SEEN))
    url = beside.summary.set_index(["source", "method"]).loc[("measured", "url")]
    assert np.isnan(url["mean all"])
    assert "fungi" in shown(beside)


def test_the_file_says_of_every_number_whether_it_was_measured_or_printed(board, tmp_path):
    write_beside(set_beside(board(("dtd", "mnist"))), tmp_path / "both.csv")
    with (tmp_path / "both.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["source"] for line in lines} == {"measured", "printed"}
    copa = next(line for line in lines if line["method"] == "CoPA" and line["domain"] == "mnist")
    assert copa == {
        "source": "printed",
        "table": "copa-table-1",
        "method": "CoPA",
        "domain": "mnist",
        "n": "",
        "mean": "95.2000",
        "ci95": "0.4000",
        "contaminated": "",
    }
    url = next(line for line in lines if line["method"] == "url")
    assert (url["table"], url["n"], url["mean"], url["contaminated"]) == ("", "2", "55.0000", "False")


def test_equal_results_give_equal_bytes(make_frame, tmp_path):
    rows = make_frame({method: {"dtd": values, "mnist": values} for method, values in ACCURACIES.items()})
    plan = StoredPlan(
        plan_hash="plan", benchmark="meta-dataset-mdl", split="test", seed=0, tasks=2, domains={"dtd": 2, "mnist": 2}
    )
    for name, some in (("a", rows), ("b", rows.sample(frac=1, random_state=1))):
        write_beside(set_beside(leaderboard(some, plan, SEEN)), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
