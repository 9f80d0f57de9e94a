"""`metabench leaderboard --significance`: from stored rows and the plan's file to tests and both intervals."""

import json


def test_it_prints_tests_and_both_intervals(run_ok, metabench):
    run_ok("--adapters", "ncc,knn")
    done = metabench("leaderboard", "--significance")
    assert done.status == 0, done.err
    assert "Friedman over 2 domains" in done.out
    assert "knn − ncc" in done.out


def test_json_is_all_that_is_printed(run_ok, metabench):
    run_ok("--adapters", "ncc,knn")
    done = metabench("leaderboard", "--significance", "--json")
    told = json.loads(done.out)
    assert {(cell["method"], cell["domain"]) for cell in told["cells"]} == {
        (method, domain) for method in ("ncc", "knn") for domain in ("reds", "blues")
    }
    assert {pair["domain"] for pair in told["pairs"]} == {"reds", "blues", "all"}
    assert all(cell["classes"] for cell in told["cells"])


def test_without_the_plans_file_the_rest_is_still_told(run_ok, metabench, workspace):
    run_ok()
    for path in (workspace / "runs/plans").iterdir():
        path.unlink()
    done = metabench("leaderboard", "--significance")
    assert done.status == 0, done.err
    assert ".npz is not there" in done.out
    assert metabench("leaderboard", "--significance", "--json").out.startswith("{")


def test_json_alone_is_refused_with_what_it_is_for(metabench):
    done = metabench("leaderboard", "--json")
    assert done.status == 2
    assert "--json is for --significance" in done.err
