import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.outputs.delimited import FORMULA_STARTS, csv_text, defused, defused_columns

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@\t\r\n',\""))


def read(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def restored(cell):
    """The documented rule for readers."""
    return cell[1:] if cell.startswith("'") else cell


@given(st.lists(st.lists(TEXT, min_size=2, max_size=4), min_size=1, max_size=4))
def test_any_text_comes_back_and_no_cell_starts_like_a_formula(lines):
    found = read(csv_text(lines))
    assert [[restored(cell) for cell in line] for line in found] == lines
    assert not any(cell.startswith(FORMULA_STARTS) for line in found for cell in line)


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_what_a_spreadsheet_would_execute_gets_a_quote(start):
    assert defused(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


def test_ordinary_text_and_numbers_stay_as_they_are():
    assert csv_text([["url(lr=0.5)", "icons", -3, "50.0000"]]) == "url(lr=0.5),icons,-3,50.0000\n"


@given(st.lists(TEXT, min_size=1, max_size=20))
def test_a_whole_column_is_defused_as_its_cells_are(texts):
    table = pa.table({"text": pa.array(texts, pa.string()), "number": pa.array([-1] * len(texts))})
    found = defused_columns(table)
    assert found["text"].to_pylist() == [defused(text) for text in texts]
    assert found["number"].to_pylist() == [-1] * len(texts)
