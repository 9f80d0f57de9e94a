import csv
import os
import stat

import pytest

from results.errors import ResultsError
from results.export import write_csv, write_timings
from results.leaderboard import leaderboard

SEEN = {"icons": "seen", "mnist": "unseen"}
ACCURACIES = {
    "url": {"icons": [0.5, 0.7], "mnist": [0.3]},
    "ncc": {"icons": [0.5, 0.5], "mnist": [0.1, 0.3]},
}


@pytest.fixture
def rows(make_frame):
    return make_frame(ACCURACIES)


@pytest.fixture
def plan(make_plan):
    return make_plan(icons=2, mnist=2)


def test_the_csv_holds_one_complete_line_per_method(rows, plan, tmp_path):
    path = tmp_path / "new" / "leaderboard.csv"
    write_csv(leaderboard(rows, plan, SEEN), path)
    assert path.read_bytes().decode().split("\n") == [
        "plan,benchmark,split,seed,episodes,seen_domains,unseen_domains,backbone,method,contaminated,avg_rank,seen_mean,"
        "unseen_mean,all_mean,icons,icons_ci95,icons_rank,icons_n,mnist,mnist_ci95,mnist_rank,mnist_n",
        "plan,pocket,test,0,2,icons,mnist,net,ncc,,1.2500,50.0000,20.0000,35.0000,"
        "50.0000,0.0000,1.5000,2,20.0000,13.8593,1.0000,2",
        "plan,pocket,test,0,2,icons,mnist,net,url,,,,,,60.0000,13.8593,1.5000,2,,,,1",
        "",
    ]


def test_the_same_results_give_the_same_bytes(rows, plan, tmp_path):
    for name, frame in (("a", rows), ("b", rows.sample(frac=1, random_state=0).assign(wall_s=9.0, created="later"))):
        write_csv(leaderboard(frame, plan, SEEN), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_timings_are_seconds_per_episode_of_each_method_and_domain(rows, tmp_path):
    icons = (rows["adapter"] == "url") & (rows["domain"] == "icons")
    write_timings(rows.assign(wall_s=rows["wall_s"].mask(icons & (rows["task"] == 1), 0.05)), tmp_path / "timings.csv")
    with (tmp_path / "timings.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["method"], line["domain"], line["episodes"]) for line in lines] == [
        ("ncc", "icons", "2"),
        ("ncc", "mnist", "2"),
        ("url", "icons", "2"),
        ("url", "mnist", "1"),
    ]
    assert (lines[2]["mean_s"], lines[2]["median_s"]) == ("0.030000", "0.030000")


def test_an_old_file_is_replaced_whole_and_nothing_else_is_left(rows, plan, tmp_path):
    path = tmp_path / "leaderboard.csv"
    path.write_text("old " * 10_000)
    (tmp_path / "leaderboard.csv.part").write_text("left by a killed process")
    write_csv(leaderboard(rows, plan, SEEN), path)
    assert path.read_text().startswith("plan,benchmark")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["leaderboard.csv", "leaderboard.csv.part"]


def test_a_file_that_cannot_be_written_is_named_and_the_old_one_kept(rows, plan, tmp_path, monkeypatch):
    path = tmp_path / "leaderboard.csv"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match=r"leaderboard\.csv: cannot be written \(No space left on device\)"):
        write_csv(leaderboard(rows, plan, SEEN), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["leaderboard.csv"]


def test_the_csv_may_be_read_by_whom_the_umask_allows(rows, plan, tmp_path):
    before = os.umask(0o022)
    try:
        write_csv(leaderboard(rows, plan, SEEN), tmp_path / "leaderboard.csv")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "leaderboard.csv").stat().st_mode) == 0o644


def test_a_method_is_listed_with_the_domains_its_backbone_was_trained_on(rows, plan, tmp_path):
    marked = rows.assign(contaminated=(rows["adapter"] == "url") & (rows["domain"] == "icons"))
    write_csv(leaderboard(marked, plan, SEEN), tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        lines = {line["method"]: line for line in csv.DictReader(file)}
    assert {method: line["contaminated"] for method, line in lines.items()} == {"ncc": "", "url": "icons"}
    assert {line["seen_domains"] for line in lines.values()} == {""}  # nobody's mean counts icons
    assert lines["ncc"]["seen_mean"] == ""
