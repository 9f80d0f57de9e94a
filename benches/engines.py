"""What the harness adds to the adapters' own seconds, and whether a long run stays as fast and as small as a short one.

The work is nearest centroid on features that come from random numbers: an adapter so cheap that all else shows.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from rich.console import Console

from benches.rows import Measurement, Setting, peak_allocated_mib, row
from harness.build_request import build_request
from harness.cells import prepare
from harness.engines.choice import checked_engine
from harness.request import Request
from harness.run import compute
from results.identity import Row
from results.store import ResultStore

CLOCK = '''
"""Says when it is used for the first time, and ends the run."""
import os
import sys
import time
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    version: ClassVar = "1"

    def adapt(self, support, *, rng=None):
        print(f"first episode at {time.time()}", file=sys.stderr, flush=True)
        os._exit(0)
'''
LIMIT_MS = 2.0
DOMAINS, TASKS = 13, 600
IMAGES, WIDTH = 50_000, 512
"""Of the largest domain; as many as 600 episodes of ImageNet touch."""


@row
def engine_overhead(setting: Setting) -> Measurement:
    """Milliseconds a task that are not the adapter's: pocket suite, ncc, one process. The baseline is what is asked."""
    request = _pocket(setting, "ncc")
    compute_all(request)  # fills the cache of embeddings
    request = replace(request, out=setting.folder / "measured")
    done = compute_all(request)
    note = f"{done.tasks} tasks in {done.wall_s:.1f} s, {done.own_s:.1f} s of it the adapter's; baseline: the limit"
    return Measurement(1000 * (done.wall_s - done.own_s) / done.tasks, "ms/task", LIMIT_MS, note)


@row
def first_episode(setting: Setting) -> Measurement:
    """Seconds from the start of `metabench run pocket` to its first episode, caches warm; the baseline is what `import
    torch` alone takes."""
    plugin = setting.folder / "clock.py"
    plugin.write_text(CLOCK)
    command = [sys.executable, "-m", "metabench", "run", "pocket", "--adapters", str(plugin), "--workers", "1"]
    command += ["--tasks", str(setting.scaled(600)), "--out"]
    seconds: dict[str, list[float]] = {"ours": [], "torch": []}
    as_usual = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for turn in range(setting.repeats + 1):
        started = time.time()
        done = subprocess.run([*command, str(setting.folder / str(turn))], capture_output=True, text=True, env=as_usual)
        seconds["ours"].append(float(done.stderr.split("first episode at ")[1].split()[0]) - started)
        started = time.time()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        seconds["torch"].append(time.time() - started)
    return Measurement(median(seconds["ours"][1:]), "s", median(seconds["torch"][1:]), "wanted: under 3 s")


@row
def ray_overhead(setting: Setting) -> Measurement:
    """Seconds from the first stored block to the last on Ray, two workers, its start apart; pocket suite. The baseline
    is the local engine with two worker processes."""
    request = replace(_pocket(setting, "url copa"), workers=2)
    compute_all(_pocket(setting, "ncc"))  # fills the cache of embeddings
    engines = {"ray": checked_engine("ray", "local"), "local": checked_engine("local")}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(setting.repeats):
        for name, engine in engines.items():
            done = compute_all(replace(request, engine=engine, out=setting.folder / f"{name}{turn}"))
            seconds[name].append(done.stored_s[-1] - done.stored_s[0])
    note = f"{setting.scaled(100)} tasks a domain of url and copa"
    return Measurement(median(seconds["ray"]), "s", median(seconds["local"]), note)


@row
def long_run(setting: Setting) -> Measurement:
    """Seconds of a processor for the last tenth of 100,000 tasks of ncc; the baseline is the first tenth."""
    tasks = setting.scaled(100_000, 200)
    place = _features(setting.folder / "features", {"long": 2_000}, 32)
    done = compute_all(_given(setting, place, tasks))
    (first, last), walls = _tenths(done.stored_cpu_s), _tenths(done.stored_s)
    return Measurement(last, "s", first, f"{tasks} tasks; by the clock {walls[0]:.1f} s and {walls[1]:.1f} s")


@row
def run_memory(setting: Setting) -> Measurement:
    """MiB that a process allocates for 13 domains of 600 tasks, mapped files apart; baseline: the largest domain's
    features and 1 GiB."""
    images, tasks = setting.scaled(IMAGES, 400), setting.scaled(TASKS, 20)
    sizes = {f"domain{number:02d}": images for number in range(DOMAINS)}
    place = _features(setting.folder / "features", sizes, WIDTH)
    largest = images * WIDTH * 4 / 2**20
    note = f"{DOMAINS} x {tasks} tasks, {images} vectors of {WIDTH} a domain: {largest:.0f} MiB each"
    return Measurement(peak_allocated_mib(_run_given, setting, place, tasks), "MiB", largest + 1024, note)


class Done(NamedTuple):
    """A run that is done. `stored_s`, `stored_cpu_s`: when each block was stored, by the clock and in seconds of this
    process; `own_s`: the adapters' own seconds."""

    stored_s: list[float]
    stored_cpu_s: list[float]
    wall_s: float
    own_s: float
    tasks: int


def compute_all(request: Request) -> Done:
    """Compute what a request lacks, without a word."""
    current = prepare(request)
    with _Timed(request.out / "results.sqlite") as store:
        started = time.perf_counter()
        _, tasks = compute(current, store, Console(file=StringIO()))
        wall_s = time.perf_counter() - started
    with closing(sqlite3.connect(request.out / "results.sqlite")) as database:
        ((own_s,),) = database.execute("SELECT sum(wall_s) FROM rows")
    return Done(store.clock, store.process, wall_s, own_s, tasks)


class _Timed(ResultStore):
    """Notes when rows are stored."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.clock: list[float] = []
        self.process: list[float] = []

    def add(self, rows: Sequence[Row]) -> None:
        super().add(rows)
        self.clock.append(time.perf_counter())
        self.process.append(time.process_time())


def _tenths(times: Sequence[float]) -> tuple[float, float]:
    """What the first and the last tenth took."""
    tenth = max(1, (len(times) - 1) // 10)
    return times[tenth] - times[0], times[-1] - times[-1 - tenth]


def _run_given(setting: Setting, place: Path, tasks: int) -> None:
    compute_all(_given(setting, place, tasks))


def _pocket(setting: Setting, adapters: str) -> Request:
    return _request(setting, benchmark="pocket", adapters=adapters, tasks=setting.scaled(100))


def _given(setting: Setting, place: Path, tasks: int) -> Request:
    return _request(setting, benchmark="fixed-5w5s", adapters="ncc", tasks=tasks, features=place)


def _request(setting: Setting, *, benchmark: str, adapters: str, tasks: int, features: Path | None = None) -> Request:
    """As from the command line, for one process."""
    request = build_request(
        benchmark,
        adapters=adapters,
        hyper="official",
        datasets=None,
        tasks=tasks,
        backbone=None,
        weights=None,
        split=None,
        seed=0,
        out=setting.folder / "runs",
        records=None,
        episodes=None,
        features=features,
        trained_on=None,
        device="cpu",
        dtype="float32",
        workers=1,
        pixels="keep",
        store_dtype=None,
        compiled=False,
    )
    return replace(request, engine=checked_engine("local"))


def _features(folder: Path, images: dict[str, int], width: int) -> Path:
    """Random features of each domain, in classes of 100 or fewer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in images.items():
        np.save(folder / f"{name}.npy", rng.standard_normal((count, width), np.float32))
        np.save(folder / f"{name}.labels.npy", np.arange(count) % max(10, count // 100))
    return folder
