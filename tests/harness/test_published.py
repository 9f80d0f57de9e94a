import json
from pathlib import Path

import pytest
from stored_run import store_run

from results.ranks import PAPERS13


@pytest.fixture
def stored(workspace):
    """stored(benchmark, domains): a finished run in the workspace's `runs`."""

    def store(benchmark, domains=PAPERS13):
        folder = workspace / "runs"
        folder.mkdir()
        methods = {"ncc": 0.6, "copa": 0.75}
        store_run(folder, benchmark, methods, domains, seen=[d for d in domains if d in PAPERS13[:8]])

    return store


def test_published_lists_every_table_with_its_paper(metabench):
    done = metabench("published")
    assert done.status == 0
    for name in ("copa-table-1", "dl2pa-table-9", "cmm-table-6", "pauc-imagenet-1k", "scl-table-b3", "copa-gap"):
        assert name in done.out
    assert "arXiv:2410.12474" in done.out
    listed = json.loads(metabench("published", "ls", "--json").out)
    assert {line["table"]: line["numbers"] for line in listed}["copa-table-1"] == 140


def test_show_prints_cells_and_the_recomputed_beside_the_printed(metabench):
    out = metabench("published", "show", "copa-table-1").out
    assert "88.8 ±0.5" in out
    assert "76.2 / 74.5" in out
    assert "8.7 / 8.15" in out


def test_show_marks_a_doubtful_number_and_says_why(metabench):
    out = metabench("published", "show", "scl-table-b3").out
    assert "!80.0 ±0.5" in out
    assert "surely 88.0" in out


def test_every_table_can_be_shown(metabench):
    for line in json.loads(metabench("published", "ls", "--json").out):
        done = metabench("published", "show", line["table"])
        assert done.status == 0, done.err
        assert done.out.strip()


def test_a_table_shown_as_json_has_its_cells_and_its_summary(metabench):
    shown = json.loads(metabench("published", "show", "copa-table-2", "--json").out)
    assert len(shown["cells"]) == 128
    copa = [line for line in shown["summary"] if line["method"] == "CoPA" and line["summary"] == "average rank"]
    assert [(line["as_printed"], line["recomputed"], line["disagrees"]) for line in copa] == [(4.1, 3.5, True)]
    assert shown["cells"][0]["std"] is None


def test_an_unknown_table_is_answered_with_the_nearest(metabench):
    assert "Did you mean 'copa-table-1'?" in metabench("published", "show", "copa-tabel-1").error


def test_check_lists_the_disagreements_and_leaves_with_0(metabench):
    done = metabench("published", "check")
    assert done.status == 0
    assert "22 printed averages and ranks do not follow" in done.out
    for text in ("Tri-M", "74.5", "Rankin", "surely 88.0"):
        assert text in done.out
    found = json.loads(metabench("published", "check", "--json").out)
    assert len(found["disagreements"]) == 22
    assert {line["table"] for line in found["doubts"]} >= {"cmm-table-3", "dl2pa-table-7", "scl-table-b3"}


def test_a_leaderboard_stands_beside_the_printed_table_of_its_setting(metabench, workspace, stored):
    stored("meta-dataset-mdl")
    done = metabench("leaderboard", "--with", "published")
    assert done.status == 0, done.err
    assert "slides, Table 1" in " ".join(done.out.split())
    assert done.out.count("(printed)") == 11
    assert (workspace / "runs/leaderboard_with_published.csv").exists()
    assert "(printed)" not in metabench("leaderboard").out


def test_a_printed_number_never_gets_into_the_leaderboards_own_file(metabench, workspace, stored):
    stored("meta-dataset-sdl")
    metabench("leaderboard")
    alone = (workspace / "runs/leaderboard.csv").read_bytes()
    metabench("leaderboard", "--with", "published")
    assert (workspace / "runs/leaderboard.csv").read_bytes() == alone


def test_a_setting_without_a_printed_table_is_told_so_in_one_line(metabench, workspace, stored):
    stored("pocket", ("icons", "emoji"))
    done = metabench("leaderboard", "--with", "published")
    assert done.status == 0
    last = done.out.strip().splitlines()[-1]
    assert last == (
        "no published table for pocket, test split; the test splits of meta-dataset-mdl, meta-dataset-sdl have one"
    )
    assert not (workspace / "runs/leaderboard_with_published.csv").exists()


def test_something_else_than_published_is_refused(metabench, stored):
    stored("pocket", ("icons",))
    assert "Did you mean 'published'?" in metabench("leaderboard", "--with", "publisht").error


def test_the_tables_are_installed_with_the_package():
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert "results = published/*.csv" in setup
