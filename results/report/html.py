"""From what the page says to its bytes: templates, escaping, and the policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    import markupsafe

HERE = Path(__file__).parent


def render(**content: Any) -> str:
    """`page.html.j2` filled in; names in `content` stay text, whatever they hold."""
    style, script = (_text(name) for name in ("style.css", "page.js"))
    inline = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    return _environment().get_template("page.html.j2").render(**content, **inline)


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"px": _pixels, "breakable": _breakable}
    return environment


def _pixels(value: float) -> str:
    """A position in a figure, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def _breakable(name: str) -> markupsafe.Markup:
    """A name that may be broken after its underscores."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(name.split("_"))


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """What the content security policy calls a script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
