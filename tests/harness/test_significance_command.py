"""`metabench leaderboard --significance` and `--seeds`: from stored rows and the plan's file to how sure it is."""

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


def test_several_seeds_are_shown_together(run_ok, metabench):
    run_ok()
    alone = metabench("leaderboard", "--seeds")
    assert "only seed 0 of tiny" in alone.error
    run_ok("--seed", 1)
    run_ok("--seed", 5, "--tasks", 3)
    run_ok("--seed", 2)
    done = metabench("leaderboard", "--seeds")
    assert done.status == 0, done.err
    assert "seeds 0, 1, 2" in done.out
    assert "2 degrees of freedom" in done.out
    assert metabench("leaderboard", "--seeds", "--significance").status == 2
