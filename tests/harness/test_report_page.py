"""`metabench report` as a user types it."""

import shutil

import pytest


@pytest.fixture
def page(run_ok, metabench, workspace):
    """report(*options) -> (the finished command, the page's text)."""
    run_ok("--adapters", "ncc,ridge")

    def report(*options, to="runs/report.html"):
        done = metabench("report", *options)
        assert done.status == 0, done.err
        return done, (workspace / to).read_text(encoding="utf-8")

    return report


def test_a_page_is_written_beside_the_results(page):
    done, text = page("--records", "records")
    assert done.out.startswith("wrote runs/report.html (")
    assert text.startswith("<!doctype html>")
    for name in ("reds", "blues", "ridge", "ncc"):
        assert f">{name}" in text


def test_domains_are_shown_with_images_where_records_are_at_hand(page):
    assert page("--records", "records")[1].count('<img src="data:image/') == 14
    without = page()[1]
    assert "<img" not in without
    assert without.count("No pictures: give --records to show some") == 2


def test_a_folder_without_the_domains_is_no_reason_to_fail(page, workspace):
    (workspace / "empty").mkdir()
    text = page("--records", "empty")[1]
    assert "<img" not in text
    assert text.count("No pictures: ") == 2


def test_records_that_changed_since_the_plan_are_not_shown(page, workspace, tiny_records):
    shutil.copytree(tiny_records / "blues", workspace / "swapped/reds")
    shutil.copytree(tiny_records / "blues", workspace / "swapped/blues")
    text = page("--records", "swapped")[1]
    assert text.count("the records are not those of the plan") == 1
    assert text.count('<img src="data:image/') == 7


def test_without_the_plans_file_there_are_no_pictures(page, workspace):
    shutil.rmtree(workspace / "runs/plans")
    assert page("--records", "records")[1].count("No pictures: ") == 2


def test_the_runs_manifest_is_on_the_page(page, workspace):
    manifest = next((workspace / "runs/manifests").iterdir())
    text = page()[1]
    assert manifest.name in text
    assert "<dd>metabench run tiny.toml --records records" in text


def test_manifests_of_other_plans_are_not(page, run_ok, workspace):
    first = next((workspace / "runs/manifests").iterdir()).name
    run_ok("--tasks", 3)
    assert first not in page()[1]


def test_a_damaged_manifest_is_named(page, metabench, workspace):
    manifest = next((workspace / "runs/manifests").iterdir())
    manifest.write_text("{")
    assert manifest.name in metabench("report").error


def test_an_older_plan_and_another_file_can_be_chosen(page, run_ok, metabench):
    run_ok("--tasks", 3)
    older = metabench("leaderboard", "--plans").out.splitlines()[1].split()[0]
    text = page("--plan", older, "--to", "pages/older.html", to="pages/older.html")[1]
    assert f">{older}</code>" in text
    assert "× 6 episodes" in text


def test_the_baseline_can_be_chosen(page):
    assert '<b id="baseline-name">ridge</b>' in page("--baseline", "ridge")[1]
    assert '<b id="baseline-name">ncc</b>' in page()[1]


def test_two_reports_of_one_plan_are_equal_to_the_byte(page):
    assert page("--records", "records")[1] == page("--records", "records")[1]


def test_mistakes_are_one_line(metabench, page):
    assert "no plan 'nothing'" in metabench("report", "--plan", "nothing").error
    assert "there are no results yet" in metabench("report", "--out", "elsewhere").error
    assert "a folder; name the file to write" in metabench("report", "--to", "records").error


def test_an_unknown_baseline_is_refused_with_the_nearest_one(metabench, page):
    assert "Did you mean 'ridge'?" in metabench("report", "--baseline", "rigde").error
