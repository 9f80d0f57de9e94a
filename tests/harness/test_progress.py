"""Progress: a line for each finished part in a log, with the running mean, the rate and the time left."""

import io
import re

from rich.console import Console

from harness import progress
from harness.progress import Part, parts

URL, NCC = Part("mnist", "url"), Part("mnist", "ncc(scale=[1])")


def told(totals, *steps, **options):
    """What a log holds after these steps."""
    text = io.StringIO()
    console = Console(file=text, width=120, **options)
    with parts(console, totals) as done:
        for part, accuracies in steps:
            done(part, accuracies)
    return text.getvalue()


def test_a_log_has_one_plain_line_for_each_finished_part():
    log = told({URL: 4, NCC: 2}, (URL, [0.5, 0.7]), (NCC, [0.25, 0.25]), (URL, [0.5, 0.7]))
    first, second = log.splitlines()
    assert first.startswith("done      mnist ncc(scale=[1]): 2 episodes, 25.0 ±0.0; 4 of 6 in all, ")
    assert second.startswith("done      mnist url: 4 episodes, 60.0 ±9.8; 6 of 6 in all, ")
    assert second.endswith("/s, 0:00:00 left")
    assert "\x1b" not in log


def test_an_unfinished_part_is_not_told_of_in_a_log():
    assert told({URL: 4}, (URL, [0.5])) == ""


def test_a_terminal_shows_the_part_that_is_under_way_with_its_running_mean():
    shown = told({URL: 4, NCC: 2}, (URL, [0.5, 0.7]), force_terminal=True)
    assert re.search(r"mnist url 60\.0 ±13\.9", shown)
    assert "ncc" not in shown


def test_a_log_hears_of_a_long_bar_from_time_to_time(monkeypatch):
    monkeypatch.setattr(progress, "SILENCE_S", 0.0)
    text = io.StringIO()
    with progress.bar(Console(file=text, width=120), "embed", 1000) as advance:
        advance(100)
    assert re.fullmatch(r"embed     100 of 1,000, [\d,]+/s, 0:00:00 left\n", text.getvalue())
