import sqlite3
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from results import schema
from results.errors import StoreError
from results.identity import Row
from results.store import KEYS_PER_QUERY, ResultStore


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "runs" / "results.sqlite") as store:
        yield store


def test_a_row_comes_back_as_it_went_in(store, make_row, record):
    row = make_row("url", "icons", 1, 2 / 3, hyperparameters={"lr": 0.1}, wall_s=0.1 + 0.2, seed=2**40)
    record(store, icons=2)
    store.add([row])
    assert store.rows("plan").to_dict("records") == [{field.name: getattr(row, field.name) for field in fields(Row)}]


def test_a_stored_row_is_never_overwritten(store, make_row, record):
    first = make_row(accuracy=0.25)
    record(store, icons=1)
    store.add([first])
    store.add([replace(first, accuracy=0.75), make_row("url", accuracy=0.5)])
    assert dict(store.rows("plan")[["adapter", "accuracy"]].itertuples(index=False)) == {"ncc": 0.25, "url": 0.5}


def test_done_knows_the_stored_keys_among_many(store, make_row):
    rows = [make_row(task=task) for task in range(KEYS_PER_QUERY + 20)]
    store.add(rows[::2])
    assert store.done(row.key for row in rows) == {row.key for row in rows[::2]}
    assert store.done([]) == set()


def test_one_bad_row_keeps_its_whole_block_out(store, make_row):
    good, bad = make_row(task=0), make_row(task=1, accuracy=1.5)
    with pytest.raises(StoreError, match=r"results\.sqlite: CHECK constraint failed"):
        store.add([good, bad])
    assert store.done([good.key, bad.key]) == set()
    store.add([good])
    assert store.done([good.key]) == {good.key}


def test_an_accuracy_that_is_no_number_is_refused(store, make_row):
    with pytest.raises(StoreError, match=r"NOT NULL constraint failed: rows\.accuracy"):
        store.add([make_row(accuracy=float("nan"))])


def test_a_shorter_plan_shares_the_rows_of_a_longer_one(store, make_row, record):
    record(store, "long", icons=3, mnist=3)
    record(store, "short", mnist=2)
    store.add([make_row(domain=domain, task=task) for domain in ("icons", "mnist") for task in range(3)])
    assert store.rows("long")["task"].tolist() == [0, 1, 2, 0, 1, 2]
    short = store.rows("short", ["domain", "task", "plan_hash"])
    assert short.values.tolist() == [["mnist", 0, "first-plan"], ["mnist", 1, "first-plan"]]


def test_rows_of_other_episodes_stay_out_of_a_plan(store, make_row, record):
    record(store, icons=1)
    store.add([make_row(), make_row(episode_hash="of another seed"), make_row(domain="mnist")])
    assert store.rows("plan")["episode_hash"].tolist() == ["episode-icons-0"]


def test_rows_from_other_image_files_stay_out_of_a_plan(store, make_row, record):
    record(store, icons=1)
    store.add([make_row(accuracy=0.25), make_row(accuracy=0.75, records_hash="rebuilt-icons")])
    assert store.rows("plan")["accuracy"].tolist() == [0.25]
    record(store, records="rebuilt", icons=1)
    assert store.rows("plan")["accuracy"].tolist() == [0.75]


def test_an_episode_drawn_twice_counts_twice(store, make_row):
    store.record_plan("plan", "tiny", "test", 0, 2, {"icons": ["same", "same"]}, {"icons": "records-icons"})
    store.add([make_row(episode_hash="same")])
    assert store.rows("plan")["task"].tolist() == [0, 1]


def test_rows_are_in_display_order_whatever_the_order_of_adding(store, make_row, record):
    record(store, mnist=2, icons=2)
    store.add([make_row(domain=domain, task=task) for domain in ("icons", "mnist") for task in (1, 0)])
    assert store.rows("plan", ["domain", "task"]).values.tolist() == [
        ["mnist", 0],
        ["mnist", 1],
        ["icons", 0],
        ["icons", 1],
    ]


def test_a_plan_comes_back_with_its_domains_in_display_order(store, record):
    record(store, zebra=2, icons=3)
    plan = store.plan("plan")
    assert (plan.benchmark, plan.split, plan.seed, plan.tasks) == ("pocket", "test", 0, 3)
    assert list(plan.domains.items()) == [("zebra", 2), ("icons", 3)]


