"""The result store: one SQLite file that keeps every row of every run, safe against kill -9 and full disks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from results.database import connect, explain, only_readable, reading
from results.entries import Entry
from results.errors import StoreError, did_you_mean
from results.identity import Row

if TYPE_CHECKING:
    import pandas as pd

ROW_FIELDS = tuple(field.name for field in fields(Row))
_values = attrgetter(*ROW_FIELDS)  # dataclasses.astuple copies each value, at half a millisecond a row
ENTRY_FIELDS = tuple(field.name for field in fields(Entry))
KEYS_PER_QUERY = 500  # SQLite builds differ in how many parameters one query may have; all take 999
LINES_PER_PART = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """What the store knows of a plan: enough to tell which rows are missing from its leaderboard."""

    plan_hash: str
    benchmark: str
    split: str
    seed: int
    tasks: int  # episodes asked for per domain
    domains: Mapping[str, int]  # planned episodes of each domain, in display order
    setting: str = ""  # what its episodes look like (standard | 5shot | 1shot | fixed-5w1s ...); "" in older stores


class ResultStore:
    """Rows and plans in the SQLite file `path`; a context manager. Several processes may use one file at once.

    create=False refuses a file that does not exist yet, and reads one that may not be written to. A row once stored is
    never changed or removed.
    """

    def __init__(self, path: Path, *, create: bool = True):
        self.path = Path(path)
        self._open = ExitStack()
        if not create and only_readable(self.path):
            self._connection = self._open.enter_context(reading(self.path))
        else:
            self._connection = self._open.enter_context(closing(connect(self.path, create=create)))
        self._file = self._at_path()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        with self._errors_named():
            self._open.close()

    def record_plan(
        self,
        plan_hash: str,
        benchmark: str,
        split: str,
        seed: int,
        tasks: int,
        episodes: Mapping[str, Sequence[str]],
        records: Mapping[str, str],
        setting: str = "",
    ) -> None:
        """Keep a plan, or note that it is used again.

        episodes: per domain, in display order, the episode hashes by task. records: per domain the fingerprint of
        its image records; only rows computed from these belong to the plan. setting: see `StoredPlan`.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (plan_hash) DO UPDATE SET last_used = excluded.last_used, setting = excluded.setting",
                (plan_hash, benchmark, split, seed, tasks, now, now, setting),
            )
            connection.executemany(
                "INSERT INTO plan_domains VALUES (?, ?, ?, ?)"
                " ON CONFLICT (plan_hash, domain) DO UPDATE SET records_hash = excluded.records_hash",
                [(plan_hash, position, domain, records[domain]) for position, domain in enumerate(episodes)],
            )
            connection.executemany(
                "INSERT INTO plan_episodes VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (plan_hash, domain, task, episode_hash)
                    for domain, hashes in episodes.items()
                    for task, episode_hash in enumerate(hashes)
                ],
            )

    def record_entries(self, plan_hash: str, entries: Sequence[Entry]) -> None:
        """Keep what the plan was run with; of one method, backbone and domain the latest configuration stands.

        A backbone whose weights have changed under its name takes its former entries away (never the rows): methods
        on old and on new weights must not stand side by side as if they had shared them. What its card says of a
        domain now holds for every method of the plan on that backbone.
        """
        marks = ", ".join("?" * (1 + len(ENTRY_FIELDS)))
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM plan_entries WHERE plan_hash = ? AND backbone = ? AND backbone_hash <> ?",
                {(plan_hash, entry.backbone, entry.backbone_hash) for entry in entries},
            )
            connection.executemany(
                f"INSERT OR REPLACE INTO plan_entries (plan_hash, {', '.join(ENTRY_FIELDS)}) VALUES ({marks})",
                [(plan_hash, *astuple(entry)) for entry in entries],
            )
            connection.executemany(
                "UPDATE plan_entries SET seen = ?, contaminated = ?"
                " WHERE plan_hash = ? AND backbone = ? AND backbone_hash = ? AND domain = ?",
                {(e.seen, e.contaminated, plan_hash, e.backbone, e.backbone_hash, e.domain) for e in entries},
            )

    def done(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that already have a row."""
        return set(self.accuracies(keys))

    def accuracies(self, keys: Iterable[str]) -> dict[str, float]:
        """The accuracy (0 to 1) of each of the keys that already has a row."""
        wanted = list(keys)
        found: dict[str, float] = {}
        with self._errors_named():
            for start in range(0, len(wanted), KEYS_PER_QUERY):
                chunk = wanted[start : start + KEYS_PER_QUERY]
                marks = ", ".join("?" * len(chunk))
                found.update(
                    self._connection.execute(f"SELECT key, accuracy FROM rows WHERE key IN ({marks})", chunk).fetchall()
                )
        return found

    def add(self, rows: Sequence[Row]) -> None:
        """Store all rows in one transaction, on disk when this returns; a row whose key is known changes nothing.

        Raises StoreError, too, when the file was taken away in the meantime, and the rows with it.
        """
        marks = ", ".join("?" * len(ROW_FIELDS))
        with self._transaction() as connection:
            connection.executemany(
                f"INSERT INTO rows ({', '.join(ROW_FIELDS)}) VALUES ({marks}) ON CONFLICT (key) DO NOTHING",
                [_values(row) for row in rows],
            )

    def plans(self) -> pd.DataFrame:
        """All plans, the last used one first: plan_hash, benchmark, split, seed, tasks, created, last_used, setting."""
        return self._frame("SELECT * FROM plans ORDER BY last_used DESC, rowid DESC")

    def latest_plan(self) -> str | None:
        """Hash of the plan used last; None in a store without plans."""
        known = self._known_plans()
        return known[0] if known else None

    def plan(self, plan_hash: str) -> StoredPlan:
        """The plan of that hash."""
        with self._errors_named():
            row = self._connection.execute(
                "SELECT plan_hash, benchmark, split, seed, tasks, setting FROM plans WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
            counts = self._connection.execute(
                "SELECT domain, count(*) FROM plan_domains JOIN plan_episodes USING (plan_hash, domain)"
                " WHERE plan_hash = ? GROUP BY domain ORDER BY position",
                (plan_hash,),
            ).fetchall()
        if row is None:
            raise StoreError(f"{self.path}: no plan {plan_hash!r}.{self._hint(plan_hash)}")
        names = ("plan_hash", "benchmark", "split", "seed", "tasks", "setting")
        return StoredPlan(**dict(zip(names, row, strict=True)), domains=dict(counts))

    def rows(self, plan_hash: str, columns: Sequence[str] = ROW_FIELDS) -> pd.DataFrame:
        """Every row that belongs to the plan, whichever plan it was computed under, by domain (display order) and task.

        columns: fields of `Row` to read; `task` is the position in this plan.
        """
        self.plan(plan_hash)
        wanted = ", ".join(f"plan_episodes.{name}" if name == "task" else f"rows.{name}" for name in columns)
        return self._frame(
            f"SELECT {wanted} FROM plan_domains"
            " JOIN plan_episodes USING (plan_hash, domain)"
            " JOIN rows USING (domain, records_hash, episode_hash)"
            " WHERE plan_domains.plan_hash = ?"
            " ORDER BY plan_domains.position, plan_episodes.task, rows.key",
            (plan_hash,),
        )

    def entries(self, plan_hash: str) -> pd.DataFrame:
        """What the plan was run with: the fields of `Entry`, by method, backbone and domain."""
        self.plan(plan_hash)
        return self._frame(
            f"SELECT {', '.join(ENTRY_FIELDS)} FROM plan_entries WHERE plan_hash = ? ORDER BY method, backbone, domain",
            (plan_hash,),
        )

    def _frame(self, query: str, parameters: Sequence[str] = ()) -> pd.DataFrame:
        import pandas as pd

        with self._errors_named():
            cursor = self._connection.execute(query, parameters)
            columns = [column[0] for column in cursor.description]
            parts = iter(lambda: cursor.fetchmany(LINES_PER_PART), [])  # all at once costs half as much again
            frames = [pd.DataFrame(lines, columns=columns) for lines in parts]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

    def _known_plans(self) -> list[str]:
        with self._errors_named():
            found = self._connection.execute("SELECT plan_hash FROM plans ORDER BY last_used DESC, rowid DESC")
            return [plan_hash for (plan_hash,) in found]

    def _hint(self, plan_hash: str) -> str:
        known = self._known_plans()
        return f"{did_you_mean(plan_hash, known)} Known: {', '.join(known) or 'none'}"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and the right to write from the start, so that no two writers wait for each other."""
        with self._errors_named():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        if self._at_path() != self._file:  # an open file that was removed takes rows as any other does
            raise StoreError(f"{self.path}: was removed or replaced while in use; run the same command again")

    def _at_path(self) -> tuple[int, int] | None:
        """Which file lies there now; None for none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(explain(self.path, error)) from error
