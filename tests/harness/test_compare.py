import json
import shutil
import sqlite3

import pytest


@pytest.fixture
def compared(run_ok, metabench, workspace, tmp_path_factory):
    """Run the tiny benchmark, once for all tests, then compare: compared(a, b, *options) -> Outcome."""
    kept = tmp_path_factory.getbasetemp() / "compared"
    if kept.is_dir():
        shutil.copytree(kept, workspace / "runs")
    else:
        run_ok("--adapters", "ncc,url,url(lr=0.5)")
        shutil.copytree(workspace / "runs", kept)
    return lambda *arguments: metabench("compare", *arguments)


def test_two_methods_are_compared_on_every_common_episode(compared):
    done = compared("ncc", "url")
    assert done.status == 0, done.err
    assert "both on raw-pixels · 12 of 12 episodes paired" in done.out
    assert "mean all" in done.out


def test_the_json_says_what_the_screen_says(compared, workspace):
    answer = json.loads(compared("ncc", "url", "--json").out)
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        query = "SELECT avg(accuracy) FROM rows WHERE domain = 'reds' AND adapter = 'ncc'"
        mean = database.execute(query).fetchone()[0]
    assert answer["domains"][0]["a_pct"] == pytest.approx(100 * mean)
    assert [line["domain"] for line in answer["domains"]] == ["reds", "blues"]
    assert answer["verdict"] in " ".join(compared("ncc", "url").out.split())


def test_a_setting_may_be_written_as_for_a_run(compared):
    for written in ("url(lr=0.5)", "url:lr=0.5", "url( lr=0.5 )", "url(lr=0.5)@raw-pixels"):
        assert "B = url(lr=0.5)\n" in compared("ncc", written).out


def test_published_and_fixed_rates_of_one_method_compare(run_ok, metabench):
    run_ok("--adapters", "url")
    run_ok("--adapters", "url", "--hyper", "fixed")
    done = metabench("compare", "url", "url@:fixed")
    assert "A = url\nB = url (fixed)\n" in done.out


def test_two_precisions_of_one_backbone_compare(run_ok, metabench):
    run_ok()
    run_ok("--dtype", "bfloat16")
    done = metabench("compare", "ncc", "ncc@raw-pixels:bfloat16")
    assert "A = ncc @ raw-pixels\nB = ncc @ raw-pixels bfloat16\n" in done.out


def test_some_domains_only(compared):
    done = compared("ncc", "url", "--domains", "blues")
    assert "6 of 6 episodes paired" in done.out
    assert "reds" not in done.out


def test_what_cannot_be_compared_is_refused_in_one_line(compared):
    assert "no method 'ulr' on this plan. Did you mean 'url'?" in compared("ncc", "ulr").error
    assert "no domain 'red'. Did you mean 'reds'?" in compared("ncc", "url", "--domains", "red").error
    assert "both ncc @ raw-pixels" in compared("ncc", "ncc@raw-pixels").error
    assert "name one on each side" in compared("ncc", "ncc,url").error
    for written in ("", "@raw-pixels", "url(lr=0.5"):
        assert "cannot read" in compared("ncc", written).error


def test_without_results_there_is_nothing_to_compare(metabench):
    assert "there are no results yet" in metabench("compare", "ncc", "url").error
