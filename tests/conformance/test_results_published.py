import csv
import os
from pathlib import Path

import pytest

from results.published_tables import load_table

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
PUBLISHED = SHARED / "conformance" / "published"


def lines(name):
    with (PUBLISHED / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("table", "file", "count"),
    [("copa-table-1", "copa_table1_mdl", 140), ("copa-table-2", "copa_table2_sdl", 128)],
)
def test_the_cells_of_copa_are_those_printed(table, file, count):
    expected = {(line["dataset"], line["method"]): (line["accuracy"], line["ci95"]) for line in lines(f"{file}.csv")}
    shipped = load_table(table)
    found = {(line.dataset_as_printed, line.method): line.as_printed for line in shipped.itertuples()}
    assert len(expected) == count
    assert found == {place: f"{accuracy} ±{ci95}" for place, (accuracy, ci95) in expected.items()}


@pytest.mark.parametrize(("table", "file"), [("copa-table-1", "copa_table1_mdl"), ("copa-table-2", "copa_table2_sdl")])
def test_the_summary_rows_of_copa_are_those_printed(table, file):
    expected = {(line["row"], line["method"]): line["value"] for line in lines(f"{file}_summary_as_printed.csv")}
    shipped = load_table(f"{table}-summary")
    assert expected
    assert {(line.dataset_as_printed, line.method): line.as_printed for line in shipped.itertuples()} == expected
