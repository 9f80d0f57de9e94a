"""What programs read: with --json a command prints one JSON document and nothing else."""

import json

import pytest


@pytest.fixture
def as_json(metabench):
    """The document that a command prints; `status` is what it has to end with."""

    def command(*arguments, status=0):
        done = metabench(*arguments, "--json")
        assert done.status == status, done.err
        return json.loads(done.out)

    return command


@pytest.fixture
def two_methods(run_ok, workspace):
    """The manifest of a run of two methods."""
    run_ok("--adapters", "ncc,url(steps=2)", "--tasks", 3)
    return max((workspace / "runs/manifests").iterdir())


def test_ls_tells_benchmarks_adapters_and_backbones(as_json):
    found = as_json("ls")
    assert {"url", "copa", "ncc"} <= set(found["adapters"])
    pocket = next(benchmark for benchmark in found["benchmarks"] if benchmark["name"] == "pocket")
    assert not pocket["needs_records"] and "mnist" in pocket["domains"]


def test_plan_tells_its_hash_and_each_domain(as_json, workspace):
    found = as_json("plan", "tiny.toml", "--records", "records", "--tasks", 4)
    assert [domain["domain"] for domain in found["domains"]] == ["reds", "blues"]
    assert found["episodes"] == 4 and (workspace / found["file"]).is_file()
    dry = as_json("plan", "tiny.toml", "--records", "records", "--tasks", 4, "--dry-run")
    assert dry["plan"] == found["plan"]
    for reckoned, domain in zip(dry["domains"], found["domains"], strict=True):
        assert reckoned["images_distinct"] == domain["images_distinct"]
        assert not reckoned["estimated"]


def test_the_cache_tells_its_stores(as_json, two_methods):
    kinds = {(store["kind"], store["of"]) for store in as_json("cache", "ls")["stores"]}
    assert {("features", "raw-pixels"), ("indices", "records"), ("indices", "plans")} <= kinds


def test_weights_tell_their_card(as_json):
    found = as_json("weights", "show", "resnet18-pocket")
    assert found["feature_dim"] == 128
    assert found["trained_on"]["icons"] == ["train"]


def test_a_checked_adapter_tells_every_check(as_json):
    found = as_json("check-adapter", "ncc")
    assert found["counts"]["failed"] == 0 < found["counts"]["ok"]
    assert len(found["checks"]) == sum(found["counts"].values())


def test_the_leaderboard_tells_its_cells_its_plans_and_its_seeds(as_json, two_methods, run_ok):
    plan = as_json("leaderboard", "--plans")[0]
    assert (plan["benchmark"], plan["tasks"]) == ("tiny", 3)
    assert as_json("leaderboard")["plan"] == plan["plan_hash"]
    run_ok("--adapters", "ncc,url(steps=2)", "--tasks", 3, "--seed", 1)
    found = as_json("leaderboard", "--seeds")
    assert found["seeds"] == [0, 1]
    assert {cell["n"] for cell in found["cells"]} == {6}


def test_a_leaderboard_of_another_form_is_not_json(metabench, two_methods):
    done = metabench("leaderboard", "--json", "--format", "md")
    assert done.status == 2
    assert done.err.strip() == "error: --format is not printed as JSON; leave out it or --json"


def test_a_repeated_run_tells_which_rows_differ(as_json, two_methods, change_a_row):
    assert as_json("rerun", two_methods, "--out", "same")["counts"] == {
        "equal": 12,
        "differs": 0,
        "missing": 0,
        "new": 0,
    }
    change_a_row()
    found = as_json("rerun", two_methods, "--out", "again", status=1)
    (row,) = found["unequal"]
    assert (row["domain"], row["original"], row["state"]) == ("reds", 0.125, "differs")


@pytest.fixture
def change_a_row(workspace):
    """Give one stored row another accuracy."""
    import sqlite3

    def change():
        with sqlite3.connect(workspace / "runs/results.sqlite") as database:
            database.execute("UPDATE rows SET accuracy = 0.125 WHERE domain = 'reds' AND task = 1 AND adapter = 'ncc'")

    return change
