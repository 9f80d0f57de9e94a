"""Options from a file: `--config FILE.toml`, whose keys are the names of a command's options.

What stands on the command line wins over the file, and so does the environment. `with_config` gives the option to every
command.
"""

import functools
import inspect
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

OWN = frozenset({"config", "help"})


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the file's values the defaults of the command's other options.

    Raises HarnessError naming the file and the key: unknown (with the nearest name), or of the wrong kind.
    """
    if path is None:
        return None
    from harness.errors import HarnessError, unknown

    if not path.is_file():
        raise HarnessError(f"--config {path}: {'a folder, no file' if path.is_dir() else 'no such file'}")
    known = _options(context)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: is no UTF-8 text; save it as such") from error
    except ValueError as error:
        raise HarnessError(f"{path}: {error}") from error
    values = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name in given and name != key:
            raise HarnessError(f"{path}: {key} and {name} are the same option; leave out one of them")
        if name not in known and isinstance(value, dict):
            raise HarnessError(f"{path}: [{key}] is a table; options stand by themselves, above any table")
        if name not in known:
            raise HarnessError(f"{path}: {unknown('key', key, [each.replace('_', '-') for each in known])}")
        parameter = known[name]
        try:
            values[parameter.name] = _checked(context, parameter, value)
        except typer.BadParameter as error:
            raise HarnessError(f"{path}: {key}: {value!r} has no use here: {error}") from error
        except ValueError as error:
            raise HarnessError(f"{path}: {key}: {error}") from error
    context.default_map = {**(context.default_map or {}), **values}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        callback=read_config,
        is_eager=True,
        help="Take options from this file (keys are their names); those given here win.",
    ),
]


def with_config(app: typer.Typer) -> typer.Typer:
    """The same app, all of whose commands that have options have `--config` too, as the last."""
    for command in app.registered_commands:
        if command.callback is not None and inspect.signature(command.callback).parameters:
            command.callback = _configurable(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_config(group.typer_instance)
    return app


def _configurable(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one more option, which has done its work before the command is called."""

    @functools.wraps(command)
    def configured(*, config: Path | None = None, **options: Any) -> None:
        command(**options)

    own = inspect.signature(command)
    last = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config)
    configured.__signature__ = own.replace(parameters=[*own.parameters.values(), last])  # type: ignore[attr-defined]
    configured.__annotations__ = {**command.__annotations__, "config": Config}
    return configured


def write_config(path: Path, options: Mapping[str, Any], comment: str) -> None:
    """Write such a file: options by name (None is left out), below a comment of one or more lines."""
    import tomli_w

    from results.files import write_whole

    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    text = tomli_w.dumps({key: value for key, value in options.items() if value is not None})
    write_whole(path, (lines + text).encode())


def was_given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line or in a file; its value may also come from the environment."""
    source = context.get_parameter_source(option)
    return source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")


def _options(context: typer.Context) -> dict[str, Any]:
    """The command's options and arguments by their long names, with _ for -."""
    found = {}
    for parameter in context.command.params:
        longest = max((*parameter.opts, parameter.name or ""), key=lambda name: name.startswith("--"))
        name = longest.lstrip("-").replace("-", "_")
        if name not in OWN:
            found[name] = parameter
    return found


def _checked(context: typer.Context, parameter: Any, value: Any) -> Any:
    """A value as the command line would have it: lists are joined by commas where it takes one text."""
    if isinstance(value, dict):
        raise ValueError("a table has no use here; write one value")
    if isinstance(value, bool) != bool(getattr(parameter, "is_flag", False)):
        raise ValueError(f"{str(value).lower()} has no use here" if isinstance(value, bool) else "write true or false")
    if getattr(parameter, "multiple", False):
        return [str(each) for each in (value if isinstance(value, list) else [value])]
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if value == "":
        raise ValueError("is empty; leave it out")
    parameter.process_value(context, value)
    return value
