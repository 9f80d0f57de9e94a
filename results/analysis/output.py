"""What an analysis leaves: CSV tables, one JSON document, and tables for the terminal."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from results.analysis.measures import GAPS, MEASURES
from results.analysis.tables import FROZEN, NARROWS, WIDENS
from results.files import write_whole
from results.plain import records_of

SHOWN = {
    "gap": ("gap", 3),
    "nemd": ("NEMD", 2),
    "spread": ("spread", 2),
    "effective_rank": ("eff. rank", 1),
    "alignment": ("align", 2),
    "uniformity": ("uniform", 2),
    "davies_bouldin": ("D-B", 2),
    "components_80": ("PCs 80%", 1),
    "loss": ("loss", 2),
    "accuracy": ("acc %", 1),
}
LONG_NAME = 16
_STYLES = {"holds": "green", "fails": "red", "unclear": "yellow"}


def write_tables(folder: Path, facts: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Write each table as `<name>.csv`, and `gap.json`: the facts, what each measure is, and every table but the long
    ones (`episodes`, `spectra`). Numbers have six digits, and are empty, in JSON null, where not defined."""
    for name, table in tables.items():
        write_whole(folder / f"{name}.csv", _csv(table))
    short = {name: records_of(table) for name, table in tables.items() if name not in ("episodes", "spectra")}
    document = {**facts, "measures": MEASURES, **short}
    write_whole(folder / "gap.json", json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")
    return [*(f"{name}.csv" for name in tables), "gap.json"]


def summary_table(summary: pd.DataFrame) -> Table:
    """The measures of SHOWN, mean by domain and method, with the gap's interval."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("domain", no_wrap=True)
    table.add_column("method", overflow="fold")
    for heading, _ in SHOWN.values():
        table.add_column(heading, justify="right", no_wrap=True)
    domains = [*dict.fromkeys(summary["domain"])]
    for domain in domains:
        here = summary[summary["domain"] == domain]
        for place, method in enumerate(dict.fromkeys(here["method"])):
            numbers = here[here["method"] == method].set_index("measure")
            table.add_row(
                Text(domain if not place else ""),
                Text(_broken(method), style="dim" if method == FROZEN else ""),
                *(_shown(numbers, measure) for measure in SHOWN),
                end_section=place == here["method"].nunique() - 1,
            )
    return table


def direction_table(direction: pd.DataFrame) -> Table:
    """The claim by domain, with the share of episodes in which each part of it is so."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = (
        *("domain", NARROWS, FROZEN, WIDENS),
        *(f"{NARROWS} < {FROZEN}", f"{FROZEN} < {WIDENS}", "both", "verdict"),
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("domain", "verdict") else "right", no_wrap=True)
    for line in direction.to_dict("records"):
        table.add_row(
            Text(line["domain"]),
            *(f"{line[name]:.3f}" for name in (NARROWS, FROZEN, WIDENS)),
            *(Text(f"{line[f'{part}_share']:.0%} {line[part]}", _STYLES[line[part]]) for part in ("narrows", "widens")),
            f"{line['both_share']:.0%}",
            Text(line["verdict"], style=_STYLES[line["verdict"]]),
        )
    return table


def definitions_table(direction: pd.DataFrame) -> Table:
    """In how many domains each part of the claim holds, by definition of the gap (`direction` of several measures)."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("definition", no_wrap=True)
    for heading in (f"{NARROWS} < {FROZEN}", f"{FROZEN} < {WIDENS}", "both"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("vectors are averaged")
    for measure in direction["measure"].unique():
        here = direction[direction["measure"] == measure]
        counts = [f"{(here[part] == 'holds').sum()} of {len(here)}" for part in ("narrows", "widens", "verdict")]
        table.add_row(measure, *counts, GAPS[measure])
    return table


def best_shift_table(best: pd.DataFrame) -> Table:
    """Where the validation loss would be least."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("domain", "method", "best shift", "change of loss", "episodes best at a wider gap"):
        table.add_column(heading, justify="left" if heading in ("domain", "method") else "right")
    for line in best.to_dict("records"):
        if not line["n"]:
            table.add_row(Text(line["domain"]), Text(line["method"]), "–", "–", "–")
            continue
        moved = line["best_shift"] != 0
        change = f"{line['loss_change']:+.3f} ±{line['loss_change_ci95']:.3f}" if moved else "–"
        shift, share = f"{line['best_shift']:+.2f}" if moved else "0", f"{line['share_wider']:.0%} of {line['n']}"
        table.add_row(Text(line["domain"]), Text(line["method"]), shift, change, share)
    return table


def _broken(method: str) -> str:
    """A long name's hyper-parameters on a line of their own."""
    return method if len(method) <= LONG_NAME else method.replace("(", "\n(", 1)


def _shown(numbers: pd.DataFrame, measure: str) -> str:
    mean, ci95, digits = numbers["mean"][measure], numbers["ci95"][measure], SHOWN[measure][1]
    if pd.isna(mean):
        return "–"
    factor = 100 if measure == "accuracy" else 1
    interval = f" ±{ci95:.{digits}f}" if measure == "gap" else ""
    return f"{factor * mean:.{digits}f}{interval}"


def _csv(table: pd.DataFrame) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_cell(value) for value in line] for line in table.itertuples(index=False))
    return text.getvalue().encode()


def _cell(value: object) -> object:
    """Numbers rounded, and text that a spreadsheet would take for a formula quoted."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value
