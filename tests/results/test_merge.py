"""Stores of several machines become one; what does not belong together is told."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results import schema
from results.database import reading
from results.entries import Entry
from results.errors import MergeError, StoreError
from results.merge import merge
from results.store import ResultStore

ENTRY = Entry(
    method="ncc", backbone="net", domain="icons", adapter_hash="a", backbone_hash="b", flags="{}", seen="seen"
)


@pytest.fixture
def make_store(tmp_path, make_row, record):
    """make_store("one", tasks, plan=..., planned=10, records=..., accuracy=...): a store with rows of these tasks."""

    def make(name, tasks, plan="plan", planned=10, records="records", accuracy=0.5, entries=(ENTRY,)):
        path = tmp_path / name / "results.sqlite"
        with ResultStore(path) as store:
            record(store, plan, records=records, icons=planned)
            store.record_entries(plan, list(entries))
            store.add([make_row(task=task, accuracy=accuracy, records_hash=f"{records}-icons") for task in tasks])
        return path

    return make


def contents(path):
    with sqlite3.connect(path) as database:
        tables = ("rows", "plans", "plan_domains", "plan_episodes", "plan_entries")
        return {table: sorted(database.execute(f"SELECT * FROM {table}")) for table in tables}


def test_the_rows_of_all_stores_come_together_once(tmp_path, make_store):
    one, two = make_store("one", range(6)), make_store("two", range(4, 10))
    done = merge(tmp_path / "all.sqlite", [one, two])
    assert [store[1:] for store in done.stores] == [(6, 6, 0), (6, 4, 0)]
    with ResultStore(tmp_path / "all.sqlite") as store:
        assert store.rows("plan")["task"].tolist() == list(range(10))
        assert store.plan("plan").domains == {"icons": 10}
        assert store.entries("plan")["method"].tolist() == ["ncc"]


def test_merging_again_changes_nothing(tmp_path, make_store):
    one, two = make_store("one", range(6)), make_store("two", range(4, 10))
    merge(tmp_path / "all.sqlite", [one, two])
    before = contents(tmp_path / "all.sqlite")
    again = merge(tmp_path / "all.sqlite", [two, one, two])
    assert [store.new for store in again.stores] == [0, 0, 0]
    assert contents(tmp_path / "all.sqlite") == before


@settings(max_examples=15)
@given(parts=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=4), seed=st.randoms())
def test_neither_order_nor_grouping_matters(parts, seed, tmp_path_factory, make_row, record):
    folder = tmp_path_factory.mktemp("parts")
    paths = []
    for number, tasks in enumerate(parts):
        paths.append(folder / f"{number}.sqlite")
        with ResultStore(paths[-1]) as store:
            record(store, icons=10)
            store.add([make_row(task=task) for task in tasks])
    merge(folder / "at once.sqlite", paths)
    shuffled = seed.sample(paths, len(paths))
    for path in shuffled:
        merge(folder / "one by one.sqlite", [path])
    assert contents(folder / "at once.sqlite") == contents(folder / "one by one.sqlite")
    assert len(contents(folder / "at once.sqlite")["rows"]) == len(set().union(*parts))


def test_inputs_are_left_as_they_were_to_the_byte_with_no_file_beside_them(tmp_path, make_store):
    one, two = make_store("one", range(3)), make_store("two", range(3, 6))
    before = {path: (path.read_bytes(), sorted(path.parent.iterdir())) for path in (one, two)}
    merge(tmp_path / "all.sqlite", [one, two])
    assert {path: (path.read_bytes(), sorted(path.parent.iterdir())) for path in (one, two)} == before


def test_a_store_that_a_killed_run_left_is_read_with_all_its_rows(tmp_path, make_store):
    path = make_store("killed", range(3))
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('UPDATE rows SET wall_s = 7.0'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name("results.sqlite-wal").exists()
    merge(tmp_path / "all.sqlite", [path])
    with ResultStore(tmp_path / "all.sqlite") as store:
        assert store.rows("plan")["wall_s"].tolist() == [7.0] * 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": "other", "planned": 12}, r"tasks \(12 against 10\)"),
        ({"plan": "other", "records": "new"}, "the images of icons"),
        ({"plan": "other"}, "its episodes"),
    ],
)
def test_stores_of_different_plans_are_refused_and_the_difference_is_named(tmp_path, make_store, changes, words):
    one, two = make_store("one", range(3)), make_store("two", range(3), **changes)
    with pytest.raises(MergeError, match=rf"two/results.sqlite: holds plan other .*differs in .*{words}"):
        merge(tmp_path / "all.sqlite", [one, two])
    assert not (tmp_path / "all.sqlite").exists()


def test_a_further_plan_in_one_store_is_refused_until_one_plan_is_chosen(tmp_path, make_store, record):
    one, two = make_store("one", range(3)), make_store("two", range(3, 6))
    with ResultStore(two) as store:
        record(store, "longer", icons=30)
    with pytest.raises(MergeError, match=r"two/.*holds plan longer \(pocket test, 30 .*one/.* does not have"):
        merge(tmp_path / "all.sqlite", [one, two])
    assert merge(tmp_path / "all.sqlite", [one, two], plan="pl").plans == ["plan"]
    with ResultStore(tmp_path / "all.sqlite") as store:
        assert store.plans()["plan_hash"].tolist() == ["plan"]
    with pytest.raises(MergeError, match=r"one/results.sqlite: does not have plan longer"):
        merge(tmp_path / "all.sqlite", [one, two], plan="longer")
    with pytest.raises(MergeError, match="--plan x fits none of the plans here: longer, plan"):
        merge(tmp_path / "all.sqlite", [one, two], plan="x")


def test_the_same_plan_on_other_images_is_refused(tmp_path, make_store):
    one, two = make_store("one", range(3)), make_store("two", range(3), records="new")
    with pytest.raises(MergeError, match="two/results.sqlite: plan plan was run on other images of icons"):
        merge(tmp_path / "all.sqlite", [one, two])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapter_hash": "z"}, r"ncc on net, icons, was run with other configuration \(z, a\)"),
        ({"flags": '{"hyper": "fixed"}'}, "with other options"),
        ({"method": "url", "domain": "mnist", "backbone_hash": "z"}, r"url on net, mnist, .* other .*weights \(z, b\)"),
    ],
)
def test_another_configuration_under_the_same_name_is_refused(tmp_path, make_store, changes, words):
    one, two = make_store("one", range(3)), make_store("two", range(3), entries=[replace(ENTRY, **changes)])
    with pytest.raises(MergeError, match=words):
        merge(tmp_path / "all.sqlite", [one, two])


def test_two_accuracies_of_one_row_are_refused_by_name_and_within_a_tolerance_the_first_stands(tmp_path, make_store):
    one, two = make_store("one", range(3)), make_store("two", range(2, 5), accuracy=0.52)
    with pytest.raises(MergeError, match=r"two/.*: ncc on net, icons, task 2: accuracy 0.52, and 0.5 is stored"):
        merge(tmp_path / "all.sqlite", [one, two])
    assert not (tmp_path / "all.sqlite").exists()
    done = merge(tmp_path / "all.sqlite", [one, two], tolerance=0.03)
    assert [store.differing for store in done.stores] == [0, 1]
    with ResultStore(tmp_path / "all.sqlite") as store:
        assert store.rows("plan")["accuracy"].tolist() == [0.5, 0.5, 0.5, 0.52, 0.52]


def test_a_refused_merge_leaves_the_store_that_was_there_as_it_was(tmp_path, make_store):
    all_rows, one, two = make_store("all", range(2)), make_store("one", range(3)), make_store("two", [2], accuracy=0.9)
    before = contents(all_rows)
    with pytest.raises(MergeError):
        merge(all_rows, [one, two])
    assert contents(all_rows) == before


def test_an_older_store_is_merged_from_a_migrated_copy(tmp_path, make_store):
    old = make_store("old", range(3))
    with sqlite3.connect(old) as database:
        database.execute("ALTER TABLE plan_entries DROP COLUMN contaminated")
        database.execute("ALTER TABLE plans DROP COLUMN setting")
        database.execute("PRAGMA user_version = 1")
    database.close()
    before = old.read_bytes()
    merge(tmp_path / "all.sqlite", [old, make_store("new", range(3, 6))])
    assert old.read_bytes() == before
    with reading(tmp_path / "all.sqlite") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
        assert database.execute("SELECT count(*) FROM rows").fetchone() == (6,)


def test_what_episodes_look_like_is_taken_from_the_store_that_says_it(tmp_path, make_store):
    old, new = make_store("old", range(3)), make_store("new", range(3, 6))
    for path, setting in ((old, ""), (new, "5shot")):
        with sqlite3.connect(path) as database:
            database.execute("UPDATE plans SET setting = ?", (setting,))
        database.close()
    merge(tmp_path / "all.sqlite", [old, new, old])
    with ResultStore(tmp_path / "all.sqlite") as store:
        assert store.plan("plan").setting == "5shot"


def test_what_is_no_store_is_refused(tmp_path, make_store):
    one = make_store("one", range(3))
    (tmp_path / "text.sqlite").write_text("accuracy" * 100)
    (tmp_path / "empty.sqlite").touch()
    for name, words in {"text": "not a database", "empty": "an empty file", "none": "no such result store"}.items():
        with pytest.raises(StoreError, match=words):
            merge(tmp_path / "all.sqlite", [one, tmp_path / f"{name}.sqlite"])
    with pytest.raises(MergeError, match="is what the others are merged into"):
        merge(one, [one])
    shutil.copy(one, tmp_path / "copy.sqlite")
    assert merge(one, [tmp_path / "copy.sqlite"]).stores[0].new == 0


def test_a_damaged_input_is_named_and_not_what_is_merged_into_nor_its_neighbour(tmp_path, make_store):
    """Inputs are read while others are open: the line is about the one that is damaged."""
    stores = [make_store(name, range(2)) for name in ("good", "bad", "fine")]
    with closing(sqlite3.connect(stores[1])) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'plan_entries'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(stores[1].read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    stores[1].write_bytes(content)
    with pytest.raises(StoreError, match="bad/results.sqlite: .*malformed"):
        merge(tmp_path / "all.sqlite", stores)
    assert not (tmp_path / "all.sqlite").exists()
