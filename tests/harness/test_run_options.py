"""Options of `metabench run` that are about how it computes, not what."""

import csv
import json
import sqlite3

import pytest
import torch

from harness.devices import deterministic_algorithms


def test_deterministic_algorithms_are_wanted_for_the_block_alone():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
    with deterministic_algorithms(False):
        assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_deterministic_run_says_so_in_rows_manifest_and_table(run_ok, workspace):
    run_ok("--adapters", "ncc,url", "--tasks", 2, "--deterministic")
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        flags = {json.loads(text)["deterministic"] for (text,) in database.execute("SELECT flags FROM rows")}
    assert flags == {True}
    (manifest,) = (workspace / "runs/manifests").glob("*.json")
    assert json.loads(manifest.read_text())["determinism"]["deterministic_algorithms"] is True
    lines = list(csv.DictReader((workspace / "runs/leaderboard.csv").open()))
    assert {line["backbone"] for line in lines} == {"raw-pixels deterministic"}


def test_workers_of_a_deterministic_run_give_the_same_rows(run_tiny, workspace, metabench):
    found = []
    for workers in (1, 2):
        done = metabench(
            *("run", "tiny.toml", "--records", "records", "--tasks", 2, "--adapters", "ncc,url", "--deterministic"),
            *("--workers", workers, "--out", f"runs{workers}"),
        )
        assert done.status == 0, done.err
        found.append((workspace / f"runs{workers}/leaderboard.csv").read_bytes())
    assert found[0] == found[1]


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(run_ok, workspace):
    said = run_ok("--dry-run", "--tasks", 5).out
    assert "reds" in said
    assert "blues" in said
    assert not (workspace / "runs").exists()


def test_a_dry_run_says_that_it_is_about_one_seed_and_all_shards(run_ok):
    said = run_ok("--dry-run", "--tasks", 5, "--seed", "3,4", "--shard", "1/2").out
    assert "that is seed 3: each of the 2 takes as long" in said
    assert "shard 1/2 takes about one part of 2" in said


@pytest.mark.parametrize("given", ["episodes", "features"])
def test_a_dry_run_of_what_is_there_already_is_refused(metabench, workspace, given):
    done = metabench("run", "tiny.toml", f"--{given}", "somewhere", "--dry-run")
    assert f"--{given} are there already" in done.error
