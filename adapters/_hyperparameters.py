"""Hyper-parameters from a command line to the fields of an adapter."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from adapters.errors import BadAdapter, BadHyperparameter

Positive = Annotated[float, msgspec.Meta(gt=0, le=sys.float_info.max)]
NonNegative = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
LogScale = Annotated[float, msgspec.Meta(ge=-20, le=20)]
Count = Annotated[int, msgspec.Meta(ge=0)]

NOT_HYPERPARAMETERS = frozenset({"backbone"})
_CALL = re.compile(r"(?P<name>[^():=,]+\.py|[^():=,\s]+)\s*(?:\((?P<inside>[^()]*)\)|:(?P<after>[^():]*))?", re.DOTALL)


def parse(text: str) -> tuple[str, dict[str, str]]:
    """One adapter as written on a command line: "url", "url(lr=0.5, steps=20)" or "url:lr=0.5,steps=20".

    Values stay text; `load` converts them to the types of the adapter's fields.
    """
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise BadHyperparameter(f"cannot read the adapter '{text}'; write name, name(key=value) or name:key=value")
    settings = match["inside"] or match["after"] or ""
    hyperparameters: dict[str, str] = {}
    for setting in filter(None, (part.strip() for part in settings.split(","))):
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not (key and equals and value) or key in hyperparameters:
            raise BadHyperparameter(f"cannot read '{setting}' in '{text}'; write each key once, as key=value")
        hyperparameters[key] = value.strip("'\"")
    return match["name"], hyperparameters


def parse_list(text: str) -> list[tuple[str, dict[str, str]]]:
    """Several adapters: "ncc,url(lr=0.5,steps=20),copa" or "ncc url:lr=0.5,steps=20 copa".

    After a name with a colon, "key=value" still belongs to it; the first part without "=" is the next adapter.
    """
    parts = []
    for item in re.split(r"\s*,\s*(?![^()]*\))", text.strip(", \t\n")):
        whole = Path(re.split(r"[(:]", item)[0].strip()).is_file()  # a path may have spaces
        parts += [item] if whole else re.split(r"\s+(?![^()]*\))", item)
    items: list[str] = []
    for part in parts:
        if items and re.fullmatch(r"[^(:=]+=[^(]*", part):
            items[-1] += f",{part}"
        else:
            items.append(part)
    return [parse(item) for item in items if item]


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """One line that teaches: "no adapter 'ulr'. Did you mean 'url'? Known: copa, ncc, url"."""
    options = sorted(known)
    close = difflib.get_close_matches(given, options, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{what} '{given}'.{hint} Known: {', '.join(options) or 'none'}"


def converted(name: str, adapter_class: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values in the types that the fields of the class declare; text is read as on a command line."""
    fields = {f.name: f for f in dataclasses.fields(adapter_class) if f.name not in NOT_HYPERPARAMETERS}
    for key in given:
        if key not in fields:
            raise BadHyperparameter(unknown(f"adapter '{name}' has no hyper-parameter", key, fields))
    for key, field in fields.items():
        no_default = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if no_default and key not in given:
            raise BadHyperparameter(f"adapter '{name}' needs a value for '{key}': write {name}({key}=...)")
    return typed(name, adapter_class, given)


def typed(name: str, adapter_class: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields of the class, in the types that it declares."""
    try:
        types = get_type_hints(adapter_class, include_extras=True)
    except NameError as error:
        raise BadAdapter(f"adapter '{name}': the type of a field cannot be resolved: {error}") from error
    return {key: _convert(name, key, value, types[key]) for key, value in given.items()}


def _convert(name: str, key: str, value: Any, kind: Any) -> Any:
    if getattr(value, "ndim", None) == 0:  # a NumPy scalar or a tensor of one number
        value = value.item()
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=_file)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Literal:
            raise BadHyperparameter(
                f"adapter '{name}': no {key} '{value}'. Known: {', '.join(map(str, get_args(kind)))}"
            ) from error
        expected = str(error).removeprefix("Expected ").split(", got")[0].replace("`", "")
        raise BadHyperparameter(f"adapter '{name}': {key} must be {expected}, not {value!r}") from error


def _file(kind: type, value: Any) -> Any:
    """A field of type Path holds a file that exists, by its whole path: workers may stand in another folder."""
    if kind is not Path:
        raise ValueError(f"a {kind.__name__}, which nothing on a command line becomes")
    file = Path(value).expanduser().absolute()
    if not file.is_file():
        raise ValueError(f"a file, and {file} is none")
    return file
