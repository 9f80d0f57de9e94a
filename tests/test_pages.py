"""README and the pages under docs/: every command line that they show is one that the program takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from harness.cli.app import app

REPO = Path(__file__).parents[1]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
COMMAND = re.compile(r"^    (?:\.venv/bin/)?metabench ((?:.*\\\n)*.*)$", re.MULTILINE)
GROUP = typer.main.get_command(app)


def shown():
    """(page, command line) of every line in a code block that starts with metabench."""
    return [(page.name, line.replace("\\\n", " ")) for page in PAGES for line in COMMAND.findall(page.read_text())]


def options_of(command):
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_there_are_pages_with_commands():
    assert len({page for page, _ in shown()}) >= 4


@pytest.mark.parametrize(("page", "line"), shown())
def test_every_command_that_is_shown_exists_with_the_options_that_it_is_given(page, line):
    command, words = GROUP, [word for word in shlex.split(line, comments=True) if word not in ("[", "]", "...")]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: metabench has no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    unknown = given - options_of(command) - {"--help", "--traceback"}
    assert not unknown, f"{page}: metabench {command.name} has no {', '.join(unknown)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_running_text_belongs_to_some_command(page):
    def every(command):
        yield from options_of(command)
        for inner in getattr(command, "commands", {}).values():
            yield from every(inner)

    text = re.sub(r"^    .*$", "", page.read_text(), flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named <= {*every(GROUP), "--help", "--traceback"}
