"""Progress with rate and time left: bars on a terminal, a line for each finished part in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from results.stats import Running

Advance = Callable[[int], None]
SILENCE_S = 10.0
"""How long a log may say nothing of a bar."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 10 else f"{speed:.1f}/s" if speed else "")


@contextmanager
def bar(console: Console, label: str, total: int) -> Iterator[Advance]:
    """A bar of `total` steps; the value is called with the number of steps done. In a log a line from time to time."""
    started = told = time.monotonic()
    done = 0

    def advance(steps: int) -> None:
        nonlocal done, told
        done += steps
        progress.advance(task, steps)
        now = time.monotonic()
        if not console.is_terminal and now - told > SILENCE_S:
            told = now
            line = f"{label:9} {done:,} of {total:,}, {_speed(done, total, now - started)}"
            console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)

    with _bars(console) as progress:
        task = progress.add_task(label, total=total)
        yield advance


class Part(NamedTuple):
    """What one line of progress is about."""

    domain: str
    method: str


Done = Callable[[Part, Sequence[float]], None]


@contextmanager
def parts(console: Console, totals: Mapping[Part, int]) -> Iterator[Done]:
    """Progress over the episodes of several parts; the value is called with a part and the accuracies (0..1) of some of
    its episodes. `totals`: episodes of each part that are to come; running means are over these."""
    story = _Story(totals, time.monotonic())
    with _bars(console) as progress:
        overall = progress.add_task("adapt", total=sum(totals.values()))
        lines = {part: progress.add_task("", total=total, visible=False) for part, total in totals.items()}

        def done(part: Part, accuracies: Sequence[float]) -> None:
            story.add(part, accuracies)
            finished = story.finished(part)
            label = f"{part.domain} {part.method} {story.mean(part)}"
            progress.update(lines[part], advance=len(accuracies), description=label, visible=not finished)
            progress.advance(overall, len(accuracies))
            if finished and not console.is_terminal:
                console.print(story.line(part), style="dim", highlight=False, markup=False, soft_wrap=True)

        yield done


class _Story:
    """What has been computed of each part, and how fast all of it goes."""

    def __init__(self, totals: Mapping[Part, int], started: float) -> None:
        self._accuracies = {part: Running() for part in totals}
        self._totals, self._started = totals, started

    def add(self, part: Part, accuracies: Sequence[float]) -> None:
        self._accuracies[part].add(accuracies)

    def finished(self, part: Part) -> bool:
        return self._accuracies[part].count >= self._totals[part]

    def mean(self, part: Part) -> str:
        mean, ci95 = self._accuracies[part].mean_ci95()
        return f"{100 * mean:.1f} ±{100 * ci95:.1f}"

    def line(self, part: Part) -> str:
        """As in "done      mnist url: 600 episodes, 93.7 ±0.4; 4,200 of 14,400 in all, 81/s, 0:02:06 left"."""
        done = sum(accuracies.count for accuracies in self._accuracies.values())
        total = sum(self._totals.values())
        return (
            f"done      {part.domain} {part.method}: {self._totals[part]:,} episodes, {self.mean(part)}; "
            f"{done:,} of {total:,} in all, {_speed(done, total, time.monotonic() - self._started)}"
        )


def _speed(done: int, total: int, seconds: float) -> str:
    """As in "81/s, 0:02:06 left"."""
    rate = done / max(seconds, 1e-9)
    left = timedelta(seconds=round((total - done) / rate))
    return f"{rate:,.0f}/s, {left} left" if rate >= 10 else f"{rate:.1f}/s, {left} left"


def _bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
