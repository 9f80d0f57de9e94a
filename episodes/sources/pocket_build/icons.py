"""Interface icons from npm `@iconify/json`: one class per icon name that many sets draw, black on white.

Kept are one-colour sets under a permissive licence. Logo, emoji and programming-language sets are left out (flag
sets are in colour); so are animated sets (their first frame is often empty) and aliases (they repeat a drawing).
"""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from episodes.errors import MissingSource
from episodes.sources.pocket_build.fetch import fetch_npm

SIDE = 64
LICENCES = {"MIT", "ISC", "CC0-1.0", "Apache-2.0"}
LEFT_OUT_CATEGORIES = {"Logos", "Emoji", "Programming"}
LEFT_OUT_TAG = "Contains Animations"

# Concrete things that look alike from set to set; of synonyms (trash/delete, cog/settings) only one.
_NAMES = """
airplane anchor arrow-down arrow-left arrow-right arrow-up asterisk at backpack backspace barcode baseball
basketball battery-full bed beer bell bold bolt book bookmark briefcase brush bug building bus cake calculator
calendar camera car chart-pie check circle clipboard clock cloud code coins compass cookie copy cpu credit-card crop
crown cube database download droplet eraser eye eye-off fast-forward file film filter fingerprint fire fish flag
flask folder gamepad ghost gift glasses globe hammer hand headphones heart hexagon home hospital hourglass id-card
image info key keyboard laptop layers leaf lightbulb link lock magnet mail map medal megaphone menu microphone
microscope minus moon mouse music newspaper palette paperclip pause pencil phone pill pin planet play plug plus
power printer puzzle qr-code question radar radio receipt refresh robot rocket rss ruler scissors search send
settings shield ship shopping-bag shopping-cart shuffle skull snowflake speaker square star stethoscope sun table
target terminal thermometer thumbs-down thumbs-up ticket train translate trash tree triangle trophy truck umbrella
underline upload user users video wallet watch wheelchair wifi wind wrench zoom-in
"""
NAMES = tuple(_NAMES.split())


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """The drawings of each name, in the order of the sets' names."""
    classes: dict[str, list[Image.Image]] = {name: [] for name in NAMES}
    for _, icons in icon_sets(work):
        for name in NAMES:
            if name in icons["icons"]:
                classes[name].append(rasterise(icons, name))
    return classes


def icon_sets(work: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(information, icons) of each set that may be used, ordered by its prefix."""
    package = fetch_npm("@iconify/json", work)
    information = json.loads((package / "collections.json").read_text("utf-8"))
    return [
        (info, json.loads((package / f"json/{prefix}.json").read_text("utf-8")))
        for prefix, info in sorted(information.items())
        if _allowed(info)
    ]


def rasterise(icons: dict[str, Any], name: str) -> Image.Image:
    """(64, 64) grey picture of one icon of a set in Iconify's JSON format, centred on white."""
    icon = icons["icons"][name]
    left, top, width, height = (icon.get(k, icons.get(k, default)) for k, default in _BOX)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width}" '
        f'height="{height}" viewBox="{left} {top} {width} {height}" color="#000">{icon["body"]}</svg>'
    )
    drawing = Image.open(io.BytesIO(_render(svg, SIDE / max(width, height)))).convert("L")
    page = Image.new("L", (SIDE, SIDE), 255)
    page.paste(drawing, ((SIDE - drawing.width) // 2, (SIDE - drawing.height) // 2))
    return page


_BOX = (("left", 0), ("top", 0), ("width", 16), ("height", 16))


def _render(svg: str, zoom: float) -> bytes:
    try:
        import resvg_py
    except ImportError as error:
        raise MissingSource("icons: the pocket build needs resvg: pip install resvg_py==0.5.0") from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom, background="white", skip_system_fonts=True))


def _allowed(info: dict[str, Any]) -> bool:
    return (
        info["license"].get("spdx") in LICENCES
        and not info.get("palette")
        and info.get("category") not in LEFT_OUT_CATEGORIES
        and LEFT_OUT_TAG not in (info.get("tags") or [])
    )
