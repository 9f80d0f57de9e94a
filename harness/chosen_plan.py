"""Which of a store's plans a command is about."""

from pathlib import Path

from harness.errors import HarnessError, unknown
from results.store import ResultStore


def chosen_plan(store: ResultStore, out: Path, plan: str | None) -> str:
    """The hash of the plan that begins with `plan`, by default of the last one used."""
    plans = store.plans()["plan_hash"].tolist()
    if not plans:
        raise HarnessError(f"{out}: no plan has been run yet; `metabench run` makes one")
    matching = [name for name in plans if name.startswith(plan or "")]
    if not matching:
        raise unknown("plan", plan or "", [name[:12] for name in plans])
    if plan and len(matching) > 1:
        raise HarnessError(f"--plan {plan} fits {', '.join(name[:12] for name in matching)}; give more of it")
    return matching[0]
