"""One runner at a time for one folder."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import results
from results.errors import StoreError
from results.run_lock import LOCK, sole_runner

HOLDER = """
import sys, time
from pathlib import Path
from results.run_lock import sole_runner
with sole_runner(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(results.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_runner_is_told_who_the_first_is_and_runs_when_that_one_is_killed(tmp_path, holder):
    told, done = [], threading.Event()

    def run():
        with sole_runner(tmp_path, told.append):
            done.set()

    second = threading.Thread(target=run)
    second.start()
    while not told:
        assert second.is_alive()
    assert told[0].startswith(f"process {holder.pid} on {os.uname().nodename}, since 2")
    assert not done.is_set()
    holder.send_signal(signal.SIGKILL)
    second.join(timeout=60)
    assert done.is_set()


def test_a_runner_that_is_alone_is_told_nothing_and_leaves_an_empty_lock(tmp_path):
    told = []
    for _ in range(2):
        with sole_runner(tmp_path / "runs", told.append):
            assert (tmp_path / "runs" / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    assert told == []
    assert (tmp_path / "runs" / LOCK).read_bytes() == b""


def test_another_folder_is_free(tmp_path, holder):
    told = []
    with sole_runner(tmp_path / "other", told.append):
        assert told == []


def test_where_no_lock_can_be_the_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    named = pytest.raises(StoreError, match=r"file/runs/.runner: cannot be written .*choose another --out")
    with named, sole_runner(tmp_path / "file" / "runs", print):
        raise AssertionError("not to be reached")
