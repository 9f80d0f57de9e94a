"""What `metabench compare` does, once the command line is read."""

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.chosen_plan import chosen_plan
from harness.console import print_json
from harness.errors import HarnessError, unknown
from harness.methods import parse_methods
from results.store import ResultStore


def show_comparison(
    console: Console,
    a: str,
    b: str,
    *,
    out: Path,
    plan: str | None,
    domains: Sequence[str] | None,
    as_json: bool,
) -> None:
    """Compare two methods of one plan in `out` on the episodes that both have done."""
    from results import comparison, contenders
    from results.render_comparison import render

    with ResultStore(out / "results.sqlite", create=False) as store:
        plan_hash = chosen_plan(store, plan)
        stored = store.plan(plan_hash)
        for domain in domains or ():
            if domain not in stored.domains:
                raise unknown("domain", domain, stored.domains)
        found = contenders.contenders(store.rows(plan_hash, contenders.ROW_COLUMNS), store.entries(plan_hash))
    one, other = (contenders.find(found, text, *_parts(text)) for text in (a, b))
    if one is other:
        raise HarnessError(f"{a!r} and {b!r} are both {one.name}; name two that differ")
    result = comparison.compare(one, other, stored, domains)
    if as_json:
        print_json(comparison.as_json(result))
        return
    for part in render(result, width=console.width):
        console.print(part)


def _parts(text: str) -> tuple[str, str]:
    """The adapter as a leaderboard calls it, and what follows the first @ that is outside parentheses."""
    match = re.fullmatch(r"((?:[^()@]|\([^()]*\))*)(?:@(.*))?", text.strip(), re.DOTALL)
    if match is None or not match[1].strip():
        raise HarnessError(f"cannot read {text!r}; write ADAPTER[@BACKBONE[:CONFIG]], as in url@resnet18-pocket:fixed")
    adapter, rest = match[1].strip(), match[2] or ""
    aside = adapter.endswith("(fixed)")
    methods = parse_methods([adapter.removesuffix("(fixed)").strip()])
    if len(methods) != 1:
        raise HarnessError(f"{adapter!r} are {len(methods)} adapters; name one on each side")
    return methods[0].label + (" (fixed)" if aside else ""), rest
