"""What `report.html` is made of: a plan's rows, a few images of each domain, and the manifests of its runs."""

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.filesize import decimal

from harness.chosen_plan import chosen_plan
from harness.domain_images import images_of
from harness.errors import HarnessError
from results.entries import name_methods
from results.files import write_whole
from results.leaderboard import seen_states
from results.report.page import COLUMNS, report_page
from results.store import ResultStore


def write_report(
    console: Console, out: Path, plan_hash: str | None, *, to: Path, baseline: str | None, records: Path | None
) -> None:
    """Write the page of one plan in `out` to the file `to`.

    `baseline`: the method that others are compared with at first; `records`: where domains lie that are not shipped.
    """
    if to.is_dir():
        raise HarnessError(f"--to {to}: a folder; name the file to write, as in {to / 'report.html'}")
    with ResultStore(out / "results.sqlite", create=False) as store:
        chosen = chosen_plan(store, plan_hash)
        plan, entries = store.plan(chosen), store.entries(chosen)
        rows = name_methods(store.rows(chosen, COLUMNS), entries)
    page = report_page(
        rows,
        plan,
        baseline=baseline,
        images=images_of(plan, out / "plans" / f"{chosen[:12]}.npz", records),
        manifests=manifests_of(out, chosen),
        seen=seen_states(entries),
    )
    content = page.encode()
    write_whole(to, content)
    console.print(f"wrote {to} ({decimal(len(content))}); open it in a browser", highlight=False, soft_wrap=True)


def manifests_of(out: Path, plan_hash: str) -> list[tuple[str, dict[str, Any]]]:
    """The manifests of a plan's runs, the newest first: file name, content. Raises HarnessError for a damaged one."""
    found = []
    for path in sorted((out / "manifests").glob(f"*-{plan_hash[:8]}.json"), reverse=True):
        try:
            content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise HarnessError(f"{path}: not a run's manifest ({error}); move it away and try again") from error
        if content.get("plan") == plan_hash:
            found.append((path.name, content))
    return found
