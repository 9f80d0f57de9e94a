"""Episodes are dumped and run again, as a user does it: the same results, each image embedded once, clear refusals."""

import re
import shlex
import shutil
import sqlite3

import pytest

DUMP = ("plan", "tiny.toml", "--records", "records", "--tasks", 8, "--dump")
RUN = ("run", "tiny.toml", "--workers", 1, "--episodes", "dumped")


@pytest.fixture
def dump_ok(metabench):
    """Dump eight episodes of each domain into `dumped`; further options may follow."""

    def command(*arguments):
        done = metabench(*DUMP, "dumped", *arguments)
        assert done.status == 0, done.err
        return done

    return command


def accuracies(folder):
    with sqlite3.connect(folder / "results.sqlite") as database:
        return database.execute("SELECT domain, task, accuracy FROM rows ORDER BY domain, task").fetchall()


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- running


def test_dumped_episodes_give_the_results_of_sampled_ones(metabench, dump_ok, workspace):
    dump_ok()
    assert metabench(*RUN, "--out", "a").status == 0
    sampled = metabench("run", "tiny.toml", "--records", "records", "--tasks", 8, "--workers", 1, "--out", "b")
    assert sampled.status == 0
    assert accuracies(workspace / "a") == accuracies(workspace / "b")


def test_an_image_is_embedded_once_however_many_dumped_episodes_draw_it(metabench, dump_ok):
    rows = [[cell.strip() for cell in line.split("│")] for line in dump_ok().out.splitlines() if "│" in line]
    drawn, distinct = (sum(int(row[column].replace(",", "")) for row in rows) for column in (-3, -2))
    assert distinct < drawn
    said = f"{distinct:,} distinct, {distinct:,} of them to embed"
    assert said in metabench(*RUN).out
    assert "all done already" in metabench(*RUN).out


def test_the_command_that_is_shown_runs_the_dump(metabench, workspace):
    (workspace / "my files").mkdir()
    (workspace / "tiny.toml").rename(workspace / "my files/tiny.toml")
    done = metabench("plan", "my files/tiny.toml", "--records", "records", "--tasks", 2, "--dump", "dumped here")
    shown = shlex.split(re.search(r"run them with: metabench (.*)", done.out)[1])
    assert shown == ["run", "my files/tiny.toml", "--split", "test", "--episodes", "dumped here"]
    assert metabench(*shown, "--workers", 1).status == 0


def test_where_a_benchmark_has_no_backbone_the_shown_command_asks_for_one(dump_ok, workspace):
    change(workspace / "tiny.toml", 'backbone = "raw-pixels"\n', "")
    assert dump_ok().out.rstrip().endswith("--episodes dumped --backbone NAME")


# --- refusals


def test_a_dump_that_is_there_is_refused_before_anything_is_planned(metabench, dump_ok, workspace):
    dump_ok("--datasets", "blues")
    shutil.rmtree(workspace / "runs")
    assert "dumped/test/blues: is there already" in metabench(*DUMP, "dumped").error
    assert not (workspace / "runs").exists()
    assert not (workspace / "dumped/test/reds").exists()
    assert metabench(*DUMP, "dumped", "--datasets", "reds").status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "pocket", "--dry-run", "--dump", "x"], "--dry-run writes nothing, so that --dump has no use"),
        (["plan", "pocket", "--backbone", "raw-pixels"], "--backbone says whose speed --dry-run measures"),
        (["run", "pocket", "--episodes", "x", "--records", "y"], "--episodes brings its own images"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage_in_one_line(metabench, arguments, words):
    done = metabench(*arguments)
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not done.out


def test_records_of_the_environment_do_not_stand_against_dumped_episodes(metabench, dump_ok, monkeypatch):
    dump_ok()
    monkeypatch.setenv("RECORDS", "records")
    assert metabench(*RUN).status == 0


def test_dumped_episodes_of_another_protocol_are_refused(metabench, dump_ok, workspace):
    dump_ok()
    with (workspace / "tiny.toml").open("a") as file:
        file.write("protocol = { num_ways = 5, num_support = 1, num_query = 3 }\n")
    error = metabench(*RUN).error
    assert re.search(
        r"dumped/test/reds: episode \d has .*, but num_\w+ = \d in benchmark 'tiny'; run them under", error
    )


# --- one data set of many


@pytest.fixture
def own_records(workspace, tiny_records):
    """A copy of the records, to be spoilt."""
    (workspace / "records").unlink()
    shutil.copytree(tiny_records, workspace / "records")
    return workspace / "records"


def test_where_one_data_set_is_broken_the_others_can_be_run(metabench, own_records):
    (own_records / "blues/dataset_spec.json").write_text("{")
    error = metabench("plan", "fixed-5w1s", "--records", "records").error
    assert "blues/dataset_spec.json" in error
    assert error.endswith("; to run the rest: --datasets reds")


def test_where_one_data_set_has_too_few_classes_the_others_can_be_run(metabench, workspace):
    change(workspace / "tiny.toml", 'domains = [{ name = "reds" }, { name = "blues" }]', 'domains = "all"')
    with (workspace / "tiny.toml").open("a") as file:
        file.write("protocol = { min_examples_in_class = 16 }\n")
    error = metabench("plan", "tiny.toml", "--records", "records").error
    assert "blues (test split): an episode needs 5 classes; this split has 3 with at least 16 images: choose" in error
    assert error.endswith("; to run the rest: --datasets reds")


def test_a_spec_that_promises_more_than_a_file_can_hold_is_refused_before_planning(metabench, own_records, workspace):
    change(own_records / "reds/dataset_spec.json", '"0": 12', f'"0": {2**28}')
    assert "reds/0.tfrecords: too small for the 268435456 records" in (
        metabench("plan", "tiny.toml", "--records", "records").error
    )
    assert not (workspace / "runs").exists()
