"""Which plans several stores have in common, and in what they differ where they have not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from results.database import explain
from results.errors import MergeError, StoreError

FACTS = ("benchmark", "split", "seed", "tasks", "setting")


class Source(NamedTuple):
    """An open store and the file's name. Whatever goes wrong with it is a StoreError that names this one of them."""

    path: Path
    connection: sqlite3.Connection

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """All that a query finds."""
        with self._named():
            return self.connection.execute(query, values).fetchall()

    def portions(self, query: str, values: Sequence[Any], size: int) -> Iterator[list[Any]]:
        """What a query finds, `size` rows at a time."""
        with self._named():
            cursor = self.connection.execute(query, values)
        while True:
            with self._named():
                found = cursor.fetchmany(size)
            if not found:
                return
            yield found

    def write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement with the values of each row."""
        with self._named():
            self.connection.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in this block, or nothing."""
        self._command("BEGIN IMMEDIATE")
        try:
            yield
            self._command("COMMIT")
        finally:
            if self.connection.in_transaction:
                self._command("ROLLBACK")

    def _command(self, command: str) -> None:
        with self._named():
            self.connection.execute(command)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(explain(self.path, error)) from error


def common_plans(sources: Sequence[Source], chosen: str | None) -> list[str]:
    """The plans that all stores have, all of them having the same; or the one whose hash begins with `chosen`.

    Raises MergeError saying which plans differ and in what.
    """
    held = [plans_of(source) for source in sources]
    if chosen is not None:
        return [_chosen(sources, held, chosen)]
    first, plans = sources[0], held[0]
    for source, others in zip(sources[1:], held[1:], strict=True):
        for one, its, other, theirs in ((source, others, first, plans), (first, plans, source, others)):
            extra = next((plan for plan in its if plan not in theirs), None)
            if extra is not None:
                raise MergeError(_difference(one, extra, other, theirs))
    if not plans:
        raise MergeError(f"{first.path}: no plan has been run yet, so that there is nothing to merge")
    return plans


def check_same_plan(target: Source, source: Source, plan: str) -> None:
    """Raise MergeError where a plan that both stores have stands for other images in one of them."""
    there, here = _records(target, plan), _records(source, plan)
    for domain in here:
        if there.get(domain, here[domain]) != here[domain]:
            raise MergeError(
                f"{source.path}: plan {plan[:12]} was run on other images of {domain} (records {here[domain][:12]}) "
                f"than in {target.path} ({there[domain][:12]})"
            )


def _chosen(sources: Sequence[Source], held: Sequence[list[str]], chosen: str) -> str:
    matching = {plan for plans in held for plan in plans if plan.startswith(chosen)}
    if len(matching) != 1:
        known = ", ".join(sorted(plan[:12] for plan in matching or {plan for plans in held for plan in plans}))
        raise MergeError(f"--plan {chosen} fits {len(matching) or 'none'} of the plans here: {known}")
    plan = matching.pop()
    for source, plans in zip(sources, held, strict=True):
        if plan not in plans:
            raise MergeError(f"{source.path}: does not have plan {plan[:12]}; leave that store out")
    return plan


def plans_of(source: Source) -> list[str]:
    """Hashes of the plans of a store, the oldest first."""
    return [plan for (plan,) in source.fetch("SELECT plan_hash FROM plans ORDER BY created, plan_hash")]


def _difference(source: Source, plan: str, other: Source, plans: Sequence[str]) -> str:
    """One line: what `source` holds and `other` does not, against the plan there that comes nearest."""
    told = f"{source.path}: holds plan {_told(source, plan)}, which {other.path} does not have"
    ways = [(_ways(source, plan, other, candidate), candidate) for candidate in plans]
    if ways:
        differing, nearest = min(ways, key=lambda each: len(each[0]))
        told += f"; plan {nearest[:12]} there differs in {', '.join(differing)}"
    return f"{told}; merge one plan by --plan HASH, or leave a store out"


def _told(source: Source, plan: str) -> str:
    benchmark, split, seed, tasks, _ = _facts(source, plan)
    return f"{plan[:12]} ({benchmark} {split}, {tasks} episodes a domain, seed {seed})"


def _ways(source: Source, plan: str, other: Source, candidate: str) -> list[str]:
    """In what two plans differ."""
    pairs = zip(FACTS, _facts(source, plan), _facts(other, candidate), strict=True)
    found = [f"{name} ({one} against {two})" for name, one, two in pairs if one != two and "" not in (one, two)]
    here, there = _records(source, plan), _records(other, candidate)
    if list(here) != list(there):
        found.append(f"domains ({' '.join(here)} against {' '.join(there)})")
    found += [f"the images of {domain}" for domain in here if there.get(domain, here[domain]) != here[domain]]
    return found or ["its episodes (another protocol or dataset_spec.json)"]


def _facts(source: Source, plan: str) -> tuple:
    (facts,) = source.fetch(f"SELECT {', '.join(FACTS)} FROM plans WHERE plan_hash = ?", (plan,))
    return facts


def _records(source: Source, plan: str) -> dict[str, str]:
    """The fingerprint of each domain's images, in display order."""
    query = "SELECT domain, records_hash FROM plan_domains WHERE plan_hash = ? ORDER BY position"
    return dict(source.fetch(query, (plan,)))
