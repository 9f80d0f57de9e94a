"""What a row of the bench is: a function that does one piece of work twice, in our way and in the textbook's.

To add rows, write a module beside this one whose functions carry `@row`; nothing else needs to know.
"""

import importlib
import multiprocessing
import pkgutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import benches


class Measurement(NamedTuple):
    """`value` and the textbook form's `baseline`, both in `unit`; `note`: what a reader must know to compare them."""

    value: float
    unit: str
    baseline: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times better than the baseline: more in a second, or less of anything else."""
        return self.value / self.baseline if self.unit.endswith("/s") else self.baseline / self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a row is given. `folder`: empty, the row's own. `scale`: 1 for the real size, less for a quick look.

    `repeats`: how often ours and the baseline are measured, in turns. `class_counts`: JSON file with the true class
    sizes of the published data sets; without it they are made up from the published totals.
    """

    folder: Path
    scale: float = 1.0
    repeats: int = 5
    class_counts: Path | None = None

    def scaled(self, full: int, least: int = 1) -> int:
        """A number of things, at this scale."""
        return max(least, round(full * self.scale))


Row = Callable[[Setting], Measurement]
_ROWS: dict[str, Row] = {}


def row(function: Row) -> Row:
    """Make a function a row, under its own name."""
    _ROWS[function.__name__] = function
    return function


def all_rows() -> Mapping[str, Row]:
    """Every row of every module here, by name, modules in alphabetical order."""
    for module in pkgutil.iter_modules(benches.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"benches.{module.name}")
    return _ROWS


def median_seconds(ours: Callable[[], object], baseline: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each, measured in turns, so that a busy minute of the machine hits both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, times in zip((ours, baseline), seconds, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return median(seconds[0]), median(seconds[1])


def peak_growth_mib(work: Callable[..., object], *arguments: object) -> float:
    """What `work` adds to the peak memory of a process of its own (another's peak would hide it)."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_grown_mib, work, arguments).result()


def peak_allocated_mib(work: Callable[..., object], *arguments: object) -> float:
    """The same without the pages of mapped files, which the system takes back when it needs them: what the process has
    allocated, looked at every 20 ms."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_allocated_mib, work, arguments).result()


def _allocated_mib(work: Callable[..., object], arguments: Sequence[object]) -> float:
    before, seen, done = _status_mib("RssAnon"), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(_status_mib("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = work(*arguments)
    done.set()
    watcher.join()
    peak = max(*seen, _status_mib("RssAnon"))
    del result
    return max(peak - before, 1 / 1024)


def _grown_mib(work: Callable[..., object], arguments: Sequence[object]) -> float:
    before = _status_mib("VmHWM")
    result = work(*arguments)
    grown = _status_mib("VmHWM") - before
    del result
    return max(grown, 1 / 1024)


def _status_mib(key: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) / 1024
