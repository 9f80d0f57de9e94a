"""`metabench new-adapter`: what it writes works as it is, up to a row of a leaderboard."""

import os
import re
import subprocess
import sys
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from harness.commands.check_adapter import check
from harness.commands.new_adapter import new_adapter
from harness.errors import HarnessError


@pytest.fixture
def create(tmp_path):
    """Make an adapter in an empty folder; returns what was printed."""

    def command(name):
        out = StringIO()
        new_adapter(Console(file=out, width=120), name, tmp_path)
        return out.getvalue()

    return command


def test_it_writes_an_adapter_of_25_lines_and_its_test(create, tmp_path):
    said = create("my-method")
    assert {path.name for path in tmp_path.iterdir()} == {"my_method.py", "test_my_method.py"}
    text = (tmp_path / "my_method.py").read_text()
    assert len(text.splitlines()) == 25
    assert "class MyMethod:" in text
    assert re.findall(r"metabench .*", said) == [
        "metabench check-adapter my_method.py",
        "metabench run pocket --adapters ncc,my_method.py",
    ]


def test_what_it_writes_is_clean_and_passes_its_own_test(create, tmp_path, environment, pytestconfig):
    create("my-method")
    files = ["my_method.py", "test_my_method.py"]
    style = ["--config", str(pytestconfig.rootpath / "ruff.toml"), *files]
    commands = (
        ["ruff", "check", "--no-cache", *style],
        ["ruff", "format", "--no-cache", "--check", *style],
        ["pytest", "-q", "-p", "no:cacheprovider", "test_my_method.py"],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env={**os.environ, **environment}, capture_output=True
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_two_commands_lead_from_the_template_to_a_row(create, workspace, run_ok):
    create("my-method")
    assert not [result for result in check(str(workspace / "my_method.py")) if result.outcome == "failed"]
    run_ok("--adapters", "ncc,my_method.py")
    board = pd.read_csv(workspace / "runs/leaderboard.csv").set_index("method")
    assert board.loc["my-method", "reds"] == board.loc["ncc", "reds"]  # it begins as nearest centroid


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("url", "there is already an adapter 'url'"),
        ("copa_tsa", "there is already an adapter 'copa-tsa'"),
        ("torch", "would hide the Python module 'torch'"),
        ("statistics", "would hide the Python module 'statistics'"),
        ("lambda", "give small letters, digits and dashes"),
        ("3d", "give small letters"),
        ("My", "give small letters"),
        ("../mine", "give small letters"),
        ("test-mine", "give small letters"),
        ("", "give small letters"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused_in_one_line(create, tmp_path, name, says):
    with pytest.raises(HarnessError, match=says) as caught:
        create(name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["my_method.py", "test_my_method.py"])
def test_nothing_that_is_there_is_overwritten(create, tmp_path, file):
    (tmp_path / file).write_text("mine")
    with pytest.raises(HarnessError, match=f"{file}: is there already"):
        create("my-method")
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert (tmp_path / file).read_text() == "mine"
