"""Names of backbones: what stands before a colon, and which part of a name is a path."""

import re
from pathlib import Path
from typing import NamedTuple

_OWN = re.compile(r"(?P<file>.+\.py):(?P<factory>[^:/\\]+)")
_WITH_ARCHITECTURE = re.compile(r"open_clip:[^/]+/")
_LIBRARIES = ("hf:", "timm:")
_PATH_STARTS = ("/", "./", "../", "~")


class Own(NamedTuple):
    """A function `factory` in a Python file."""

    file: Path
    factory: str


def own_network(name: str) -> Own | None:
    """What "FILE.py:FACTORY" stands for; None for other names."""
    found = _OWN.fullmatch(name)
    return Own(Path(found["file"]), found["factory"]) if found else None


def is_local(text: str) -> bool:
    """Whether this is a path here rather than the name of something on a hub; nothing at all is neither."""
    return text.startswith(_PATH_STARTS) or (text != "" and Path(text).exists())


def split_name(name: str) -> list[str]:
    """The names in "a+b+c"; one that holds the path of something that exists is one name."""
    path = _around_path(name)[1]
    return [name] if path is not None and path.expanduser().exists() else name.split("+")


def absolute(name: str) -> str:
    """The same name of one backbone with its path, if it has one, made absolute: it then means the same everywhere."""
    before, path, after = _around_path(name)
    return name if path is None else f"{before}{path.expanduser().absolute()}{after}"


def _around_path(name: str) -> tuple[str, Path | None, str]:
    """What stands before the path in a name, the path (None where there is none), and what stands after it."""
    own = own_network(name)
    if own is not None:
        return "", own.file, f":{own.factory}"
    if name.endswith(".safetensors") and not _WITH_ARCHITECTURE.match(name):
        return "", Path(name), ""
    known = _WITH_ARCHITECTURE.match(name)
    before = known[0] if known else next((library for library in _LIBRARIES if name.startswith(library)), "")
    rest = name.removeprefix(before)
    return (before, Path(rest), "") if before and is_local(rest) else (name, None, "")
