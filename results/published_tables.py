"""Tables as papers print them, shipped with the package, and what their averages and ranks should be.

One file `published/<table>.csv` per table, a line per number: table, source (paper and table), setting (the benchmark's
name where we have that benchmark), backbone, dataset (our name of the domain), dataset_as_printed, way, shot, condition
(`key=value; ...`), method, metric, value, ci95 (half width), std, unit, note, doubt (why a printed number, or what the
text says of it, cannot be right). Empty where the paper says nothing. Numbers are never corrected: a doubtful one stays
as printed, with its doubt.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from results.errors import PublishedError, did_you_mean
from results.ranks import PAPERS13, rank_columns

SEEN: Mapping[str, Sequence[str]] = {"meta-dataset-mdl": PAPERS13[:8], "meta-dataset-sdl": PAPERS13[:1]}
COLUMNS = (
    *("table", "source", "setting", "backbone", "dataset", "dataset_as_printed", "way", "shot", "condition"),
    *("method", "metric", "value", "ci95", "std", "unit", "note", "doubt"),
)
NUMBERS = {"value": "float64", "ci95": "float64", "std": "float64", "way": "Int64", "shot": "Int64"}
RANK = "average rank"
SUM = "sum of ranks"
_FOLDER = Path(__file__).with_name("published")
_SUMMARY = "-summary"
_HALF_STEP = 0.05  # of numbers printed with one decimal
_EXACT = 1e-9  # what binary arithmetic adds to a difference of decimals


def table_names() -> list[str]:
    """All tables, those of one paper together, table 2 before table 10."""

    def in_order(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (10**9, part) for part in name.split("-")]

    return sorted((path.stem for path in _FOLDER.glob("*.csv")), key=in_order)


def load_table(name: str) -> pd.DataFrame:
    """A table in long form, the columns as this module's docstring says; text is never NaN but empty.

    A last column, as_printed, has value and interval with all printed decimals, as in "58.0 ±1.0". Raises
    PublishedError for a name that is not there.
    """
    known = table_names()
    if name not in known:
        hint = did_you_mean(name, known)
        raise PublishedError(f"no published table {name!r}.{hint} Known: {', '.join(known)}")
    return _read(name).copy()


def sources() -> pd.DataFrame:
    """Every table in order: table, source, setting, numbers (how many), doubts (how many of these)."""
    lines = []
    for name in table_names():
        table = _read(name)
        first = table.iloc[0]
        lines.append((name, first["source"], first["setting"], len(table), int((table["doubt"] != "").sum())))
    return pd.DataFrame(lines, columns=["table", "source", "setting", "numbers", "doubts"])


def summarised_tables() -> list[str]:
    """The tables whose printed averages and ranks are shipped too, in `<table>-summary`."""
    known = table_names()
    return [name for name in known if name + _SUMMARY in known]


def table_of(setting: str) -> str | None:
    """The table of accuracies that was printed for a benchmark, if there is one."""
    return next((name for name in summarised_tables() if _read(name)["setting"].eq(setting).all()), None)


def recomputed(name: str) -> pd.DataFrame:
    """Printed averages and ranks beside those that follow from the printed cells, in the order of the paper.

    Columns: table, method, summary (mean seen | mean unseen | mean all | average rank | sum of ranks), as_printed,
    recomputed, difference (printed minus recomputed), disagrees. Means are plain means over the data sets; the average
    rank is the official rule's over the ten data sets and all methods of the table.

    Rounding alone can move a mean of cells by less than 0.05 and its print by 0.05: a mean disagrees from 0.1 on. A
    rank disagrees beyond 0.05. The ranks of m methods sum to m (m + 1) / 2, whatever the ties.
    """
    cells, printed = load_table(name), load_table(name + _SUMMARY)
    setting = cells["setting"].iloc[0]
    expected = _summary(cells, SEEN[setting])
    found = printed[["table", "method", "metric", "value"]].set_axis(
        ["table", "method", "summary", "as_printed"], axis=1
    )
    found["table"] = name
    pairs = zip(found["method"], found["summary"], strict=True)
    found["recomputed"] = [float(expected.loc[method, summary]) for method, summary in pairs]
    ranks = found[found["summary"] == RANK]
    total = (name, "", SUM, ranks["as_printed"].sum(), len(ranks) * (len(ranks) + 1) / 2)
    found = pd.concat([found, pd.DataFrame([total], columns=found.columns)], ignore_index=True)
    found["difference"] = (found["as_printed"] - found["recomputed"]).round(9)
    size = found["difference"].abs()
    mean = found["summary"].str.startswith("mean")
    allowed = pd.Series(_HALF_STEP + _EXACT, index=found.index).mask(mean, 2 * _HALF_STEP - _EXACT)
    allowed = allowed.mask(found["summary"] == SUM, len(ranks) * _HALF_STEP + _EXACT)
    return found.assign(disagrees=size > allowed)


def disagreements() -> pd.DataFrame:
    """All printed averages and ranks that do not follow from their cells: columns of `recomputed` less the last."""
    found = pd.concat([recomputed(name) for name in summarised_tables()], ignore_index=True)
    return found[found.pop("disagrees")].reset_index(drop=True)


def doubts() -> pd.DataFrame:
    """All single numbers with a doubt, in the order of the tables: the columns of `load_table`."""
    found = pd.concat([_read(name) for name in table_names()], ignore_index=True)
    return found[found["doubt"] != ""].reset_index(drop=True)


@cache
def _read(name: str) -> pd.DataFrame:
    table = pd.read_csv(_FOLDER / f"{name}.csv", dtype=str, keep_default_na=False)
    spread = table["ci95"] + table["std"]  # no table has both
    table["as_printed"] = table["value"] + (" ±" + spread).where(spread != "", "")
    return table.assign(**{column: _numbers(table[column], kind) for column, kind in NUMBERS.items()})


def _numbers(text: pd.Series, kind: str) -> pd.Series:
    return pd.Series(pd.to_numeric(text.where(text != "")), dtype=kind)


def _summary(cells: pd.DataFrame, seen: Sequence[str]) -> pd.DataFrame:
    """Means and average rank by method, NaN where one of the data sets lacks."""
    wide = cells.pivot(index="method", columns="dataset", values="value").reindex(columns=list(PAPERS13))
    unseen = [domain for domain in PAPERS13 if domain not in seen]
    groups = {"mean seen": list(seen), "mean unseen": unseen, "mean all": list(PAPERS13)}
    means = {summary: wide[domains].mean(axis=1, skipna=False) for summary, domains in groups.items()}
    ranks = rank_columns(cells.rename(columns={"value": "accuracy"}), PAPERS13)["avg_rank_official10"]
    return pd.DataFrame(means | {RANK: ranks})
