"""`python -m benches [ROW ...]`: measure, print a table, write `runs/bench.csv`."""

import argparse
import csv
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benches.rows import Measurement, Setting, all_rows
from harness.errors import USER_ERRORS, unknown
from results.files import write_whole

COLUMNS = ("name", "value", "unit", "baseline", "ratio")


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Run the rows named (all, when none is); the exit status: 0, or 2 for a user's error."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported
    options = _parser().parse_args(arguments)
    console = console or Console()
    rows = all_rows()
    try:
        wrong = next((name for name in options.rows if name not in rows), None)
        if wrong is not None:
            raise unknown("row", wrong, rows)
        measured = {}
        for name in options.rows or rows:
            with console.status(name), tempfile.TemporaryDirectory(prefix="bench-") as folder:
                setting = Setting(
                    folder=Path(folder),
                    scale=options.scale,
                    repeats=options.repeats,
                    class_counts=options.class_counts,
                )
                measured[name] = rows[name](setting)
        write_whole(options.out, as_csv(measured).encode())
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(console, measured)
    console.print(f"written to {options.out}", style="dim", highlight=False, soft_wrap=True)
    return 0


def as_csv(measured: dict[str, Measurement]) -> str:
    """One line per row: name, value, unit, baseline, ratio."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, m in measured.items():
        writer.writerow([name, f"{m.value:.6g}", m.unit, f"{m.baseline:.6g}", f"{m.ratio:.4g}"])
    return out.getvalue()


def show(console: Console, measured: dict[str, Measurement]) -> None:
    """Print the table, and below it the rows' notes."""
    table = Table(*COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, m in measured.items():
        table.add_row(name, f"{m.value:,.4g}" if m.value < 1000 else f"{m.value:,.0f}", m.unit, *_numbers(m))
    console.print(table)
    for name, m in measured.items():
        if m.note:
            console.print(f"{name}: {m.note}", style="dim", highlight=False, soft_wrap=True)


def _numbers(m: Measurement) -> tuple[str, str]:
    return f"{m.baseline:,.4g}" if m.baseline < 1000 else f"{m.baseline:,.0f}", f"{m.ratio:.2f}x"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benches", description="ours against the textbook form, in one process")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.csv"), help="CSV to write (runs/bench.csv)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the work, 1 = real (for a quick look: 0.01)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements whose median counts (5)")
    counts = os.environ.get("METABENCH_CLASS_COUNTS")
    parser.add_argument(
        "--class-counts",
        type=Path,
        default=Path(counts) if counts else None,
        help="JSON with the true class sizes of the 13 data sets (default: $METABENCH_CLASS_COUNTS)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
