import json
import sqlite3

import numpy as np
import pytest

from episodes.plan_file import load_plan
from results.logits import read_logits


def stored(workspace):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        return dict(database.execute("SELECT key, accuracy FROM rows"))


def kept(workspace):
    return {episode.key: episode for _, episode in read_logits(workspace / "runs")}


def computed(workspace):
    return json.loads(max((workspace / "runs/manifests").iterdir()).read_text())["episodes_computed"]


def files(workspace):
    return sorted((workspace / "runs/logits").rglob("*.safetensors"))


def test_every_row_has_logits_of_its_accuracy(run_ok, workspace):
    run_ok("--adapters", "ncc,url", "--save-logits")
    rows, logits = stored(workspace), kept(workspace)
    assert rows.keys() == logits.keys()
    assert len(rows) == 24
    assert all(logits[key].accuracy == accuracy for key, accuracy in rows.items())


def test_positions_lead_back_to_the_episodes_queries(run_ok, workspace):
    run_ok("--save-logits", "--datasets", "reds")
    (plan,) = (workspace / "runs/plans").iterdir()
    domain = load_plan(plan).domains[0]
    for episode in kept(workspace).values():
        assert episode.episode_hash == domain.hashes[episode.task]
        labels = domain.episode(episode.task).query_labels
        assert np.array_equal(episode.labels, labels[episode.position])


def test_without_the_option_nothing_is_kept(run_ok, workspace):
    run_ok()
    assert not (workspace / "runs/logits").exists()


def test_rows_without_logits_are_computed_again_and_do_not_change(run_ok, workspace):
    run_ok()
    before = stored(workspace)
    run_ok("--save-logits")
    assert computed(workspace) == 12
    assert stored(workspace) == before
    assert kept(workspace).keys() == before.keys()


def test_the_second_time_nothing_is_computed(run_ok, workspace):
    run_ok("--save-logits")
    before = [path.stat().st_mtime_ns for path in files(workspace)]
    run_ok("--save-logits")
    assert computed(workspace) == 0
    assert [path.stat().st_mtime_ns for path in files(workspace)] == before


@pytest.mark.parametrize("damage", ["lost", "cut off"])
def test_a_file_that_is_lost_or_cut_off_is_made_again(run_ok, workspace, damage):
    run_ok("--save-logits")
    before = {path: path.read_bytes() for path in files(workspace)}
    one = files(workspace)[0]
    one.unlink() if damage == "lost" else one.write_bytes(one.read_bytes()[:20])
    run_ok("--save-logits")
    assert computed(workspace) == 6
    assert {path: path.read_bytes() for path in files(workspace)} == before


def test_another_accuracy_than_the_rows_is_said_and_the_row_stays(run_ok, workspace):
    run_ok()
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        database.execute("UPDATE rows SET accuracy = 0.0 WHERE domain = 'reds' AND task = 3")
    done = run_ok("--save-logits")
    assert "1 episodes gave another accuracy than their rows, which stay: ncc, reds, episode 3" in done.out
    assert 0.0 in stored(workspace).values()


def test_a_longer_plan_keeps_the_logits_it_shares(run_ok, workspace):
    run_ok("--tasks", 20, "--save-logits", "--datasets", "reds")
    run_ok("--tasks", 30, "--save-logits", "--datasets", "reds")
    assert computed(workspace) == 10
    assert len(kept(workspace)) == 30


def test_two_workers_keep_what_one_keeps(run_ok, metabench, workspace):
    run_ok("--tasks", 25, "--save-logits")
    before = {path.name: path.read_bytes() for path in files(workspace)}
    metabench(
        *("run", "tiny.toml", "--records", "records", "--tasks", 25, "--workers", 2, "--save-logits", "--out", "other")
    )
    after = {path.name: path.read_bytes() for path in (workspace / "other/logits").rglob("*.safetensors")}
    assert after == before
