import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.errors import StatisticsError
from results.ranks import OFFICIAL10, PAPERS13, average_ranks, leading, rank_columns

GOLDEN = Path(__file__).parents[1] / "golden" / "meta_dataset_leaderboard_imagenet_only.json"

CELL = st.tuples(st.floats(0, 100), st.floats(0, 3))
TABLES = st.integers(1, 8).flatmap(lambda m: st.lists(st.lists(CELL, min_size=m, max_size=m), min_size=1, max_size=4))


def cells_of(table):
    return pd.DataFrame(
        [(f"d{d}", f"m{m}", accuracy, ci95) for d, row in enumerate(table) for m, (accuracy, ci95) in enumerate(row)],
        columns=["dataset", "method", "accuracy", "ci95"],
    )


def ranks_of(**methods):
    """Ranks on one data set, given method=(accuracy, ci95)."""
    cells = pd.DataFrame([("d", name, *cell) for name, cell in methods.items()])
    ranks = average_ranks(cells.set_axis(["dataset", "method", "accuracy", "ci95"], axis=1))
    return dict(zip(ranks["method"], ranks["rank"], strict=True))


def test_published_ranks_and_averages_are_reproduced():
    golden = json.loads(GOLDEN.read_text())
    methods = golden["tables"]["imagenet"]
    cells = pd.DataFrame(
        [
            (dataset, name, method["acc"][i], method["ci95"][i])
            for name, method in methods.items()
            for i, dataset in enumerate(golden["datasets"])
        ],
        columns=["dataset", "method", "accuracy", "ci95"],
    )
    ranks = average_ranks(cells)
    wide = ranks.pivot(index="method", columns="dataset", values="rank")[golden["datasets"]]
    assert {name: wide.loc[name].tolist() for name in methods} == {name: m["ranks"] for name, m in methods.items()}
    averages = ranks.groupby("method")["rank"].mean()
    assert averages.to_dict() == pytest.approx({name: m["avg_rank"] for name, m in methods.items()}, abs=1e-12)


def test_ties_are_with_the_best_only_and_not_transitive():
    assert ranks_of(a=(60.0, 1.0), b=(59.0, 1.0), c=(58.0, 1.0)) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_a_wide_interval_ties_past_a_better_method_that_does_not():
    assert ranks_of(a=(60.0, 0.1), b=(59.0, 0.1), c=(58.0, 3.0)) == {"a": 1.5, "b": 3.0, "c": 1.5}


def test_a_difference_of_exactly_the_joint_interval_is_a_tie():
    assert ranks_of(a=(10.0, 3.0), b=(5.0, 4.0)) == {"a": 1.5, "b": 1.5}
    assert ranks_of(a=(10.0, 3.0), b=(4.75, 4.0)) == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize(("best", "tied"), [(45.3, True), (60.1, True), (64.9, False), (16.1, False)])
def test_of_decimals_exactly_at_the_threshold_double_precision_decides_as_in_the_official_notebook(best, tied):
    other, (ci_best, ci_other), n = round(best - 1, 1), (0.6, 0.8), 600
    stds = [ci * math.sqrt(n) / 1.96 for ci in (ci_best, ci_other)]
    assert (abs(best - other) > 1.96 * math.sqrt(sum(std**2 / n for std in stds))) == (not tied)
    expected = {"a": 1.5, "b": 1.5} if tied else {"a": 1.0, "b": 2.0}
    assert ranks_of(a=(best, ci_best), b=(other, ci_other)) == expected


def test_of_equal_best_means_the_first_in_the_alphabet_decides_who_ties():
    assert ranks_of(b=(60.0, 5.0), a=(60.0, 0.0), c=(58.0, 1.0)) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert ranks_of(a=(60.0, 5.0), b=(60.0, 0.0), c=(58.0, 1.0)) == {"a": 2.0, "b": 2.0, "c": 2.0}


@settings(max_examples=30)
@given(TABLES)
def test_ranks_of_a_data_set_fill_all_places(table):
    m = len(table[0])
    sums = average_ranks(cells_of(table)).groupby("dataset")["rank"].sum()
    assert sums.tolist() == [m * (m + 1) / 2] * len(table)


