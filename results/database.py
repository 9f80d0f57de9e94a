"""Opening the store's SQLite file: durability, schema version, and errors in plain words."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from results import schema
from results.errors import StoreError
from results.filesystem import on_network

BUSY_S = 60.0  # how long a writer waits for another one
WAL_VERSION = 2  # byte 18 of a file whose journal is a write-ahead log


def connect(path: Path, *, create: bool = True) -> sqlite3.Connection:
    """Open or create the store; transactions are explicit. Whatever is wrong with the file is a StoreError."""
    if not create and not path.exists():
        raise StoreError(f"{path}: there are no results yet; run a benchmark with this --out first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as on_failure:
            connection = on_failure.enter_context(closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)))
            if not _is_store(connection, path):
                _create_tables(connection, path)
            if _version(connection) < schema.VERSION:
                _migrate(connection)
            _make_durable(connection, "delete" if on_network(path) else "wal")
            on_failure.pop_all()
            return connection
    except (sqlite3.Error, OSError) as error:
        raise StoreError(explain(path, error)) from error


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A store to read as this version of the schema has it; neither it nor its folder is written to.

    An older one is read from a copy that is brought to this version. Whatever is wrong with it is a StoreError.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no such result store")
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(closing(sqlite3.connect(_read_only(path), uri=True, isolation_level=None)))
            if not _is_store(connection, path):
                raise StoreError(f"{path}: an empty file, not a result store")
            if _version(connection) < schema.VERSION:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="metabench-"))
                copy = stack.enter_context(closing(sqlite3.connect(Path(folder, "copy.sqlite"), isolation_level=None)))
                connection.backup(copy)
                _migrate(copy)
                connection = copy
            yield connection
    except (sqlite3.Error, OSError) as error:
        raise StoreError(explain(path, error)) from error


def only_readable(path: Path) -> bool:
    """Whether the file is there and may not be written to; SQLite writes beside it, too."""
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def explain(path: Path, error: Exception) -> str:
    """One line that names the file, the trouble and what to do."""
    if isinstance(error, OSError):
        return f"{path}: cannot be opened ({error.strerror}); choose another --out"
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None  # the higher bits only refine the code
    advice = {
        sqlite3.SQLITE_FULL: "free some space, then run the same command again; rows stored are safe",
        sqlite3.SQLITE_IOERR: "check the disk and its space, then run the same command again; rows stored are safe",
        sqlite3.SQLITE_BUSY: f"another process kept it locked for {BUSY_S:.0f} s; end that one or wait, then run again",
        sqlite3.SQLITE_NOTADB: "it is not a result store; move it away or choose another --out",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away and run again, or restore a copy",
        sqlite3.SQLITE_CANTOPEN: "check that it is a file in a directory you may write to, or choose another --out",
        sqlite3.SQLITE_READONLY: "make the file and its directory writable, or choose another --out",
        sqlite3.SQLITE_CONSTRAINT: "nothing of this block was stored",
    }
    return "; ".join([f"{path}: {error}", *([advice[primary]] if primary in advice else [])])


def _read_only(path: Path) -> str:
    """The file as a URI. A closed write-ahead log leaves none behind, and then reading must not make one."""
    with path.open("rb") as file:
        wal = file.read(19)[18:] == bytes([WAL_VERSION])
    closed = wal and not path.with_name(f"{path.name}-wal").exists()
    return f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if closed else ''}"


def _is_store(connection: sqlite3.Connection, path: Path) -> bool:
    """False for an empty file; other programs' files and newer versions are refused."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return False
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = _version(connection)
    if owner != schema.APPLICATION_ID:
        raise StoreError(f"{path}: an SQLite file of another program; move it away or choose another --out")
    if version != schema.VERSION and version not in schema.MIGRATIONS:
        raise StoreError(
            f"{path}: written by another version of Metabench (schema {version}, this one reads {schema.VERSION});"
            " use that version or choose another --out"
        )
    return True


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if not _is_store(connection, path):  # of several processes that start at once only one still finds it empty
        for statement in schema.CREATE.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("COMMIT")


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring an older store to this version, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for version in range(_version(connection), schema.VERSION):  # none, if another process has just done it
        connection.execute(schema.MIGRATIONS[version])
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _make_durable(connection: sqlite3.Connection, journal: str) -> None:
    """Committed means on disk. Where SQLite cannot have a write-ahead log it keeps its old journal, equally safe."""
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != journal:
        try:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            return
        except sqlite3.OperationalError as error:
            # changing the journal needs the file alone and does not wait for that by itself
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