def test_the_plan_used_last_is_the_latest(store, record):
    assert store.latest_plan() is None
    record(store, "first", icons=1)
    record(store, "second", icons=2)
    assert store.latest_plan() == "second"
    record(store, "first", icons=1)
    assert store.plans()["plan_hash"].tolist() == ["first", "second"]
    assert store.latest_plan() == "first"


def test_an_unknown_plan_is_answered_with_the_known_ones(store, record):
    record(store, "abcdef", icons=1)
    with pytest.raises(StoreError, match=r"no plan 'abcdeg'\. Did you mean 'abcdef'\? Known: abcdef"):
        store.rows("abcdeg")


def test_an_empty_plan_has_a_frame_with_all_columns(store, record):
    record(store, icons=1)
    frame = store.rows("plan")
    assert frame.empty
    assert list(frame.columns) == [field.name for field in fields(Row)]


def test_the_tables_have_a_column_for_every_field_of_a_row(store):
    columns = [name for _, name, *_ in sqlite3.connect(store.path).execute("PRAGMA table_info(rows)")]
    assert columns == [field.name for field in fields(Row)]


def test_a_local_store_is_durable_and_lets_readers_in_while_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("results.database.on_network", lambda path: False)
    with ResultStore(tmp_path / "results.sqlite") as store:
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_on_a_network_file_system_the_old_journal_is_used(tmp_path, monkeypatch, make_row, record):
    path = tmp_path / "results.sqlite"
    monkeypatch.setattr("results.database.on_network", lambda path: False)
    with ResultStore(path) as local:
        record(local, icons=1)
    monkeypatch.setattr("results.database.on_network", lambda path: True)
    with ResultStore(path) as store:
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        store.add([make_row()])
        assert len(store.rows("plan")) == 1


def test_opening_again_finds_everything(tmp_path, make_row, record):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        record(store, icons=1)
        store.add([make_row()])
    with ResultStore(path, create=False) as store:
        assert store.latest_plan() == "plan"
        assert len(store.rows("plan")) == 1
        assert store._connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)


VERSION_2 = "ALTER TABLE plans DROP COLUMN setting; PRAGMA user_version = 2;"
VERSION_1 = f"{VERSION_2} ALTER TABLE plan_entries DROP COLUMN contaminated; PRAGMA user_version = 1;"
ENTRY_1 = "INSERT INTO plan_entries VALUES ('plan', 'ncc', 'net', 'icons', 'adapter', 'backbone', '{}', 'seen');"


def make_older(path, script):
    with sqlite3.connect(path) as database:
        database.executescript(script)
    database.close()


def test_a_store_of_the_first_version_opens_with_all_it_holds(tmp_path, make_row, record):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        record(store, icons=1)
        store.add([make_row()])
    make_older(path, VERSION_1 + ENTRY_1)
    for create in (False, True):  # brought up to date once, then opened as it is
        with ResultStore(path, create=create) as store:
            assert store._connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
            assert len(store.rows("plan")) == 1
            assert store.entries("plan")["contaminated"].tolist() == [0]
            assert store.plan("plan").setting == ""


@pytest.mark.parametrize("script", [VERSION_1, VERSION_2])
def test_an_older_store_has_the_tables_of_a_new_one(tmp_path, script):
    shapes = []
    for name in ("new", "old"):
        ResultStore(tmp_path / name).close()
        if name == "old":
            make_older(tmp_path / name, script)
            ResultStore(tmp_path / name).close()
        with sqlite3.connect(tmp_path / name) as database:
            tables = [table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = {table: list(database.execute(f"PRAGMA table_info({table})")) for table in sorted(tables)}
        shapes.append({table: [column[1:] for column in found] for table, found in columns.items()})
    assert shapes[0] == shapes[1]


def test_a_plan_of_an_older_store_has_its_setting_when_it_is_run_again(tmp_path, record):
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        record(store, icons=1)
    make_older(path, VERSION_2)
    with ResultStore(path) as store:
        record(store, icons=1, setting="5shot")
        assert store.plan("plan").setting == "5shot"
        assert store.plans()["setting"].tolist() == ["5shot"]


def test_importing_the_store_loads_neither_pandas_nor_torch():
    code = "import sys, results.store; print({'pandas', 'torch', 'scipy', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
