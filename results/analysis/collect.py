"""The tables of an analysis, from its measured episodes in any order."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from results.analysis.measures import GAPS, Measured
from results.analysis.tables import best_shifts, direction, mean_sweep, summary


class Found(NamedTuple):
    """What was measured of a method in an episode of a domain."""

    domain: str
    method: str
    task: int
    measured: Measured


def tables(found: Sequence[Found], domains: Sequence[str], methods: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Every table by its name; lines are in the order of `domains`, `methods` and tasks.

    gap: means and changes, see `summary`. direction: the claim, for each definition of the gap (column `measure`).
    gap_and_loss: the mean sweep. best_shift: where its loss is least. episodes: domain, method, task and all numbers.
    spectra: domain, method, kind (singular value | explained variance), component from 1, value; means over episodes.
    """
    place = {name: (domains.index(name[0]), methods.index(name[1])) for name in {each[:2] for each in found}}
    ordered = sorted(found, key=lambda each: (*place[each[:2]], each.task))
    keys = ["domain", "method", "task"]
    episodes = pd.DataFrame([dict(zip(keys, each[:3], strict=True)) | each.measured.numbers for each in ordered])
    sweeps = pd.concat([each.measured.sweep for each in ordered], keys=[each[:3] for each in ordered], names=keys)
    sweeps = sweeps.droplevel(-1).reset_index()
    claims = [direction(episodes, measure).assign(measure=measure) for measure in GAPS]
    return {
        "gap": summary(episodes),
        "direction": pd.concat(claims, ignore_index=True),
        "gap_and_loss": mean_sweep(sweeps),
        "best_shift": best_shifts(sweeps),
        "episodes": episodes,
        "spectra": pd.DataFrame(_spectra(ordered), columns=["domain", "method", "kind", "component", "value"]),
    }


def _spectra(ordered: Sequence[Found]) -> Iterator[tuple[str, str, str, int, float]]:
    for domain, method in dict.fromkeys(each[:2] for each in ordered):
        own = [each.measured for each in ordered if each[:2] == (domain, method)]
        for kind, curves in (
            ("singular value", [measured.singular_values for measured in own]),
            ("explained variance", [measured.explained for measured in own]),
        ):
            spread = [curve for curve in curves if np.isfinite(curve).all()]
            mean = np.mean(spread, axis=0) if spread else np.full(len(curves[0]), np.nan)
            yield from ((domain, method, kind, place, value) for place, value in enumerate(mean.tolist(), 1))
