"""A benchmark of two tiny data sets, and the command line as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metabench import main

REPO = Path(__file__).parents[2]

TOML = """
name = "tiny"
title = "Two tiny data sets"
tasks = 6
backbone = "raw-pixels"
adapters = ["ncc"]
domains = [{ name = "reds" }, { name = "blues" }]
"""


class Outcome:
    """What a finished command left: `status`, `out`, `err`."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def error(self):
        """The one line of an error; fails if there was more than one, or a traceback."""
        assert self.status == 1, self.out + self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


@pytest.fixture
def workspace(tmp_path, tiny_records):
    """A folder with `tiny.toml`, the records beside it as `records`, and a cache of its own."""
    (tmp_path / "tiny.toml").write_text(TOML)
    (tmp_path / "records").symlink_to(tiny_records)
    return tmp_path


@pytest.fixture
def environment(workspace):
    """The environment of commands run in the workspace."""
    return {
        **os.environ,
        "METABENCH_CACHE": str(workspace / "cache"),
        "PYTHONPATH": str(REPO),
        "COLUMNS": "120",
    }


@pytest.fixture
def metabench(workspace, environment, monkeypatch, capfd):
    """Run the command in the workspace, in this process: `metabench("run", "tiny.toml", ...)` -> Outcome."""
    monkeypatch.chdir(workspace)
    for name in ("METABENCH_CACHE", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["metabench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        code = leaving.value.code
        return Outcome(code if isinstance(code, int) else int(code is not None), *capfd.readouterr())

    return command


@pytest.fixture
def new_process(workspace, environment):
    """Run the command as a process of its own: `new_process("ls", PYTHONPATH=...)` -> Outcome."""

    def command(*arguments, **extra_environment):
        done = subprocess.run(
            [sys.executable, "-m", "metabench", *map(str, arguments)],
            cwd=workspace,
            env={**environment, **extra_environment},
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def run_ok(run_tiny):
    """Run the tiny benchmark and insist that it succeeds."""

    def command(*arguments):
        done = run_tiny(*arguments)
        assert done.status == 0, done.err
        return done

    return command


@pytest.fixture
def run_tiny(metabench):
    """Run the tiny benchmark with further options."""

    def command(*arguments):
        return metabench("run", "tiny.toml", "--records", "records", "--workers", 1, *arguments)

    return command
