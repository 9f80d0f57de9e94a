"""What `metabench published` and `metabench leaderboard --with published` do."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from harness.console import print_json, say
from harness.errors import unknown
from results.beside import MEASURED, set_beside, write_beside
from results.leaderboard import Leaderboard
from results.plain import records_of
from results.published_tables import (
    disagreements,
    doubts,
    load_table,
    recomputed,
    sources,
    summarised_tables,
)
from results.render_beside import render_beside
from results.render_published import render_check, render_recomputed, render_sources, render_table

COMPANIONS = ("published",)


def checked_companion(name: str | None) -> str | None:
    """The value of --with, or None. Raises HarnessError for a name that is none."""
    if name is not None and name not in COMPANIONS:
        raise unknown("table for --with:", name, COMPANIONS)
    return name


def list_tables(console: Console, *, as_json: bool) -> None:
    """Name, size and source of every table."""
    tables = sources()
    if as_json:
        print_json(_lines(tables))
        return
    for part in render_sources(tables):
        console.print(part)


def show_table(console: Console, name: str, *, as_json: bool) -> None:
    """One table as printed; with its averages and ranks beside the recomputed ones where the paper prints some."""
    table = load_table(name)
    summary = recomputed(name) if name in summarised_tables() else None
    if as_json:
        both = {"table": name, "cells": _lines(table)}
        print_json(both if summary is None else both | {"summary": _lines(summary)})
        return
    parts = render_table(table, width=console.width) + (render_recomputed(summary) if summary is not None else [])
    for part in parts:
        console.print(part)


def check_tables(console: Console, *, as_json: bool) -> None:
    """Every disagreement between printed and recomputed averages and ranks, and every other doubt."""
    if as_json:
        print_json({"disagreements": _lines(disagreements()), "doubts": _lines(doubts())})
        return
    for part in render_check(disagreements(), doubts()):
        console.print(part)


def show_beside(board: Leaderboard, out: Path, console: Console) -> None:
    """Print measured beside printed numbers of the same setting, and write them; one line if there are none."""
    found = set_beside(board)
    if found is None:
        plan = board.plan
        there = ", ".join(load_table(name)["setting"].iloc[0] for name in summarised_tables())
        say(
            console, f"no published table for {plan.benchmark}, {plan.split} split; the test splits of {there} have one"
        )
        return
    for part in render_beside(found, width=console.width):
        console.print(part)
    path = out / "leaderboard_with_published.csv"
    write_beside(found, path)
    count = (found.summary["source"] == MEASURED).sum()
    say(console, f"wrote {path}: {count} measured methods, {len(found.summary) - count} printed")


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return records_of(frame.round(6))
