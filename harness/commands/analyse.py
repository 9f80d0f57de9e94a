"""`metabench analyse gap`: adapt to the plan's episodes and measure the representations that come of it."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console

import backbones
from episodes.plan import DomainPlan, blocks
from harness.blocks import BLOCK, Adapted, Block, inspect_block
from harness.cells import Cell, Run, prepare
from harness.console import say
from harness.errors import HarnessError
from harness.methods import Method
from harness.progress import bar
from harness.request import Request
from harness.run import introduce
from harness.run_inputs import blocks_of, make_inputs
from harness.vectors import cache_in_use
from results.analysis.collect import Found, tables
from results.analysis.figures import Example, write_figures
from results.analysis.measures import Measured, Representation, measure
from results.analysis.output import best_shift_table, definitions_table, direction_table, summary_table, write_tables
from results.analysis.tables import CLAIM, FROZEN

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

NEAREST_CENTROID = Method("ncc", {})
READABLE = 10
"""Classes that a scatter of one episode shows well."""


class Looked(NamedTuple):
    """One episode: its numbers, and what it looks like where it is the one to be drawn."""

    task: int
    measured: Measured
    shown: Representation | None


def analyse_gap(request: Request, console: Console, *, figures: bool) -> None:
    """Measure, print the tables and write everything to `<out>/analysis`."""
    current = prepare(_with_frozen(request, console))
    plan = current.plan
    introduce(current, console)
    found, examples = _measure(current, console)
    domains = [domain.domain for domain in plan.domains]
    methods = [*dict.fromkeys(_label(cell) for cell in current.cells)]
    made = tables(found, domains, methods)
    _print(made, console)
    folder = request.out / "analysis"
    written = write_tables(folder, _facts(current, methods), made)
    if figures:
        place = {(e.domain, e.method): e for e in examples}
        drawn = [place[name, method] for name in domains for method in methods if (name, method) in place]
        pictures = write_figures(folder, drawn, made["gap"], made["gap_and_loss"], made["spectra"])
        written += [f"{name}.png/.svg" for name in pictures]
    say(console, f"wrote to {folder}: {', '.join(written)}")


def measure_block(block: Block, shown: Mapping[str, int]) -> list[Looked]:
    """The measures of a block's episodes. `shown`: the episode of each domain whose embedding is to be drawn."""

    def look(adapted: Adapted) -> Looked:
        representation = _representation(block.adapter, adapted)
        kept = representation if shown[block.data.plan.domain] == adapted.task else None
        return Looked(adapted.task, measure(representation, seed=adapted.task), kept)

    return inspect_block(block, look)


def _with_frozen(request: Request, console: Console) -> Request:
    """The request with nearest centroid first, which is the frozen state, unless several networks leave it no features
    of its own. Raises HarnessError for an adapter of that name."""
    taken = next((method.name for method in request.methods if method.label == FROZEN), None)
    if taken:
        raise HarnessError(f"{taken}: the tables call the state before adaptation {FROZEN!r}; rename the file")
    if len(backbones.members_of(request.backbone.load(request.device_here))) > 1:
        say(console, "several networks: there is no one frozen embedding to compare with")
        return request
    others = [method for method in request.methods if method.label != NEAREST_CENTROID.label]
    return replace(request, methods=(NEAREST_CENTROID, *others))


def _label(cell: Cell) -> str:
    return FROZEN if cell.configured.label == NEAREST_CENTROID.label else cell.configured.label


def _measure(current: Run, console: Console) -> tuple[list[Found], list[Example]]:
    """Every episode under every method; two names of one configuration share the work."""
    cells: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in current.cells:
        cells[cell.domain.name, cell.configured.adapter_hash].append(cell)
    todo = [(same[0], block) for same in cells.values() for block in blocks(len(same[0].keys), BLOCK)]
    work = functools.partial(measure_block, shown={d.domain: _readable(d) for d in current.plan.domains})
    found: list[Found] = []
    examples: list[Example] = []
    request = current.request
    with cache_in_use(current), request.engine.start(request.device, request.workers) as engine:
        units = blocks_of(current, todo, make_inputs(current, [cell for cell, _ in todo], engine, console))
        with bar(console, "measure", sum(len(block) for _, block in todo)) as advance:
            for block, results in engine.run(work, units):
                for cell in cells[block.data.plan.domain, block.adapter_hash]:
                    name = cell.domain.name, _label(cell)
                    found += [Found(*name, looked.task, looked.measured) for looked in results]
                    examples += [_example(*name, looked) for looked in results if looked.shown]
                advance(len(results))
    return found, examples


def _readable(plan: DomainPlan) -> int:
    """The first episode of few classes, else the one of the fewest."""
    few = np.flatnonzero(plan.ways <= READABLE)
    return int(few[0] if len(few) else plan.ways.argmin())


def _representation(name: str, adapted: Adapted) -> Representation:
    """The episode as the predictor represents it. Raises HarnessError for one that does not show it."""
    predictor: Any = adapted.predictor
    given = getattr(adapted.made.support, adapted.adapter.takes)
    if given is None or not (hasattr(predictor, "represent") and hasattr(predictor, "prototypes")):
        raise HarnessError(
            f"adapter {name!r} shows no representation (its predictor has no .represent(x) and .prototypes), so that "
            "there is nothing to measure; leave it out of --adapters"
        )
    return Representation(
        support=_array(predictor.represent(given)),
        labels=adapted.made.support.labels.cpu().numpy(),
        prototypes=_array(predictor.prototypes),
        queries=_array(predictor.represent(adapted.made.queries)),
        query_labels=adapted.made.query_labels.numpy(),
        logits=_array(adapted.logits),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def _example(domain: str, method: str, looked: Looked) -> Example:
    assert looked.shown is not None
    shown = looked.shown
    gap = looked.measured.numbers["gap"]
    return Example(domain, method, looked.task, shown.support, shown.labels, shown.prototypes, gap)


def _print(made: Mapping[str, pd.DataFrame], console: Console) -> None:
    console.print(summary_table(made["gap"]))
    say(console, "means over episodes, of the support set but for loss and accuracy; gap of unit vectors ±95% interval")
    say(console, f"{FROZEN}: the backbone's features and their class means, before adaptation")
    claims = made["direction"]
    if len(claims):
        console.print(f"\n{CLAIM}", style="bold", highlight=False)
        console.print(direction_table(claims[claims["measure"] == "gap"]))
        say(
            console, "% of the episodes in which it is so; holds, fails: the paired difference's 95% interval says so\n"
        )
        console.print(definitions_table(claims))
    console.print("\nValidation loss when images and prototypes are moved apart", style="bold", highlight=False)
    console.print(best_shift_table(made["best_shift"]))


def _facts(current: Run, methods: list[str]) -> dict[str, Any]:
    plan, request = current.plan, current.request
    return {
        "plan": plan.hash,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "seed": plan.seed,
        "episodes_per_domain": plan.tasks,
        "domains": [domain.domain for domain in plan.domains],
        "methods": methods,
        "hyper": request.hyper,
        "backbone": current.backbone.name,
        "backbone_hash": current.backbone_hash,
        "flags": dict(current.flags),
    }
