"""Options from a file."""

import tomllib

import pytest
import typer

from harness.cli.app import app
from harness.config_file import write_config


@pytest.fixture
def run_with(metabench, workspace):
    """Run the tiny benchmark with a configuration file of these lines."""

    def command(text, *arguments):
        (workspace / "my.toml").write_text(text)
        return metabench("run", "tiny.toml", "--records", "records", "--workers", 1, "--config", "my.toml", *arguments)

    return command


def test_keys_are_the_names_of_options_and_lists_are_joined(run_with, workspace):
    done = run_with('adapters = ["ncc", "url(steps=1)"]\ntasks = 3\nstore-dtype = "float16"\ndatasets = "reds"\n')
    assert done.status == 0, done.err
    assert "1 domain x 3 episodes" in done.out
    assert "url(steps=1)" in done.out
    assert (workspace / "runs/results.sqlite").exists()


def test_the_command_line_wins_over_the_file(run_with):
    done = run_with('tasks = 3\nout = "elsewhere"\nbenchmark = "pocket"\n', "--tasks", 2)
    assert done.status == 0, done.err
    assert "2 domains x 2 episodes" in done.out
    assert "to elsewhere" in done.out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("taks = 3", "my.toml: no key 'taks'. Did you mean 'tasks'? Known: adapters, address, backbone, "),
        ("config = 'other.toml'", "my.toml: no key 'config'"),
        ("tasks = 'many'", "my.toml: tasks: "),
        ("tasks = 0", "my.toml: tasks: "),
        ("compile = 1", "my.toml: compile: write true or false"),
        ("device = true", "my.toml: device: true has no use here"),
        ("[tasks]", "my.toml: tasks: a table has no use here"),
        ("tasks =", "my.toml: Invalid value"),
        ("store_dtype = 'float16'\nstore-dtype = 'float32'", "are the same option; leave out one of them"),
        ("weights = ''", "my.toml: weights: is empty; leave it out"),
        ("seed = [0, 0]", "--seed 0,0: 0 stands twice"),
    ],
)
def test_a_wrong_line_is_named(run_with, line, words):
    assert words in run_with(line).error


def test_a_file_that_cannot_be_used_is_named(metabench, workspace):
    assert metabench("run", "--config", "none.toml").error == "error: --config none.toml: no such file"
    assert metabench("run", "--config", "records").error == "error: --config records: a folder, no file"
    (workspace / "my.toml").write_bytes("adapters = 'méthode.py'".encode("latin-1"))
    assert metabench("run", "--config", "my.toml").error == "error: my.toml: is no UTF-8 text; save it as such"
    (workspace / "my.toml").write_text("[run]\ntasks = 2\n")
    assert "my.toml: [run] is a table; options stand by themselves" in metabench("run", "--config", "my.toml").error


def test_what_a_file_gives_counts_as_given(run_with):
    done = run_with('features = "x.npz"\nbackbone = "raw-pixels"\n')
    assert done.status == 2
    assert "--features are all that a run needs" in done.err


def test_a_written_file_says_what_it_was_given(tmp_path):
    options = {"adapters": ["url(lr=0.5)"], "tasks": 3, "weights": None, "records": 'a "b"\\c'}
    write_config(tmp_path / "x.toml", options, "two\nlines")
    text = (tmp_path / "x.toml").read_text()
    assert text.startswith("# two\n# lines\n")
    assert tomllib.loads(text) == {key: value for key, value in options.items() if value is not None}


def test_every_command_that_has_options_takes_them_from_a_file(metabench, workspace):
    (workspace / "my.toml").write_text('records = "records"\ntasks = 3\nbenchmark = "tiny.toml"\n')
    done = metabench("plan", "--config", "my.toml")
    assert done.status == 0, done.err
    assert "reds" in done.out and "│        3 │" in done.out


def commands_of(group, path=()):
    """Every command below a group, with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_no_command_is_left_out():
    commands = dict(commands_of(typer.main.get_command(app)))
    without = {name for name, each in commands.items() if "config" not in {option.name for option in each.params}}
    assert without == set()
    assert len(commands) > 20
