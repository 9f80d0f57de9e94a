"""One run, in order: plan, embed what is missing, adapt what is missing, store, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console

from episodes.plan import blocks
from episodes.plan_file import save_plan
from harness.blocks import BLOCK, EpisodeResult, evaluate_block
from harness.cautions import cautions
from harness.cells import Cell, Run, logits_of, prepare, record, row_of
from harness.console import counted, say
from harness.devices import deterministic_algorithms
from harness.engines.choice import LOCAL
from harness.engines.contract import Engine
from harness.kept_logits import save_logits
from harness.leaderboard import report
from harness.manifest import write_manifest
from harness.progress import Part, parts
from harness.request import Request
from harness.run_inputs import Inputs, blocks_of, make_inputs
from harness.vectors import cache_in_use
from results.identity import Row
from results.logits import kept_keys
from results.run_lock import sole_runner
from results.store import ResultStore


def run(request: Request, console: Console) -> None:
    """Run what is missing of the request and print its leaderboard."""
    started = time.perf_counter()
    carry_out(prepare(request), console)
    say(console, f"{time.perf_counter() - started:.0f} s in all")


def carry_out(current: Run, console: Console, *, with_report: bool = True) -> None:
    """Compute and store what is missing of a run, write its manifest, and print its leaderboard if that is wanted."""
    request, plan = current.request, current.plan
    save_plan(plan, request.out / "plans" / f"{plan.hash[:12]}.npz")
    introduce(current, console)
    for caution in cautions(current):
        console.print(f"caution   {caution}", style="yellow", highlight=False, markup=False)

    def waiting(runner: str) -> None:
        say(console, f"waiting   {runner} runs into {request.out} now")

    with (
        deterministic_algorithms(request.deterministic),
        sole_runner(request.out, waiting),
        ResultStore(request.out / "results.sqlite") as store,
        cache_in_use(current),
    ):
        embedded, computed = compute(current, store, console)
        write_manifest(current, store, embedded=embedded, computed=computed)
        if with_report:
            report(store, plan.hash, request.out, console)
    if request.shard is not None:
        say(console, f"shard     {request.shard} of the plan is done; `metabench merge OUT IN...` unites the parts")


def introduce(current: Run, console: Console) -> None:
    """Say which plan is about to be carried out."""
    plan = current.plan
    say(console, current.request.benchmark.title)
    sizes = f"{counted(len(plan.domains), 'domain')} x {counted(plan.tasks, 'episode')}"
    say(console, f"plan      {plan.hash[:12]}: {sizes}, seed {plan.seed}")
    if current.left_out:
        say(console, current.left_out)


def compute(current: Run, store: ResultStore, console: Console) -> tuple[int, int]:
    """Compute and store what the store lacks of a run; the number of images embedded and of episodes computed."""
    record(store, current)
    todo, request = list(_missing_blocks(store, current)), current.request
    choice = request.engine if todo else LOCAL  # nothing to do needs no cluster
    with choice.start(request.device, request.workers) as engine:
        inputs = make_inputs(current, [cell for cell, _ in todo], engine, console)
        return inputs.embedded, _adapt(current, todo, inputs, engine, store, console)


def evaluated(
    current: Run, todo: list[tuple[Cell, range]], inputs: Inputs, engine: Engine, *, losses: bool = False
) -> Iterator[tuple[Cell, list[EpisodeResult]]]:
    """The results of these blocks, in order of completion. `losses`: let adapters tell theirs."""
    cells = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    for block, results in engine.run(evaluate_block, blocks_of(current, todo, inputs, losses=losses)):
        yield cells[block.data.plan.domain, block.adapter_hash], results


def _missing_blocks(store: ResultStore, current: Run) -> Iterator[tuple[Cell, range]]:
    """The blocks that lack at least one row, domain by domain; two names of one configuration share theirs."""
    distinct = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    for cell in distinct.values():
        done = store.done(cell.keys)
        if current.request.save_logits:
            done &= kept_keys(logits_of(current, cell)).keys()
        for block in blocks(len(cell.keys), BLOCK):
            if block.start in cell.domain.tasks and any(cell.keys[task] not in done for task in block):
                yield cell, block


def _adapt(
    current: Run,
    todo: list[tuple[Cell, range]],
    inputs: Inputs,
    engine: Engine,
    store: ResultStore,
    console: Console,
) -> int:
    """Compute the missing blocks and store each as it comes; returns the number of episodes computed."""
    total = sum(len(block) for _, block in todo)
    names = ", ".join(method.label for method in current.request.methods)
    state = f"{total:,} to run, {engine.at_a_time} at a time" if total else "all done already"
    say(console, f"episodes  {names}: {state}")
    other: list[str] = []
    with parts(console, _totals(todo)) as done:
        for cell, results in evaluated(current, todo, inputs, engine):
            rows = [row_of(current, cell, result) for result in results]
            other += _other_than_stored(store, rows)
            store.add(rows)
            if current.request.save_logits:
                save_logits(current, cell, rows, results)
            done(_part(cell), [result.accuracy for result in results])
    if other:
        line = f"{len(other)} episodes gave another accuracy than their rows, which stay: {other[0]}"
        console.print(f"caution   {line}", style="yellow", highlight=False, markup=False)
    return total


def _totals(todo: list[tuple[Cell, range]]) -> dict[Part, int]:
    totals: Counter[Part] = Counter()
    for cell, block in todo:
        totals[_part(cell)] += len(block)
    return dict(totals)


def _part(cell: Cell) -> Part:
    return Part(cell.domain.name, cell.configured.label)


def _other_than_stored(store: ResultStore, rows: Sequence[Row]) -> list[str]:
    """A few words on each row that is stored already, with another accuracy."""
    stored = store.accuracies(row.key for row in rows)
    return [
        f"{row.adapter}, {row.domain}, episode {row.task}: {row.accuracy:.4f} now, {stored[row.key]:.4f} stored"
        for row in rows
        if row.key in stored and stored[row.key] != row.accuracy
    ]
