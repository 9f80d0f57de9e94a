"""The leaderboard of a plan: found in a store, printed, and written as CSV."""

from pathlib import Path

from rich.console import Console

from harness.errors import HarnessError, unknown
from results.store import ResultStore

BASELINE = "ncc"


def show_leaderboard(console: Console, out: Path, plan: str | None) -> None:
    """The leaderboard of one plan in `out`: the last run's, or the one whose hash begins with `plan`."""
    with ResultStore(out / "results.sqlite", create=False) as store:
        report(store, chosen_plan(store, plan), out, console)


def show_plans(console: Console, out: Path) -> None:
    """The plans in `out` that have results, the last used one first."""
    with ResultStore(out / "results.sqlite", create=False) as store:
        chosen_plan(store, None)
        for row in store.plans().to_dict("records"):
            facts = f"{row['benchmark']} {row['split']}, {row['tasks']} episodes a domain, seed {row['seed']}"
            console.print(f"{row['plan_hash'][:12]}  {facts}, last used {row['last_used']}", highlight=False)


def chosen_plan(store: ResultStore, plan: str | None) -> str:
    """Hash of the plan used last, or of the one that begins with `plan`. Raises HarnessError for none, or several."""
    known = store.plans()["plan_hash"].tolist()
    if not known:
        raise HarnessError(f"{store.path.parent}: no plan has been run yet; `metabench run` makes one")
    matching = [name for name in known if name.startswith(plan or "")]
    if not matching:
        raise unknown("plan", plan or "", [name[:12] for name in known])
    if plan and len(matching) > 1:
        raise HarnessError(f"--plan {plan} fits {', '.join(name[:12] for name in matching)}; give more of it")
    return matching[0]


def report(store: ResultStore, plan_hash: str, out: Path, console: Console) -> None:
    """Print a plan's leaderboard and write `leaderboard.csv` and `timings.csv` under `out`."""
    from results.entries import name_methods
    from results.export import write_csv, write_timings
    from results.leaderboard import COLUMNS, leaderboard, paired, seen_states
    from results.render import render

    rows, plan = name_methods(store.rows(plan_hash, COLUMNS), store.entries(plan_hash)), store.plan(plan_hash)
    seen = seen_states(rows)
    board = leaderboard(rows, plan, seen)
    methods = board.methods["method"].tolist()
    baseline = next((name for name in sorted(methods) if name.split(" ")[0] == BASELINE), None)
    differences = paired(rows, plan, seen, baseline) if baseline and len(methods) > 1 else None
    for part in render(board, differences, width=console.width):
        console.print(part)
    write_csv(board, out / "leaderboard.csv")
    write_timings(rows, out / "timings.csv")
    console.print(f"wrote {out / 'leaderboard.csv'} and timings.csv", style="dim", highlight=False, soft_wrap=True)
