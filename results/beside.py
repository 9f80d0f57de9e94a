"""Measured results beside those that a paper prints for the same setting: never ranked with each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from results.files import write_whole
from results.leaderboard import Leaderboard
from results.outputs.delimited import defused
from results.published_tables import RANK, SEEN, load_table, table_of
from results.ranks import rank_columns

FILE_COLUMNS = ("source", "table", "method", "domain", "n", "mean", "ci95", "contaminated")
MEASURED, PRINTED = "measured", "printed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """A leaderboard and a printed table of its setting, in percent, over the leaderboard's domains.

    cells: source (measured | printed), method, domain, n (episodes; missing where printed), mean_pct, ci95_pct,
    contaminated (never where printed).
    summary: source, method, mean seen, mean unseen, mean all, average rank; over the plan's domains, seen as the
    setting has it, NaN where one lacks; ranks are among the methods of the same source. A printed method follows the
    first measured one of its name, all others come after the measured ones.
    """

    table: str
    citation: str
    cells: pd.DataFrame
    summary: pd.DataFrame
    otherwise_seen: tuple[str, ...]  # domains whose state differs between the measured backbones and the setting


def set_beside(board: Leaderboard) -> Beside | None:
    """The leaderboard beside the table that was printed for its benchmark's test split; None where there is none."""
    setting = board.plan.benchmark
    table = table_of(setting)
    if table is None or board.plan.split != "test":
        return None
    domains, seen = list(board.plan.domains), SEEN[setting]
    columns = ["method", "domain", "n", "mean_pct", "ci95_pct", "contaminated"]
    measured = board.cells.assign(source=MEASURED)[["source", *columns]]
    printed = load_table(table).rename(columns={"dataset": "domain", "value": "mean_pct", "ci95": "ci95_pct"})
    citation = printed["source"].iloc[0]
    printed = printed[printed["domain"].isin(domains)].assign(source=PRINTED, n=None, contaminated=False)
    order = _order(board.methods["method"].tolist(), printed["method"].drop_duplicates().tolist())
    cells = pd.concat(
        [measured.astype({"n": "Int64"}), printed[measured.columns].astype({"n": "Int64"})], ignore_index=True
    )
    parts = {source: _summary(cells[cells["source"] == source], domains, seen) for source in (MEASURED, PRINTED)}
    summary = pd.concat(parts, names=["source", "method"]).reindex(order).reset_index()
    state = {domain: "seen" if domain in seen else "unseen" for domain in domains}
    differ = tuple(domain for domain in domains if board.seen.get(domain, "unknown") != state[domain])
    return Beside(table=table, citation=citation, cells=cells, summary=summary, otherwise_seen=differ)


def write_beside(beside: Beside, path: Path) -> None:
    """A line per method and domain: source, table, method, domain, n, mean, ci95, contaminated; percent, four decimals.

    `source` is measured or printed; `table` names the published table, `n` and `contaminated` are empty where printed.
    The order is the one shown, so that equal results give equal bytes.
    """
    domains = list(dict.fromkeys(beside.cells["domain"]))
    place = {key: i for i, key in enumerate(zip(beside.summary["source"], beside.summary["method"], strict=True))}
    lines = beside.cells.assign(
        place=[place[key] for key in zip(beside.cells["source"], beside.cells["method"], strict=True)],
        within=[domains.index(domain) for domain in beside.cells["domain"]],
        table=["" if source == MEASURED else beside.table for source in beside.cells["source"]],
        contaminated=beside.cells["contaminated"].where(beside.cells["source"] == MEASURED),
        method=beside.cells["method"].map(defused),
        domain=beside.cells["domain"].map(defused),
    ).sort_values(["place", "within"])
    lines = lines.rename(columns={"mean_pct": "mean", "ci95_pct": "ci95"})[list(FILE_COLUMNS)]
    write_whole(path, lines.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode())


def _summary(cells: pd.DataFrame, domains: list[str], seen: Sequence[str]) -> pd.DataFrame:
    wide = cells.pivot(index="method", columns="domain", values="mean_pct").reindex(columns=domains)
    groups = {
        "mean seen": [domain for domain in domains if domain in seen],
        "mean unseen": [domain for domain in domains if domain not in seen],
        "mean all": domains,
    }
    means = {name: wide[group].mean(axis=1, skipna=False) for name, group in groups.items()}
    done = cells.dropna(subset=["mean_pct"])
    ranked = rank_columns(
        done.rename(columns={"domain": "dataset", "mean_pct": "accuracy", "ci95_pct": "ci95"}), domains
    )
    return pd.DataFrame(means | {RANK: ranked["avg_rank"].reindex(wide.index)})


def _order(measured: list[str], printed: list[str]) -> list[tuple[str, str]]:
    """(source, method) in the order shown: `copa` is followed by CoPA, `copa-tsa` by CoPA+TSA."""
    order = []
    for method in measured:
        order.append((MEASURED, method))
        fitting = [name for name in printed if _plain(name) == _plain(re.split(r"[ (@]", method)[0])]
        order += [(PRINTED, name) for name in fitting if (PRINTED, name) not in order]
    return order + [(PRINTED, name) for name in printed if (PRINTED, name) not in order]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
