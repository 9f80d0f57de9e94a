"""`metabench leaderboard`: what it prints and what it writes."""

import json

import pytest


@pytest.fixture
def ran(run_ok, workspace):
    """A finished run; the bytes of each file that it left."""
    run_ok("--adapters", "ncc,url", "--tasks", 2)
    names = ("csv", "md", "tex", "json")
    return {name: (workspace / f"runs/leaderboard.{name}").read_bytes() for name in names}


def test_a_format_is_printed_alone_and_is_the_file(ran, metabench):
    for kind, ending in (("md", "md"), ("latex", "tex"), ("csv", "csv"), ("json", "json")):
        done = metabench("leaderboard", "--format", kind)
        assert (done.status, done.err) == (0, "")
        assert done.out.encode() == ran[ending]


def test_an_unknown_format_is_one_line_that_teaches(ran, metabench):
    error = metabench("leaderboard", "--format", "latx").error
    assert "no --format 'latx'. Did you mean 'latex'? Known: csv, json, latex, md" in error


def test_a_run_leaves_every_output_and_the_command_writes_the_same_again(ran, metabench, workspace):
    manifest = json.loads(ran["json"])
    names = [file["name"] for file in manifest["files"]]
    assert {"episodes.csv", "episodes.parquet", "leaderboard.tex", "timings.csv"} < set(names)
    assert manifest["setting"] == "standard"
    assert {method["hyper"] for method in manifest["methods"]} == {"official", "fixed"}
    before = {name: (workspace / "runs" / name).read_bytes() for name in names}
    for name in names:
        (workspace / "runs" / name).unlink()
    assert metabench("leaderboard").status == 0
    assert {name: (workspace / "runs" / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("other", [["--with", "published"], ["--significance"], ["--seeds"], ["--plans"]])
def test_two_things_to_print_are_refused_in_one_line(metabench, other):
    done = metabench("leaderboard", "--format", "md", *other)
    assert (done.status, done.out) == (2, "")
    assert "print something of their own each; leave out one of them" in done.err
    assert done.err.count("\n") == 1
