"""leaderboard.json: the numbers of a leaderboard, and what each of the files beside it is."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.entries import plain_name
from results.leaderboard import GROUPS, Leaderboard
from results.ranks import RANK_COLUMNS

FORMAT = 1


def leaderboard_json(board: Leaderboard, files: Sequence[Path]) -> str:
    """Plan, methods with their numbers (rounded as in leaderboard.csv, null where episodes are missing), and files.

    files: in the order to list them; each must be there.
    """
    plan = board.plan
    domains = {
        domain: {
            "episodes": planned,
            "seen": board.seen.get(domain, "unknown"),
            "contaminated": domain in board.contaminated,
        }
        for domain, planned in plan.domains.items()
    }
    facts = {
        "format": FORMAT,
        "plan": plan.plan_hash,
        "benchmark": plan.benchmark,
        "setting": plan.setting,
        "split": plan.split,
        "seed": plan.seed,
        "episodes": plan.tasks,
        "domains": domains,
        "methods": [_method(board, method) for method in board.methods.to_dict("records")],
        "files": [_file(path) for path in files],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _method(board: Leaderboard, method: dict[Any, Any]) -> dict[str, Any]:
    cells = board.cells[board.cells["method"] == method["method"]].set_index("domain")
    return {
        "name": method["method"],
        "method": plain_name(method["method"], method["backbone"]),
        "backbone": method["backbone"],
        "hyper": method["hyper"],
        **{column: _number(method[column]) for column in RANK_COLUMNS},
        **{f"{group}_mean": _number(method[f"{group}_pct"]) for group in GROUPS},
        "domains": {
            domain: {
                "mean": _number(cells.loc[domain, "mean_pct"]),
                "ci95": _number(cells.loc[domain, "ci95_pct"]),
                "rank": _number(cells.loc[domain, "rank"]),
                "n": int(cells.loc[domain, "n"]),
                "contaminated": bool(cells.loc[domain, "contaminated"]),
            }
            for domain in board.plan.domains
        },
    }


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest, "columns": _columns(path)}


def _columns(path: Path) -> list[str]:
    """Of a table; none of a text."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file))
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_schema(path).names
    return []
