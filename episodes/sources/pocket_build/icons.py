"""Interface icons from npm `@iconify/json`: one class per icon name that many sets draw, black on white.

Kept are one-colour sets under a permissive licence. Logo, emoji and flag sets are left out; so are drawings that
are animated (their first frame is often empty) and aliases (they repeat another drawing).
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
LEFT_OUT_SETS = {"circle-flags", "flag", "flagpack", "cif", "il"}  # flags; `il` draws nothing but brands
LEFT_OUT_TAG = "Contains Animations"

# Concrete things that look alike from set to set; of synonyms (trash/delete, cog/settings) only one.
NAMES = """
accessibility airplane align-left anchor archive arrow-down arrow-left arrow-right arrow-up asterisk at atom
backpack backspace balloon barcode baseball basketball battery-full bed beer bell bicycle binoculars bold bolt
bomb book bookmark box brain briefcase brush bug building bus cake calculator calendar camera car castle cat
chart-pie check cheese chevron-left chevron-up circle clipboard clock cloud code coins compass cookie copy cpu
credit-card crop crown cube database dna dog door-open download drone droplet ear egg elevator eraser eye
eye-off factory fast-forward feather file film filter fingerprint fire fire-extinguisher fish flag flashlight
flask flower folder football fork gamepad ghost gift glasses globe graduation-cap grid hammer hand handshake
hard-drive headphones heart helicopter hexagon home hospital hourglass id-card image inbox infinity info
joystick key keyboard lamp laptop layers leaf lightbulb link list lock magnet mail map mask medal megaphone
menu microphone microscope minus moon mountain mouse music newspaper notebook octagon palette paperclip pause
pencil percent phone pill pin planet play plug plus power printer puzzle qr-code question radar radio receipt
recycle refresh robot rocket rss ruler save scale scissors scooter screwdriver search send server settings
shapes share shield ship shopping-bag shopping-cart shovel shuffle skull snowflake sofa speaker square stamp
star stethoscope sun table target telescope tent terminal test-tube thermometer thumbs-down thumbs-up ticket
toolbox tornado train translate trash tree triangle trophy truck umbrella underline upload user users video
volleyball wallet watch weight wheelchair wifi wind wrench zoom-in
""".split()


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
        if _allowed(prefix, info)
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


def _allowed(prefix: str, info: dict[str, Any]) -> bool:
    return (
        info["license"].get("spdx") in LICENCES
        and not info.get("palette")
        and info.get("category") not in LEFT_OUT_CATEGORIES
        and prefix not in LEFT_OUT_SETS
        and LEFT_OUT_TAG not in (info.get("tags") or [])
    )
