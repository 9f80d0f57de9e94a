"""A leaderboard beside a published table, for the terminal."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from results.beside import MEASURED, PRINTED, Beside
from results.published_tables import RANK
from results.render_published import empty_table, portions


def render_beside(beside: Beside, *, width: int) -> list[RenderableType]:
    """Domains down; measured methods and, dim and marked as printed, those of the paper across."""
    domains = beside.cells["domain"].drop_duplicates().tolist()
    columns = list(zip(beside.summary["source"], beside.summary["method"], strict=True))
    keys = zip(beside.cells["source"], beside.cells["method"], beside.cells["domain"], strict=True)
    found = dict(zip(keys, beside.cells.to_dict("records"), strict=True))
    summary = beside.summary.set_index(["source", "method"])
    parts: list[RenderableType] = [Text(f"\nBeside {beside.citation}", style="bold")]
    for portion in portions(columns, width - max(map(len, [*domains, RANK]))):
        table = empty_table(["domain", *(_title(source, method) for source, method in portion)])
        for domain in domains:
            shown = [_accuracy(found.get((*column, domain))) for column in portion]
            table.add_row(
                Text(domain), *(_styled(text, source) for text, (source, _) in zip(shown, portion, strict=True))
            )
        table.add_section()
        for name in summary.columns:
            digits = 2 if name == RANK else 1
            values = [(summary.loc[column, name], column[0]) for column in portion]
            shown = ["–" if pd.isna(value) else f"{value:.{digits}f}" for value, _ in values]
            table.add_row(name, *(_styled(t, source) for t, (_, source) in zip(shown, values, strict=True)))
        parts.append(table)
    return [*parts, Text("\n".join(_legend(beside)), style="dim")]


def _legend(beside: Beside) -> list[str]:
    lines = [
        "printed: numbers of the paper, on its own backbones and episodes; means here are over the domains above",
        f"{RANK}: measured methods among themselves, printed ones among themselves",
    ]
    if beside.cells["contaminated"].any():
        lines.append("†: the backbone was trained on these very classes")
    if beside.otherwise_seen:
        domains = ", ".join(beside.otherwise_seen)
        lines.append(
            f"not the paper's setting: {domains}: the measured backbone did not see what the paper's did, or more"
        )
    return lines


def _title(source: str, method: str) -> str:
    return method.replace("(", "\n(").replace(" @ ", "\n@ ") if source == MEASURED else f"{method}\n(printed)"


def _styled(text: str, source: str) -> Text:
    return Text(text, style="dim" if source == PRINTED or text == "–" else "")


def _accuracy(cell: Mapping[Hashable, Any] | None) -> str:
    if cell is None or pd.isna(cell["mean_pct"]):
        return "–"
    return f"{'†' if cell['contaminated'] else ''}{cell['mean_pct']:.1f} ±{cell['ci95_pct']:.1f}"
