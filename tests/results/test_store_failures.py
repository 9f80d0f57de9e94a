"""Damaged files, full disks, killed and crowding processes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

import results
from results import schema
from results.errors import StoreError
from results.store import ResultStore

WRITER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from results.identity import Row
from results.store import ResultStore
path, name, blocks, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
template = Row(**json.loads(sys.argv[5]))
with ResultStore(Path(path)) as store:
    for block in range(blocks):
        store.add([replace(template, key=f"{name}-{block * size + i}") for i in range(size)])
        print(block + 1, flush=True)
"""


@pytest.fixture
def writer(tmp_path, make_row):
    """Start a process that adds `blocks` blocks of `size` rows, with keys `<name>-<i>`; it prints the blocks done."""
    started = []

    def start(name, blocks, size, prelude=""):
        arguments = [str(tmp_path / "results.sqlite"), name, str(blocks), str(size), json.dumps(asdict(make_row()))]
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + WRITER, *arguments],
            env=os.environ | {"PYTHONPATH": str(Path(results.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def stored_keys(path):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return {key for (key,) in connection.execute("SELECT key FROM rows")}


def test_whole_blocks_survive_kill_9(tmp_path, writer):
    process = writer("a", 100_000, 30)
    for _ in range(20):
        printed = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    with ResultStore(tmp_path / "results.sqlite", create=False) as store:
        count = len(store.done(f"a-{i}" for i in range(100 * 30 * printed)))
    assert count % 30 == 0
    assert count >= 30 * printed
    assert len(stored_keys(tmp_path / "results.sqlite")) == count


def test_a_full_disk_is_one_line_and_keeps_the_rows_stored_before(tmp_path, writer):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
    path = tmp_path / "results.sqlite"
    output, errors = writer("a", 100_000, 30, limit).communicate(timeout=60)
    blocks = len(output.splitlines())
    assert blocks > 0
    assert errors.splitlines()[-1].startswith(f"results.errors.StoreError: {path}: disk I/O error; check the disk")
    assert len(stored_keys(path)) == 30 * blocks
    with ResultStore(path) as store:
        assert store.done([f"a-{30 * blocks - 1}", f"a-{30 * blocks}"]) == {f"a-{30 * blocks - 1}"}


def test_a_store_that_may_not_grow_says_so_and_takes_rows_again_later(tmp_path, make_row):
    first = [make_row(task=task) for task in range(10)]
    many = [make_row("url", task=task) for task in range(2000)]
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add(first)
        store._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match=r"results\.sqlite: database or disk is full; free some space"):
            store.add(many)
        store._connection.execute("PRAGMA max_page_count = 1000000")
        assert store.done(row.key for row in first + many) == {row.key for row in first}
        store.add(many)
        assert len(store.done(row.key for row in many)) == 2000


@pytest.mark.parametrize("follower", [None, "another store"])
def test_rows_are_not_acknowledged_when_the_file_was_taken_away(tmp_path, make_row, follower):
    path = tmp_path / "out" / "results.sqlite"
    with ResultStore(path) as store:
        store.add([make_row(task=0)])
        path.parent.rename(tmp_path / "elsewhere")
        if follower:
            ResultStore(path).close()
        with pytest.raises(StoreError, match=r"results\.sqlite: was removed or replaced .* run the same command again"):
            store.add([make_row(task=1)])


def test_several_processes_may_create_and_fill_one_store(tmp_path, writer):
    processes = [writer(name, 10, 5) for name in "abcd"]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert stored_keys(tmp_path / "results.sqlite") == {f"{name}-{i}" for name in "abcd" for i in range(50)}


def test_a_store_locked_for_too_long_says_so(tmp_path, make_row, monkeypatch):
    path = tmp_path / "results.sqlite"
    with ResultStore(path), sqlite3.connect(path, isolation_level=None) as other:
        monkeypatch.setattr("results.database.BUSY_S", 0.01)
        with ResultStore(path) as store:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked; another process"):
                store.add([make_row()])
            other.execute("ROLLBACK")
            store.add([make_row()])


def test_changing_the_journal_waits_until_others_have_closed_the_file(tmp_path, monkeypatch):
    path = tmp_path / "results.sqlite"
    monkeypatch.setattr("results.database.on_network", lambda path: False)
    ResultStore(path).close()
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("SELECT count(*) FROM rows").fetchone()
    monkeypatch.setattr("results.database.on_network", lambda path: True)
    closing = threading.Timer(0.2, other.close)
    closing.start()
    with ResultStore(path) as store:
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    closing.join()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "results.sqlite"
    path.write_bytes(b"method,accuracy\n" * 100)
    with pytest.raises(StoreError, match=r"results\.sqlite: file is not a database; .* move it away"):
        ResultStore(path)
    assert path.read_bytes() == b"method,accuracy\n" * 100


def test_another_programs_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "results.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"results\.sqlite: an SQLite file of another program"):
        ResultStore(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_by_number(tmp_path):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store._connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match=rf"schema {schema.VERSION + 1}, this one reads {schema.VERSION}\)"):
        ResultStore(path)


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_truncated_store_is_named_as_damaged(tmp_path, make_row, keep):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add([make_row(task=task) for task in range(300)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(StoreError, match=r"results\.sqlite: database disk image is malformed; the file is damaged"):
        ResultStore(path)


def test_overwritten_pages_are_named_as_damaged_when_they_are_read(tmp_path, make_row, record):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        record(store, icons=300)
        store.add([make_row(task=task) for task in range(300)])
    whole = bytearray(path.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)
    path.write_bytes(whole)
    with pytest.raises(StoreError, match=r"results\.sqlite: .*malformed"), ResultStore(path) as store:
        store.rows("plan")


def test_a_missing_store_is_not_created_by_a_reader(tmp_path):
    with pytest.raises(StoreError, match=r"results\.sqlite: there are no results yet"):
        ResultStore(tmp_path / "results.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_hold_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "results.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"results\.sqlite: unable to open database file; check"):
        ResultStore(tmp_path / "results.sqlite")
    with pytest.raises(StoreError, match=r"file/runs/results\.sqlite: cannot be opened"):
        ResultStore(tmp_path / "file" / "runs" / "results.sqlite")


def test_a_store_of_somebody_else_is_read_and_nothing_is_written_beside_it(tmp_path, make_row, record, monkeypatch):
    path = tmp_path / "theirs/results.sqlite"
    with ResultStore(path) as store:
        record(store, "plan", icons=2)
        store.add([make_row(task=0)])
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    monkeypatch.setattr("results.database.os.access", lambda *asked: False)
    with ResultStore(path, create=False) as store:
        assert len(store.rows("plan")) == 1
        assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
        with pytest.raises(StoreError, match="theirs/results.sqlite: .*readonly"):
            store.add([make_row(task=1)])
