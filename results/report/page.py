"""report.html: one page, one file, no request to anywhere."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.errors import LeaderboardError
from results.leaderboard import COLUMNS as BOARD_COLUMNS
from results.leaderboard import Leaderboard, leaderboard, mixed_domains, seen_states
from results.report import critical, curves, differences, speed
from results.report.aligned import align
from results.report.cards import DomainImages, cards
from results.report.table import table
from results.store import StoredPlan

if TYPE_CHECKING:
    import jinja2

COLUMNS = (*BOARD_COLUMNS, "way", "n_support")
"""Of `Row`: all that the page reads."""
HERE = Path(__file__).parent
SHOWN_AT_FIRST = 7
"""Methods in the figures before the reader chooses; there are as many colours."""
USUAL_BASELINE = "ncc"
MOST_MANIFESTS = 5
DECIMALS = 3


def report_page(
    rows: pd.DataFrame,
    plan: StoredPlan,
    *,
    baseline: str | None = None,
    images: Mapping[str, DomainImages] | None = None,
    manifests: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> str:
    """The page of a plan, from its rows (COLUMNS, after `name_methods`) in any order.

    `baseline`: the method that others are compared with at first, or its name without the backbone; None for ncc where
    it is there, else the last on the leaderboard. Raises LeaderboardError for an unknown one. `images`: by domain. `manifests`: file name and content, the newest first.
    """
    rows = rows.sort_values(["method", "domain", "task"], ignore_index=True)
    board = leaderboard(rows, plan, seen_states(rows))
    methods = board.methods["method"].tolist()
    episodes = align(rows, plan, methods)
    pairs, first = differences.every_pair(episodes, board), _baseline(methods, baseline)
    axis, panels = differences.panels(pairs, methods, first)
    columns, lines = table(board)
    style, script = (_text(name) for name in ("style.css", "page.js"))
    return _environment().get_template("page.html.j2").render(
        board=board,
        plan=plan,
        methods=methods,
        backbones=sorted(board.methods["backbone"].unique()),
        shown=[i < SHOWN_AT_FIRST or i == first for i in range(len(methods))],
        columns=columns,
        lines=lines,
        mixed=mixed_domains(board.cells),
        incomplete=bool((board.cells["n"] < board.cells["planned"]).any()),
        headline=_headline(board),
        diagram=critical.diagram(board),
        charts={figure: curves.charts(episodes, figure) for figure in curves.FIGURES},
        baseline=first,
        axis=axis,
        panels=panels,
        pairs=pairs,
        scatter=speed.scatter(rows, board),
        cards=cards(board, episodes, images or {}),
        manifests=[(name, _facts(content), _pretty(content)) for name, content in manifests[:MOST_MANIFESTS]],
        further_manifests=max(0, len(manifests) - MOST_MANIFESTS),
        data=_data(pairs, methods),
        geometry={"critical": critical, "curves": curves, "differences": differences, "speed": speed},
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _environment() -> jinja2.Environment:
    import jinja2

    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["px"] = lambda value: f"{value:.1f}".removesuffix(".0")
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> str:
    """A name that may be broken after its underscores."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(name.split("_"))


def _baseline(methods: Sequence[str], wanted: str | None) -> int:
    """The method of that name, else the first by name that begins with it. None: "ncc", else the last one."""
    if wanted in methods:
        return methods.index(wanted)
    found = [name for name in sorted(methods) if name.split(" ")[0] == (wanted or USUAL_BASELINE)]
    if not found and wanted is not None:
        close = difflib.get_close_matches(wanted, methods, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise LeaderboardError(f"no method {wanted!r} to compare with.{hint} Known: {', '.join(sorted(methods))}")
    return methods.index(found[0]) if found else len(methods) - 1


def _headline(board: Leaderboard) -> str:
    """One sentence: who leads, and who ties with whom."""
    complete = board.methods.dropna(subset=["avg_rank"])
    if complete.empty:
        return "No method has all planned episodes yet."
    leaders = complete[complete["avg_rank"] == complete["avg_rank"].min()]
    best = complete.sort_values(["all_pct", "method"], ascending=[False, True]).iloc[0]
    names = leaders["method"].tolist()
    ranks = f"{' and '.join(names)} {'has' if len(names) == 1 else 'share'} the lowest average rank"
    means = f"the highest mean accuracy ({best['all_pct']:.1f} %)."
    joint = "and" if names == [best["method"]] else f"; {best['method']} has"
    return f"{ranks} ({leaders['avg_rank'].iloc[0]:.2f}) {joint} {means}".replace(" ;", ";")


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What of a manifest is shown before it is opened."""
    backbone = manifest.get("backbone")
    name = backbone.get("name") if isinstance(backbone, Mapping) else None
    packages = manifest.get("packages") or {}
    found = {
        "finished": manifest.get("finished"),
        "command": " ".join(["metabench", *map(str, manifest.get("command") or [])]),
        "backbone": name,
        "hyper-parameters": manifest.get("hyper"),
        "device": manifest.get("device"),
        "workers": manifest.get("workers"),
        "machine": manifest.get("platform"),
        "versions": ", ".join(f"{package} {version}" for package, version in packages.items()),
    }
    return [(key, str(value)) for key, value in found.items() if value]


def _pretty(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False)


def _data(pairs: differences.Pairs, methods: Sequence[str]) -> dict[str, Any]:
    """What the page's script needs to draw the forest plot for another baseline."""
    values = [[None if math.isnan(value) else round(value, DECIMALS) for value in row] for row in pairs.effects.reshape(-1, 2).tolist()]
    return {"methods": list(methods), "rows": len(pairs.rows), "domains": pairs.domains, "effects": values}


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """What the content security policy calls a script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
