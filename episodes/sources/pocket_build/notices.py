"""The table of icon sets that goes beside the records: which sets were drawn from, whose, under which licence."""

from pathlib import Path

from episodes.sources.pocket_build.fetch import NPM
from episodes.sources.pocket_build.icons import NAMES, icon_sets


def icon_sets_table(work: Path) -> str:
    """Markdown: one row per set that has at least one of the chosen names."""
    rows = [
        f"| {info['name']} | {info.get('version', '')} | {info['author']['name']} | {info['license']['spdx']} "
        f"| {info['license'].get('url', '')} |"
        for info, icons in icon_sets(work)
        if any(name in icons["icons"] for name in NAMES)
    ]
    head = (
        f"# Icon sets in `icons/`\n\nFrom npm `@iconify/json` {NPM['@iconify/json']}; names, authors and licences as "
        "that package states them.\nThe texts of the licences are in `LICENSES.txt`.\n\n"
        "| set | version | author | licence | licence text of the set |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"
