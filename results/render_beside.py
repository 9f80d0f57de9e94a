"""A leaderboard beside a published table, for the terminal."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.beside import MEASURED, PRINTED, Beside
from results.published_tables import RANK
from results.render_published import empty_table, portions


def render_beside(beside: Beside, *, width: int) -> list[RenderableType]:
    """Domains down; measured methods and, dim and marked as printed, those of the paper across."""
    longest = max(map(len, [*beside.cells["domain"], RANK]))
    columns = list(zip(beside.summary["source"], beside.summary["method"], strict=True))
    titles = [_title(source, method) for source, method in columns]
    chosen = portions([title.plain for title in titles], width - longest)
    tables = [_side_by_side(beside, columns[part], titles[part]) for part in chosen]
    heading = Text(f"\nBeside {beside.citation}", style="bold")
    return [heading, *tables, Text("\n".join(_legend(beside)), style="dim")]


def _side_by_side(beside: Beside, columns: list[tuple[str, str]], titles: list[Text]) -> Table:
    keys = zip(beside.cells["source"], beside.cells["method"], beside.cells["domain"], strict=True)
    cells = dict(zip(keys, beside.cells.to_dict("records"), strict=True))
    summary = beside.summary.set_index(["source", "method"]).to_dict("index")
    sources = [source for source, _ in columns]
    table = empty_table(["domain", *titles])
    for domain in beside.cells["domain"].drop_duplicates():
        table.add_row(Text(domain), *_styled([_accuracy(cells.get((*column, domain))) for column in columns], sources))
    table.add_section()
    for name in (column for column in beside.summary.columns if column not in ("source", "method")):
        table.add_row(name, *_styled([_two_digits(summary[column][name]) for column in columns], sources))
    return table


def _legend(beside: Beside) -> list[str]:
    lines = [
        "printed: cells of the paper, on its own backbones and episodes; means of both are over the domains above, so",
        f"that they may differ from the paper's own (`metabench published show {beside.table}`)",
        f"{RANK}: measured methods among themselves, printed ones among themselves",
    ]
    if beside.cells["contaminated"].any():
        lines.append("†: the backbone was trained on these very classes")
    if beside.otherwise_seen:
        domains = ", ".join(beside.otherwise_seen)
        lines.append(
            f"not the paper's setting: {domains}: seen by a backbone here and unseen there, the reverse, or unknown"
        )
    return lines


def _title(source: str, method: str) -> Text:
    name = method.replace("(", "\n(").replace(" @ ", "\n@ ")
    return Text(name) if source == MEASURED else Text(f"{name}\n(printed)", style="dim")


def _styled(texts: list[str], sources: list[str]) -> list[Text]:
    return [Text(text, style="dim" if source == PRINTED else "") for text, source in zip(texts, sources, strict=True)]


def _accuracy(cell: Mapping[Hashable, Any] | None) -> str:
    if cell is None or pd.isna(cell["mean_pct"]):
        return "–"
    return f"{'†' if cell['contaminated'] else ''}{cell['mean_pct']:.1f} ±{cell['ci95_pct']:.1f}"


def _two_digits(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"
