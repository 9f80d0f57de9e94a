"""The command line. Everything heavy is imported by the command that needs it, so that --help is instant."""

import sys
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.cli.adapters import check_adapter, new_adapter
from harness.cli.analyse import app as analyse_app
from harness.cli.cache import app as cache_app
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.leaderboard import leaderboard
from harness.cli.ls import ls
from harness.cli.merge import merge
from harness.cli.plan import plan
from harness.cli.pretrain import pretrain
from harness.cli.published import app as published_app
from harness.cli.records import app as records_app
from harness.cli.report import report
from harness.cli.rerun import rerun
from harness.cli.run import run
from harness.cli.show import show
from harness.cli.sweep import sweep
from harness.cli.weights import app as weights_app
from harness.config_file import with_config
from harness.console import fail


class _Commands(TyperGroup):
    """All commands; Ctrl-C ends each with a line, where typer would say nothing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            fail("stopped; what was finished is stored", 130)


app = typer.Typer(
    name="metabench",
    cls=_Commands,
    epilog="Errors are one line; add --traceback to any command for the whole story.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(analyse_app, name="analyse")
app.add_typer(weights_app, name="weights")
app.add_typer(published_app, name="published")
app.add_typer(records_app, name="records")
app.add_typer(cache_app, name="cache")
app.command("check-adapter")(check_adapter)
app.command()(compare)
app.command()(doctor)
app.command()(leaderboard)
app.command()(ls)
app.command()(merge)
app.command("new-adapter")(new_adapter)
app.command()(plan)
app.command()(pretrain)
app.command()(report)
app.command()(rerun)
app.command()(run)
app.command()(show)
app.command()(sweep)


def say_version(wanted: bool) -> None:
    """Print the version and leave, if that is wanted."""
    if wanted:
        print(f"metabench {installed_version('metabench')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=say_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Benchmark few-shot adaptation methods on frozen backbones, across image domains."""


with_config(app)


def main() -> None:
    """Run the command line. Exit status: 1 for an error (one line), 2 for wrong usage, 130 for Ctrl-C in a run."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
    with _OneLineErrors(len(arguments) == len(sys.argv) - 1):
        app(arguments)


class _OneLineErrors:
    """Show the user's errors as one line; imports the rooms' errors only once there is one to show."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if self._wanted and isinstance(error, Exception):
            from harness.errors import USER_ERRORS

            if isinstance(error, USER_ERRORS):
                fail(f"error: {' '.join(str(error).split())}{_about_the_cache(error)}", 1)


def _about_the_cache(error: Exception) -> str:
    """What to do about the system's error with a file of the cache, whose place a user may never have chosen."""
    from harness.domains import cache_folder

    file = error.filename if isinstance(error, OSError) else None
    if file is None or not str(file).startswith(str(cache_folder())):
        return ""
    return "; let METABENCH_CACHE name a folder that is yours to write to"
