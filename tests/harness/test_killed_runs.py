"""What runs leave that are killed, or that find no room."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILL_OFTEN = Path(__file__).parents[1] / "support/kill_often.py"


@pytest.mark.faults
def test_fifty_kills_at_random_moments_lose_no_acknowledged_row_and_change_no_byte(workspace, environment):
    done = subprocess.run(
        [sys.executable, str(KILL_OFTEN), str(workspace), "50", "0"],
        cwd=workspace,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("50 kills in ")


def run_within(workspace, environment, limit, *arguments):
    """The tiny benchmark in a process that may write no file longer than `limit` bytes (None: any)."""

    def limited():
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "metabench", "run", "tiny.toml", "--records", "records", "--workers", "1", *arguments],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limited,
    )


@pytest.mark.faults
@pytest.mark.parametrize(
    ("limit", "words"), [(200_000, "results.sqlite: disk I/O error; check the disk"), (10_000, "cannot be written")]
)
def test_a_full_disk_is_one_line_loses_nothing_and_the_run_goes_on_when_there_is_room(
    workspace, environment, limit, words
):
    options = ("--tasks", "100", "--adapters", "ncc,ridge")
    whole = run_within(workspace, environment, None, *options, "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    if limit < 100_000:
        shutil.rmtree(workspace / "cache")
    full = run_within(workspace, environment, limit, *options)
    assert full.returncode == 1, full.stdout
    lines = full.stderr.strip().splitlines()
    assert len(lines) == 1, full.stderr
    assert words in lines[0]
    after = run_within(workspace, environment, None, *options)
    assert after.returncode == 0, after.stderr
    manifest = json.loads(max((workspace / "runs/manifests").iterdir()).read_text())
    if limit > 100_000:
        assert 0 < manifest["episodes_computed"] < 400  # the rows of the first attempt were kept
    assert (workspace / "runs/leaderboard.csv").read_bytes() == (workspace / "whole/leaderboard.csv").read_bytes()


@pytest.mark.faults
def test_a_folder_that_may_only_be_read_is_one_line(workspace, environment):
    if os.geteuid() == 0:
        (workspace / "ro").mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", workspace / "ro"], check=False).returncode:
            pytest.skip("needs to mount a file system, or another user than root")
    else:
        (workspace / "ro").mkdir(mode=0o555)
    try:
        done = run_within(workspace, environment, None, "--out", "ro")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", workspace / "ro"], check=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "ro/" in done.stderr
    assert "cannot be written" in done.stderr
