"""Runs in parts, and the parts put together."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.blocks import BLOCK
from harness.errors import HarnessError
from harness.shards import Shard, parse_shard, tasks_of


def last_manifest(workspace):
    return json.loads(max((workspace / "runs/manifests").iterdir()).read_text())


SIZES = st.lists(st.integers(1, 130), min_size=1, max_size=5)


@given(SIZES, st.integers(1, 12))
def test_the_parts_of_a_plan_hold_every_episode_once_in_whole_blocks_and_are_equal(sizes, parts):
    total = sum(-(-size // BLOCK) for size in sizes)
    parts = min(parts, total)
    cut = [tasks_of(Shard(part + 1, parts), sizes) for part in range(parts)]
    for domain, size in enumerate(sizes):
        assert [task for part in cut for task in part[domain]] == list(range(size))
        assert all(part[domain].start % BLOCK == 0 for part in cut if part[domain])
    numbers = [sum(-(-len(tasks) // BLOCK) for tasks in part) for part in cut]
    assert max(numbers) - min(numbers) <= 1


def test_without_a_shard_everything_is_run():
    assert tasks_of(None, [6, 25]) == [range(6), range(25)]
    assert parse_shard(None) is None
    assert str(parse_shard("2/4")) == "2/4"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(HarnessError, match="write I/N with I from 1 to N"):
        parse_shard(text)


def test_more_parts_than_blocks_are_refused(run_tiny):
    assert "--shard 1/3: the plan has 2 blocks of 20 episodes; use 2 at most" in run_tiny("--shard", "1/3").error


@pytest.mark.parametrize("parts", [2, pytest.param(3, marks=pytest.mark.faults)])
def test_merged_shards_are_one_run_to_the_byte(run_ok, metabench, workspace, parts):
    options = ("--adapters", "ncc,url", "--tasks", 45, "--backbone", "resnet18-pocket-random")
    run_ok(*options)
    whole = (workspace / "runs/leaderboard.csv").read_bytes()
    for part in range(parts):
        shutil.rmtree(workspace / "cache/embeddings")
        done = run_ok(*options, "--shard", f"{part + 1}/{parts}", "--out", f"part{part}")
        assert f"shard     {part + 1}/{parts} of the plan is done" in done.out
        assert (workspace / f"part{part}/leaderboard.csv").read_bytes() != whole
        assert "/45" in done.out  # how many episodes are done so far
    done = metabench("merge", "all", *(f"part{part}" for part in reversed(range(parts))))
    assert done.status == 0, done.err
    assert (workspace / "all/leaderboard.csv").read_bytes() == whole
    again = metabench("merge", "all", "part0", "part1")
    assert "part0: 0 new rows" in again.out
    assert (workspace / "all/leaderboard.csv").read_bytes() == whole
    assert len(list((workspace / "all/manifests").iterdir())) == parts
    assert len(list((workspace / "all/plans").iterdir())) == 1


def test_a_shard_embeds_the_images_of_its_own_episodes_alone(run_ok, workspace):
    run_ok("--tasks", 40)
    everything = last_manifest(workspace)["images_embedded"]
    shutil.rmtree(workspace / "cache/embeddings")
    shutil.rmtree(workspace / "runs")
    run_ok("--tasks", 40, "--shard", "1/2")  # of two domains the first
    assert 0 < last_manifest(workspace)["images_embedded"] < 0.7 * everything
    assert last_manifest(workspace)["episodes_computed"] == 40
    assert last_manifest(workspace)["shard"] == "1/2"


def test_a_merge_of_what_is_not_there_makes_nothing(metabench, workspace):
    assert "nowhere/results.sqlite: no such result store" in metabench("merge", "all", "nowhere").error
    assert not (workspace / "all").exists()


def test_merge_refuses_other_plans_in_one_line(run_ok, metabench):
    run_ok("--out", "one")
    run_ok("--out", "two", "--seed", 1)
    error = metabench("merge", "all", "one", "two").error
    assert "two/results.sqlite: holds plan" in error
    assert "differs in seed (1 against 0)" in error
    assert metabench("merge", "all", "one", "nowhere").error == "error: nowhere/results.sqlite: no such result store"
