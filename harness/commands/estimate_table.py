"""An estimate as tables on the terminal."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from harness.commands.estimate import Estimate, Size
from harness.console import counted

COLUMNS = ("data set", "ways\nmean", "images\ndrawn", "distinct\nimages", "embeddings", "time to\nembed")


def show_estimate(console: Console, found: Estimate) -> None:
    """Print a table of the data sets, one of the methods if there are any, and what they are made of below."""
    console.print(found.title, style="italic", highlight=False, markup=False, soft_wrap=True)
    console.print(_domains(found))
    if found.methods:
        console.print(_methods(found))
    for line in filter(None, (found.left_out, *_notes(found))):
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    if found.methods:
        console.print(f"in all about {_clock(found.total_s)}", style="bold", highlight=False)


def _notes(found: Estimate) -> list[str]:
    """What the numbers stand on."""
    notes = [
        f"embedding: {found.rate:,.0f} images/s, measured here with {found.whose} (d = {found.feature_dim}), without "
        "decoding; what is embedded already is not subtracted"
    ]
    if not found.bytes_of:
        notes = ["embedding: none, as no method reads features or maps"]
    if found.methods:
        notes.append("adapting: measured here on a few episodes of noise; results that are stored are not subtracted")
    if found.certain:
        notes.append(f"plan {found.plan.hash[:12]}: these are the episodes of the run")
    else:
        notes.append(
            "~ estimated from the published totals of the split, as if all of its classes were of one size: images "
            "drawn are off by up to 7% on the test splits, but for fungi, whose classes are uneven, 38% too high"
        )
    return notes


def _domains(found: Estimate) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "data set" else "right", overflow="fold")
    sizes = [Size.of(part) for part in found.plan.domains]
    for (name, _, at_hand), size in zip(found.domains, sizes, strict=True):
        table.add_row(Text(name), *_cells(size, found, "" if at_hand else "~"))
    table.add_section()
    total = Size(*map(sum, zip(*sizes, strict=True)))
    table.add_row("all", *_cells(total, found, "" if found.certain else "~"))
    return table


def _cells(size: Size, found: Estimate, mark: str) -> list[str]:
    numbers = [
        f"{size.ways / size.episodes:.1f}",
        f"{size.drawn:,}",
        f"{size.distinct:,}",
        decimal(found.embeddings_bytes(size.distinct)),
        _clock(found.embedding_s(size.distinct)),
    ]
    return [mark + number for number in numbers]


def _methods(found: Estimate) -> Table:
    episodes = sum(map(len, found.plan.domains))
    table = Table()
    table.add_column("method", overflow="fold")
    table.add_column("an episode", justify="right")
    table.add_column(f"{counted(episodes, 'episode')},\n{counted(found.workers, 'worker')}", justify="right")
    for method in found.methods:
        table.add_row(Text(method.label), _short(method.seconds / episodes), _clock(found.adapting_s(method)))
    return table


def _clock(seconds: float) -> str:
    """As in 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def _short(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{1000 * seconds:,.1f} ms"
