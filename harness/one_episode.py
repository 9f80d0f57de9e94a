"""One episode of a plan, adapted to as in a run: same images, same generator, so the same logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Console

from harness.cells import Cell, Run, prepare, row_of
from harness.engines.choice import LOCAL
from harness.errors import HarnessError
from harness.inputs import query_order
from harness.kept_logits import episode_logits
from harness.planned import Planned
from harness.request import EpisodeSource, Request
from harness.run import evaluated
from harness.run_inputs import make_inputs
from harness.vectors import cache_in_use
from results.logits import EpisodeLogits


class Evaluated(NamedTuple):
    """An episode under one method. `losses`: (steps,), of adapters that tell them."""

    run: Run
    cell: Cell
    logits: EpisodeLogits
    losses: np.ndarray | None


@dataclass(frozen=True)
class OneEpisode:
    """Of `source`, episode number `task` alone, as number 0."""

    source: EpisodeSource
    task: int

    @property
    def facts(self) -> Mapping[str, str]:
        return self.source.facts

    def plan(self, request: Request) -> Planned:
        planned = self.source.plan(request)
        alone = tuple(domain.part(range(self.task, self.task + 1)) for domain in planned.plan.domains)
        return planned._replace(plan=dataclasses.replace(planned.plan, domains=alone))


def evaluate_episode(request: Request, task: int, console: Console) -> Evaluated:
    """Adapt to one episode of a request that names one domain and one method. Nothing but embeddings is kept.

    Raises HarnessError when the plan is shorter.
    """
    tasks = request.tasks or request.benchmark.tasks
    if task >= tasks:
        advice = f"give --tasks {task + 1} or more" if request.tasks is None else "--tasks says how many"
        raise HarnessError(f"no episode {task}: the plan has {tasks}, from 0 to {tasks - 1}; {advice}")
    # the first episodes of a longer plan are those of a shorter one
    source = OneEpisode(request.source, task)
    current = prepare(dataclasses.replace(request, source=source, tasks=task + 1, workers=1, save_logits=True))
    (cell,) = current.cells
    with cache_in_use(current), LOCAL.start(request.device, 1) as engine:
        inputs = make_inputs(current, [cell], engine, console)
        ((_, (result,)),) = evaluated(current, [(cell, range(1))], inputs, engine, losses=True)
    logits = episode_logits(row_of(current, cell, result), result)
    return Evaluated(current, cell, logits._replace(task=task), result.losses)


def episode_images(found: Evaluated) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The support's and the queries' images, (H, W, 3) uint8 each, the queries in the order of the logits."""
    records, episode = found.cell.domain.records, found.cell.domain.plan.episode(0)
    order = query_order(found.logits.episode_hash, len(episode.query_labels))
    pairs = (
        (episode.support_classes, episode.support_records),
        (episode.query_classes[order], episode.query_records[order]),
    )
    support, queries = (
        [records.encoded(c, r).decode() for c, r in zip(classes.tolist(), numbers.tolist(), strict=True)]
        for classes, numbers in pairs
    )
    return support, queries
