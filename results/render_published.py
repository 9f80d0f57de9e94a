"""Published tables for the terminal: one of them, and what is wrong with all of them."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.published_tables import SUM

WIDTH = 12  # of a column of numbers, if no word of its title is longer
MARK = "!"  # in front of a number that is doubted
_NOTHING = Text("–", style="dim")
_EDGE = 3  # columns of the terminal between two of the table


def render_sources(sources: pd.DataFrame) -> list[RenderableType]:
    """All tables (`sources`), by paper."""
    paper = sources["source"].str.extract(r"^(.*\(.*?\))", expand=False)
    parts: list[RenderableType] = []
    for name in paper.drop_duplicates():
        parts.append(Text(name, style="bold"))
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for line in sources[paper == name].to_dict("records"):
            where = line["source"].removeprefix(name).lstrip(", ")
            doubts = f"{line['doubts']} doubted" if line["doubts"] else ""
            table.add_row(
                f"  {line['table']}", f"{line['numbers']} numbers", doubts, Text(where), Text(line["setting"])
            )
        parts += [table, Text()]
    hint = "metabench published show TABLE; metabench published check: what cannot be right"
    return [*parts, Text(hint, style="dim")]


def render_table(table: pd.DataFrame, *, width: int) -> list[RenderableType]:
    """A table in long form (`load_table`): methods down, what was measured across, in portions of `width` columns."""
    if table["unit"].nunique() > 1:
        units = " (" + table["unit"] + ")"
        table = table.assign(metric=table["metric"] + units.where(table["unit"] != "1", ""))
    row = [column for column in ("method", "backbone", "condition") if table[column].nunique() > 1] or ["method"]
    across = [c for c in ("dataset_as_printed", "way", "shot", "metric") if table[c].nunique(dropna=False) > 1]
    across = across or ["metric"]
    named = table.assign(row=_joined(table, row), across=_joined(table, across))
    cells = {(r, a): cell for r, a, cell in zip(named["row"], named["across"], _cells(table), strict=True)}
    rows, columns = named["row"].drop_duplicates().tolist(), named["across"].drop_duplicates().tolist()
    parts: list[RenderableType] = [Text(table["source"].iloc[0], style="bold"), Text(_setting(table), style="dim")]
    first = max(map(len, [*rows, " · ".join(row)]))
    for chosen in portions(columns, width - min(first, width // 2)):
        portion = columns[chosen]
        shown = empty_table([" · ".join(row), *portion])
        for name in rows:
            shown.add_row(Text(name), *(cells.get((name, column), _NOTHING) for column in portion))
        parts.append(shown)
    doubted = table[table["doubt"] != ""]
    texts = dict.fromkeys([*(f"{MARK} {doubt}" for doubt in doubted["doubt"]), *table["note"][table["note"] != ""]])
    if texts:
        parts.append(Text("\n".join(texts), style="dim"))
    return parts


def render_recomputed(summary: pd.DataFrame) -> list[RenderableType]:
    """`recomputed` of one table: each average and rank as printed, and as it follows from the cells."""
    table = empty_table(["as printed / from the cells", *summary["summary"].drop_duplicates()])
    lines = {(line["method"], line["summary"]): line for line in summary.to_dict("records")}
    for method in summary["method"].drop_duplicates():
        shown = [lines.get((method, name)) for name in summary["summary"].drop_duplicates()]
        table.add_row(Text(method or SUM), *(_pair(line) if line else _NOTHING for line in shown))
    note = "average rank: the official rule over the ten data sets of the Meta-Dataset leaderboard; red: not rounding"
    return [table, Text(note, style="dim")]


def render_check(disagreements: pd.DataFrame, doubts: pd.DataFrame) -> list[RenderableType]:
    """Averages and ranks that do not follow from their cells, then single numbers with a doubt."""
    title = f"{len(disagreements)} printed averages and ranks do not follow from the printed cells"
    table = empty_table(["table", "method", "what", "as printed", "recomputed", "difference"], left=3)
    for line in disagreements.to_dict("records"):
        digits = 1 if line["summary"] == SUM else 2
        numbers = (f"{line['as_printed']:.1f}", f"{line['recomputed']:.{digits}f}", f"{line['difference']:+.{digits}f}")
        table.add_row(line["table"], line["method"] or "all", line["summary"], *numbers)
    parts: list[RenderableType] = [Text(title, style="bold"), table]
    groups = doubts.groupby(["table", "doubt"], sort=False)
    parts.append(Text(f"{len(groups)} doubts about single numbers, which stay as printed", style="bold"))
    listed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("table", "number", "doubt"):
        listed.add_column(name, overflow="fold")
    for _, group in groups:
        listed.add_row(group["table"].iloc[0], Text(_numbers(group)), Text(group["doubt"].iloc[0]))
    return [*parts, listed]


def empty_table(columns: Sequence[str | Text], left: int = 1) -> Table:
    """The first `left` columns hold names, the others numbers under titles that break at spaces."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(columns):
        title = Text(name) if isinstance(name, str) else name
        if i < left:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify="right", overflow="fold", max_width=_width(title.plain))
    return table


def portions(titles: Sequence[str], room: int) -> list[slice]:
    """Which columns of numbers, by their titles, go together into `room` columns of the terminal."""
    found, start, used = [], 0, 0
    for i, title in enumerate(titles):
        needed = _width(title) + _EDGE
        if used + needed > room and i > start:
            found.append(slice(start, i))
            start, used = i, 0
        used += needed
    return [*found, slice(start, len(titles))]


def _width(title: str) -> int:
    return max(WIDTH, *(len(word) for word in title.split()))


def _pair(line: dict) -> Text:
    style = "red" if line["disagrees"] else ""
    return Text(f"{line['as_printed']:.1f} / {line['recomputed']:.2f}", style=style)


def _cells(table: pd.DataFrame) -> list[Text]:
    pairs = zip(table["as_printed"], table["doubt"], strict=True)
    return [Text(MARK + text, style="yellow") if doubt else Text(text) for text, doubt in pairs]


def _numbers(group: pd.DataFrame) -> str:
    """The numbers that one doubt is about: method, what distinguishes them, value."""
    if len(group) > 3:
        return ", ".join(dict.fromkeys(group["method"]))
    shot = group["shot"].map(lambda shots: "" if pd.isna(shots) else f"{shots}-shot")
    described = zip(group["method"], group["dataset_as_printed"], shot, group["as_printed"], strict=True)
    return ", ".join(" ".join(filter(None, parts)) for parts in described)


def _setting(table: pd.DataFrame) -> str:
    """What all lines of a table share."""
    facts = [f"setting: {table['setting'].iloc[0]}"]
    for column in ("backbone", "condition", "dataset_as_printed", "way", "shot", "metric"):
        first, *others = table[column].unique()
        if not others and not pd.isna(first) and first != "":
            facts.append(f"{column.removesuffix('_as_printed')}: {first}")
    units = set(table["unit"])
    return " · ".join([*facts, *(f"in {unit}" for unit in units if len(units) == 1 and unit != "1")])


def _joined(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    texts = table[columns].astype("string").fillna("")
    texts = texts.assign(
        **{c: texts[c].where(texts[c] == "", texts[c] + f"-{c}") for c in columns if c in ("way", "shot")}
    )
    return pd.Series([" · ".join(filter(None, parts)) for parts in texts.itertuples(index=False)], index=table.index)
