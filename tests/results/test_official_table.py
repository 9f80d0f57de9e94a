import json
from pathlib import Path

import pandas as pd
import pytest

from results.official_table import TITLES, official_markdown
from results.ranks import OFFICIAL10

GOLDEN = Path(__file__).parents[1] / "golden" / "meta_dataset_leaderboard_imagenet_only.json"


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def cells(golden):
    domains = {title: domain for domain, title in TITLES.items()}
    return pd.DataFrame(
        [
            (domains[title], name, method["acc"][i], method["ci95"][i])
            for name, method in golden["tables"]["imagenet"].items()
            for i, title in enumerate(golden["datasets"])
        ],
        columns=["dataset", "method", "accuracy", "ci95"],
    )


def read(markdown):
    """{method: {column: text}} of a table."""
    lines = [[cell.strip() for cell in line.split("|")] for line in markdown.splitlines()]
    return {line[0]: dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[2:]}


def test_the_published_leaderboard_is_written_to_the_last_digit(golden, cells):
    table = read(official_markdown(cells))
    methods = golden["tables"]["imagenet"]
    assert set(table) == set(methods)
    for name, method in methods.items():
        assert table[name]["Avg rank"].strip("*") == f"{method['avg_rank']:g}"
        for i, title in enumerate(golden["datasets"]):
            expected = f"{method['acc'][i]:5.2f}±{method['ci95'][i]:4.2f}&nbsp;(rank {method['ranks'][i]:g})"
            assert table[name][title].replace("**", "") == expected


def test_the_lowest_rank_of_a_column_is_bold_and_so_are_all_that_share_it(golden, cells):
    table = read(official_markdown(cells))
    methods = golden["tables"]["imagenet"]
    for i, title in enumerate(golden["datasets"]):
        lowest = min(method["ranks"][i] for method in methods.values())
        bold = {name for name, line in table.items() if line[title].startswith("**")}
        assert bold == {name for name, method in methods.items() if method["ranks"][i] == lowest}
    assert [name for name, line in table.items() if line["Avg rank"].startswith("**")] == ["DIPA"]


def test_cells_are_27_characters_wide_and_columns_in_the_official_order(cells):
    head = official_markdown(cells).splitlines()[0]
    assert [cell.strip() for cell in head.split("|")] == ["Method", "Avg rank", *TITLES.values()]
    assert {len(cell) for cell in head.split("|")[:-1]} == {27}


def test_any_order_of_rows_gives_the_same_bytes(cells):
    assert official_markdown(cells.sample(frac=1, random_state=0)) == official_markdown(cells)


def test_a_method_that_lacks_a_data_set_is_left_out_before_anything_is_ranked(cells):
    partial = cells[["dataset"]].drop_duplicates().assign(method="partial", accuracy=99.0, ci95=0.1)
    added = pd.concat([cells, partial[partial["dataset"] != OFFICIAL10[3]]])
    assert official_markdown(added) == official_markdown(cells)


def test_other_data_sets_change_nothing(cells):
    more = cells[cells["dataset"] == "dtd"].assign(dataset="mnist")
    assert official_markdown(pd.concat([cells, more])) == official_markdown(cells)


def test_references_stand_behind_the_names(cells):
    assert "DIPA [[16]]" in read(official_markdown(cells, {"DIPA": 16}))
