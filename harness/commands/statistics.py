"""`metabench leaderboard --significance` and `--seeds`: how sure the leaderboard of a plan is."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.console import print_json
from harness.errors import HarnessError
from results.store import ResultStore, StoredPlan

if TYPE_CHECKING:
    from results.data_interval import ClassDesign


def show_significance(store: ResultStore, plan_hash: str, out: Path, console: Console, *, as_json: bool) -> None:
    """Print tests and both intervals of a plan's results, for people or as JSON; classes come from the plan's file."""
    from results.entries import name_methods
    from results.evidence import as_json as plain
    from results.evidence import evidence
    from results.leaderboard import COLUMNS
    from results.render_evidence import render_evidence

    path = out / "plans" / f"{plan_hash[:12]}.npz"
    rows = name_methods(store.rows(plan_hash, COLUMNS), store.entries(plan_hash))
    found = evidence(rows, store.plan(plan_hash), _designs(path))
    if as_json:
        print_json(plain(found))
        return
    for part in render_evidence(found):
        console.print(part, highlight=False)
    if not path.exists():
        line = f"{path} is not there, so that classes are not known: the run that made the rows writes it again"
        console.print(line, style="dim", highlight=False, soft_wrap=True)


def show_seeds(store: ResultStore, plan_hash: str, console: Console, *, as_json: bool = False) -> None:
    """Print the means over this plan and all stored ones that differ from it in their seed only."""
    from results.entries import name_methods
    from results.leaderboard import COLUMNS
    from results.plain import records_of
    from results.seeds import cells_of_seeds, over_seeds, render_seeds

    chosen = store.plan(plan_hash)
    stored = [store.plan(name) for name in store.plans()["plan_hash"]]
    alike = [plan for plan in stored if _but_for_seed(plan) == _but_for_seed(chosen)]
    plans = sorted(alike, key=lambda plan: plan.seed)
    if len(plans) < 2:
        raise HarnessError(
            f"only seed {chosen.seed} of {chosen.benchmark} with {chosen.tasks} episodes is stored; run it with --seed "
            f"{chosen.seed + 1} too"
        )
    runs = [(p, name_methods(store.rows(p.plan_hash, COLUMNS), store.entries(p.plan_hash))) for p in plans]
    found, seeds = over_seeds(cells_of_seeds(runs)), [plan.seed for plan in plans]
    if as_json:
        print_json({"benchmark": chosen.benchmark, "split": chosen.split, "seeds": seeds, "cells": records_of(found)})
        return
    for part in render_seeds(found, chosen, seeds):
        console.print(part, highlight=False)


def _but_for_seed(plan: StoredPlan) -> tuple:
    return plan.benchmark, plan.split, plan.setting, plan.tasks, plan.domains


def _designs(path: Path) -> "dict[str, ClassDesign]":
    """Which classes each domain's episodes hold; none when the plan's file has gone."""
    import numpy as np

    from episodes.plan_file import load_plan
    from results.data_interval import class_design

    if not path.exists():
        return {}
    return {
        domain.domain: class_design(np.split(domain.class_ids, np.cumsum(domain.ways)[:-1]))
        for domain in load_plan(path).domains
    }
