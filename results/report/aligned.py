"""The rows of a plan as a matrix, episodes down and methods across: every figure reads columns of the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.store import StoredPlan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episodes:
    """n episodes, by domain and task. `accuracy_pct`: (n, methods), NaN where a method lacks the episode; `domain`,
    `way`, `shots`: (n,), shots being the support images per class, on average over the episode's classes."""

    methods: tuple[str, ...]
    planned: dict[str, int]
    domain: np.ndarray
    way: np.ndarray
    shots: np.ndarray
    accuracy_pct: np.ndarray

    def of(self, domain: str | None) -> np.ndarray:
        """(n,) bool: the episodes of a domain; all of them for None."""
        return np.full(len(self.domain), True) if domain is None else self.domain == domain

    def complete(self, domain: str | None) -> list[int]:
        """Positions of the methods that have every planned episode of a domain; of all domains for None."""
        planned = sum(self.planned.values()) if domain is None else self.planned[domain]
        done = np.isfinite(self.accuracy_pct[self.of(domain)]).sum(axis=0)
        return np.flatnonzero(done == planned).tolist()


def align(rows: pd.DataFrame, plan: StoredPlan, methods: Sequence[str]) -> Episodes:
    """Lay the rows of a plan (method, domain, task, way, n_support, accuracy) side by side, `methods` in that order."""
    accuracy = rows.pivot(index=["domain", "task"], columns="method", values="accuracy")[list(methods)]
    facts = rows.drop_duplicates(["domain", "task"]).set_index(["domain", "task"])[["way", "n_support"]]
    facts = facts.reindex(accuracy.index)
    way = facts["way"].to_numpy(np.int64)
    return Episodes(
        methods=tuple(methods),
        planned=dict(plan.domains),
        domain=accuracy.index.get_level_values("domain").to_numpy(),
        way=way,
        shots=facts["n_support"].to_numpy(float) / way,
        accuracy_pct=100.0 * accuracy.to_numpy(float),
    )
