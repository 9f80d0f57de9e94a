import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import StatisticsError
from results.ranks import average_ranks

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


def test_of_equal_best_means_the_first_in_the_alphabet_decides_who_ties():
    assert ranks_of(b=(60.0, 5.0), a=(60.0, 0.0), c=(58.0, 1.0)) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert ranks_of(a=(60.0, 5.0), b=(60.0, 0.0), c=(58.0, 1.0)) == {"a": 2.0, "b": 2.0, "c": 2.0}


@given(TABLES)
def test_ranks_of_a_data_set_fill_all_places(table):
    m = len(table[0])
    sums = average_ranks(cells_of(table)).groupby("dataset")["rank"].sum()
    assert sums.tolist() == [m * (m + 1) / 2] * len(table)


@given(TABLES, st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(table, random):
    cells = cells_of(table)
    order = list(range(len(cells)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(average_ranks(cells.iloc[order]), average_ranks(cells))


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