@settings(max_examples=30)
@given(TABLES, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(table, random):
    cells = cells_of(table)
    order = list(range(len(cells)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(average_ranks(cells.iloc[order]), average_ranks(cells))


@settings(max_examples=30)
@given(TABLES)
def test_no_method_is_ranked_above_the_best_mean(table):
    cells = cells_of(table)
    ranked = cells.merge(average_ranks(cells), on=["dataset", "method"])
    for _, group in ranked.groupby("dataset"):
        best = group[group["accuracy"] == group["accuracy"].max()]
        assert (best["rank"] == group["rank"].min()).all()


@given(st.integers(1, 9))
def test_methods_that_all_tie_share_the_middle_rank(m):
    ranks = average_ranks(cells_of([[(50.0, 1.0)] * m]))
    assert ranks["rank"].tolist() == [(m + 1) / 2] * m


def test_methods_may_be_missing_on_a_data_set():
    ranks = average_ranks(cells_of([[(60.0, 1.0), (50.0, 1.0)], [(70.0, 1.0), (80.0, 1.0)]]).drop(index=1))
    assert ranks["rank"].tolist() == [1.0, 2.0, 1.0]


def test_no_cells_have_no_ranks():
    assert average_ranks(cells_of([[(60.0, 1.0)]]).iloc[:0]).empty


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("accuracy", float("nan"), "no finite accuracy"),
        ("accuracy", float("inf"), "no finite accuracy"),
        ("ci95", float("nan"), "no interval"),
        ("ci95", -1.0, "no interval"),
        ("method", "m0", "two rows"),
        ("method", None, "no name"),
    ],
)
def test_an_unusable_cell_is_refused_by_name(column, value, problem):
    cells = cells_of([[(60.0, 1.0), (50.0, 1.0)]])
    cells.loc[1, column] = value
    with pytest.raises(StatisticsError, match=f"on 'd0': it has {problem}"):
        average_ranks(cells)


def test_a_missing_column_is_named():
    with pytest.raises(StatisticsError, match="missing: ci95"):
        average_ranks(cells_of([[(60.0, 1.0)]]).drop(columns="ci95"))


def columns_of(domains, **methods):
    """`rank_columns` of methods given as lists of (accuracy, ci95), None where a method lacks a domain."""
    rows = [
        (domain, name, *cell)
        for name, cells in methods.items()
        for domain, cell in zip(domains, cells, strict=True)
        if cell is not None
    ]
    return rank_columns(pd.DataFrame(rows, columns=["dataset", "method", "accuracy", "ci95"]), domains)


def test_every_average_rank_has_a_column_of_its_own():
    better, same, tied = [(60.0, 1.0)], [(50.0, 1.0)], [(59.0, 1.0)]
    found = columns_of(PAPERS13, a=better * 10 + same * 3, b=tied * 10 + tied * 3)
    assert found.loc["a"].to_dict() == pytest.approx(
        {
            "avg_rank": (10 * 1.5 + 3 * 2) / 13,
            "avg_rank_plain": (10 * 1 + 3 * 2) / 13,
            "avg_rank_official10": 1.5,
            "avg_rank_papers13": (10 * 1.5 + 3 * 2) / 13,
        }
    )


def test_plain_ranks_ignore_intervals_and_share_the_places_of_equal_means():
    found = columns_of(["x"], a=[(60.0, 9.0)], b=[(59.0, 9.0)], c=[(59.0, 0.0)])
    assert found["avg_rank_plain"].to_dict() == {"a": 1.0, "b": 2.5, "c": 2.5}
    assert found["avg_rank"].to_dict() == {"a": 2.0, "b": 2.0, "c": 2.0}


def test_the_official_average_needs_the_ten_data_sets_and_the_papers_one_all_thirteen():
    cell = (60.0, 1.0)
    found = columns_of(PAPERS13, whole=[cell] * 13, ten=[cell] * 10 + [None] * 3, nine=[cell] * 9 + [None] * 4)
    assert found.notna().to_dict("index") == {
        "nine": dict.fromkeys(found.columns, False),
        "ten": {**dict.fromkeys(found.columns, False), "avg_rank_official10": True},
        "whole": dict.fromkeys(found.columns, True),
    }
    assert columns_of(OFFICIAL10, a=[cell] * 10).notna().loc["a"].tolist() == [True, True, True, False]


def test_a_method_that_lacks_a_data_set_still_takes_its_places_on_the_others():
    found = columns_of(["x", "y"], a=[(60.0, 0.0), (60.0, 0.0)], b=[(70.0, 0.0), None])
    assert found.loc["a", "avg_rank"] == 1.5
    assert np.isnan(found.loc["b", "avg_rank"])


def test_cells_of_other_domains_count_nowhere():
    cells = cells_of([[(60.0, 0.0), (50.0, 0.0)], [(50.0, 0.0), (60.0, 0.0)]])
    assert rank_columns(cells, ["d0"])["avg_rank"].tolist() == [1.0, 2.0]
    assert rank_columns(cells, ["d0", "d2"])["avg_rank"].isna().all()


@settings(max_examples=30)
@given(TABLES, st.randoms(use_true_random=False))
def test_rank_columns_do_not_depend_on_the_order_of_rows_or_domains(table, random):
    cells = cells_of(table)
    domains = sorted(set(cells["dataset"]))
    expected = rank_columns(cells, domains)
    order = list(range(len(cells)))
    random.shuffle(order)
    random.shuffle(domains)
    pd.testing.assert_frame_equal(rank_columns(cells.iloc[order], domains), expected, check_exact=True)


def test_all_who_tie_with_the_best_are_bold_even_at_rank_two():
    ranks = average_ranks(cells_of([[(60.0, 1.0), (59.9, 1.0), (59.8, 1.0), (40.0, 1.0)], [(1.0, 0.0)] * 4]))
    assert ranks["rank"].tolist() == [2.0, 2.0, 2.0, 4.0, 2.5, 2.5, 2.5, 2.5]
    assert leading(ranks).tolist() == [True, True, True, False, True, True, True, True]
