"""CSV text that comes back as it went in, and that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_STARTS = (*FORMULA_STARTS, "'")  # a quote is quoted too, so that one quote less always gives the text back


def defused(text: str) -> str:
    """Text for a cell: with a quote (') before it where a spreadsheet could execute it, and where it starts with one.

    The rule for readers: of a text cell that starts with ', the rest is the text. Numbers are never changed.
    """
    return f"'{text}" if text.startswith(_STARTS) else text


def defused_columns(table: pyarrow.Table) -> pyarrow.Table:
    """The table with all of its text `defused`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(position)
            risky = pc.match_substring_regex(column, f"^[{''.join(_STARTS).replace('-', '')}-]")
            if pc.any(risky).as_py():
                quoted = pc.binary_join_element_wise("'", column, "")
                table = table.set_column(position, field, pc.if_else(risky, quoted, column))
    return table


def csv_text(lines: Iterable[Sequence[str | int]]) -> str:
    """CSV with \\n after each line; text is `defused`, and quoted where it holds a comma, a quote or a line's end."""
    text = io.StringIO()
    line_end = "\r\n"  # the writer quotes these two characters alone
    writer = csv.writer(text, lineterminator=line_end)
    for line in lines:
        writer.writerow([defused(cell) if isinstance(cell, str) else cell for cell in line])
        text.seek(text.tell() - len(line_end))
        text.truncate()
        text.write("\n")
    return text.getvalue()
