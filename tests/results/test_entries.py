from dataclasses import asdict, astuple, replace

import pandas as pd
import pytest

from results.entries import Entry, name_methods
from results.store import ResultStore


@pytest.fixture
def store(tmp_path, record):
    with ResultStore(tmp_path / "results.sqlite") as store:
        record(store, icons=1, mnist=1)
        yield store


def entry_of(row, method):
    """The entry that a row answers."""
    fields = ("backbone", "domain", "adapter_hash", "backbone_hash", "flags", "seen")
    return Entry(method=method, **{name: getattr(row, name) for name in fields})


def named(*pairs):
    """(method, domain, accuracy) of the rows that belong to the entries, from (row, its method or None) pairs."""
    rows = pd.DataFrame([asdict(row) for row in dict.fromkeys(row for row, _ in pairs)])
    entries = pd.DataFrame([asdict(entry_of(row, method)) for row, method in pairs if method])
    return sorted(name_methods(rows, entries)[["method", "domain", "accuracy"]].itertuples(index=False, name=None))


def test_entries_come_back_for_their_plan_only(store, make_row, record):
    record(store, "other", icons=1)
    entries = [entry_of(make_row(domain=domain), "ncc") for domain in ("icons", "mnist")]
    store.record_entries("plan", entries)
    assert store.entries("plan").to_dict("records") == [asdict(entry) for entry in entries]
    assert store.entries("other").empty


def test_the_latest_configuration_of_a_method_stands(store, make_row):
    old, new = make_row(adapter_version="1"), make_row(adapter_version="2")
    store.record_entries("plan", [entry_of(old, "ncc")])
    store.record_entries("plan", [entry_of(new, "ncc")])
    assert store.entries("plan")["adapter_hash"].tolist() == [new.adapter_hash]


def test_a_method_keeps_its_name_over_domains_with_different_rates(make_row):
    icons = make_row("url", "icons", accuracy=0.1, hyperparameters={"lr": 0.1})
    mnist = make_row("url", "mnist", accuracy=0.5, hyperparameters={"lr": 0.5})
    assert named((icons, "url"), (mnist, "url")) == [("url", "icons", 0.1), ("url", "mnist", 0.5)]


def test_one_row_answers_every_method_that_asks_for_it(make_row):
    row = make_row("url", hyperparameters={"lr": 0.1})
    assert named((row, "url"), (row, "url(lr=0.1)")) == [("url", "icons", 0.5), ("url(lr=0.1)", "icons", 0.5)]


def test_rows_nobody_asked_for_stay_out(make_row):
    asked, other = make_row("url", hyperparameters={"lr": 0.1}), make_row("url", hyperparameters={"lr": 9.0})
    assert named((asked, "url"), (other, None)) == [("url", "icons", 0.5)]


def test_methods_are_told_apart_by_backbone_where_there_are_several(make_row):
    rows = [make_row(backbone=backbone, accuracy=accuracy) for backbone, accuracy in [("net", 0.9), ("random", 0.3)]]
    assert named(*((row, "ncc") for row in rows)) == [("ncc @ net", "icons", 0.9), ("ncc @ random", "icons", 0.3)]


def test_what_the_card_says_of_contamination_comes_with_the_rows(store, make_row):
    row = make_row()
    store.record_entries("plan", [replace(entry_of(row, "ncc"), contaminated=True)])
    entries = store.entries("plan")
    assert entries["contaminated"].tolist() == [True]
    assert name_methods(pd.DataFrame([asdict(row)]), entries)["contaminated"].tolist() == [True]


def test_what_the_card_says_now_holds_for_all_methods_on_that_backbone_and_no_other(store, make_row, record):
    record(store, "other", icons=1)
    earlier = entry_of(make_row("knn"), "knn")
    elsewhere = [entry_of(make_row("knn", "mnist"), "knn"), entry_of(make_row("knn", backbone="random"), "knn")]
    store.record_entries("plan", [earlier, *elsewhere])
    store.record_entries("other", [earlier])
    now = replace(entry_of(make_row("ncc"), "ncc"), seen="unknown", contaminated=True)
    store.record_entries("plan", [now])
    expected = [now, replace(earlier, seen="unknown", contaminated=True), *elsewhere]
    found = [Entry(**line) for line in store.entries("plan").to_dict("records")]
    assert sorted(found, key=astuple) == sorted(expected, key=astuple)
    assert [Entry(**line) for line in store.entries("other").to_dict("records")] == [earlier]


def test_rows_computed_under_other_flags_stay_out(make_row):
    plain, flagged = make_row(), make_row(flags='{"augment": true}', accuracy=0.9)
    assert named((plain, "ncc"), (flagged, None)) == [("ncc", "icons", 0.5)]
