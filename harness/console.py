"""What every command needs of the terminal: a console, JSON, lists from text, and the last line of a failed command."""

import gc
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console


def console() -> Console:
    """Standard output; 120 columns, or COLUMNS, when it is not a terminal."""
    found, columns = Console(), os.environ.get("COLUMNS", "")
    if found.is_terminal:
        return found
    return Console(width=max(40, int(columns)) if columns.isdecimal() else 120)


@contextmanager
def collecting_later() -> Iterator[None]:
    """Imports in this block leave rubbish for later: torch makes half a million objects that all stay, and looking
    through them again and again is a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def names(text: str | None) -> tuple[str, ...] | None:
    """Names from an option, separated by commas or spaces; None when the option is not given or empty."""
    return tuple(re.split(r"[,\s]+", text.strip(", "))) if text and text.strip(", ") else None


def counted(number: int, what: str) -> str:
    """As in "1 domain" and "8 domains"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def print_json(value: Any) -> None:
    """One JSON document on standard output, for programs; it holds no NaN. Raises ValueError for one."""
    print(json.dumps(value, indent=2, allow_nan=False))


def fail(line: str, status: int) -> NoReturn:
    """Say one line to standard error and leave."""
    print(line, file=sys.stderr)
    sys.exit(status)


def say(console: Console, line: str) -> None:
    """A line of the run's story; titles in bold."""
    style = "bold" if line[:1].isupper() else "dim"
    console.print(line, highlight=False, markup=False, style=style)
