"""Run a tiny benchmark again and again in forked processes, and kill -9 them at random moments.

Usage: kill_often.py WORKSPACE KILLS SEED; prints how often it killed in how many folders. A fork costs no import, so
that a kill takes as long as what it interrupts. Every folder of results is run until it is done, between kills; then
its leaderboard must have the bytes of a run that nobody disturbed, and a new folder with a new cache begins.
"""

import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

import torch  # noqa: F401  (what a run imports, once for all)

import harness.commands.run  # noqa: F401
import results.leaderboard
import results.outputs.write
import results.render  # noqa: F401
from harness.cli.app import main
from results.store import ResultStore

OPTIONS = ["run", "tiny.toml", "--records", "records", "--tasks", "100", "--adapters", "ncc,ridge", "--workers", "1"]

MOST_S = 4.0
"""A kill comes within this time: slow machines get as far by what the kills before have left."""


def start(out: Path) -> int:
    """Fork a run into `out`, with a cache of its own; keys are noted in `acknowledged` once they are stored."""
    out.mkdir(exist_ok=True)
    pid = os.fork()
    if pid:
        return pid
    os.environ["METABENCH_CACHE"] = str(out / "cache")
    notes = os.open(out / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    said = os.open(out / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    add = ResultStore.add

    def add_and_note(store, rows):
        add(store, rows)
        os.write(notes, "".join(f"{row.key} {row.accuracy!r}\n" for row in rows).encode())

    ResultStore.add = add_and_note
    sys.argv = ["metabench", *OPTIONS, "--out", str(out)]
    status = 1
    try:
        main()
    except SystemExit as leaving:
        status = leaving.code or 0
    finally:
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check_rows(out: Path) -> None:
    """Every acknowledged row is stored, once and as it was acknowledged."""
    lines = (out / "acknowledged").read_text().splitlines() if (out / "acknowledged").exists() else []
    acknowledged = {key: float(accuracy) for key, accuracy in (line.split() for line in lines)}
    stored = []
    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(out / "results.sqlite")) as db,
    ):
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = db.execute("SELECT key, accuracy FROM rows").fetchall()
    assert len(dict(stored)) == len(stored)
    lost = acknowledged.items() - dict(stored).items()
    assert not lost, f"{out}: {len(lost)} of {len(acknowledged)} acknowledged rows are lost"


def torment(folder: Path, kills: int, chance: random.Random) -> tuple[int, float]:
    """Kill `kills` runs; how many folders that took, and how long an undisturbed run takes."""
    folder.mkdir()
    began = time.monotonic()
    assert ended(start(folder / "undisturbed")) == 0, (folder / "undisturbed/said").read_text()
    lasts_s = min(time.monotonic() - began, MOST_S)
    expected = (folder / "undisturbed/leaderboard.csv").read_bytes()
    done = lives = 0
    while done < kills:
        lives += 1
        out = folder / f"life{lives}"
        while True:
            pid = start(out)
            if done < kills:
                time.sleep(chance.uniform(0, 1.1 * lasts_s))
                os.kill(pid, signal.SIGKILL)
            status = ended(pid)
            check_rows(out)
            done += status == -signal.SIGKILL
            if status != -signal.SIGKILL:
                break
        assert status == 0, (out / "said").read_text()[-2000:]
        assert (out / "leaderboard.csv").read_bytes() == expected, f"{out}: another leaderboard"

    return lives, lasts_s


if __name__ == "__main__":
    workspace, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.chdir(workspace)
    lives, lasts_s = torment(workspace / "killed", kills, random.Random(seed))
    print(f"{kills} kills in {lives} folders, each within {1.1 * lasts_s:.1f} s")
