"""Noto emoji at 64 px from npm `emoji-datasource-google`: one class per Unicode sub-category, one vendor's art.

Skin tones are never read (only base emoji are); of emoji that differ by the person's gender one is kept.
"""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from episodes.sources.pocket_build.fetch import fetch_npm
from episodes.sources.pocket_build.images import flatten

NEUTRAL, GENDERS = "1F9D1", {"1F468", "1F469"}
SIGNS = {"2640", "2642", "FE0F", "200D"}


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """The images of each sub-category in the Unicode order, on white."""
    package = fetch_npm("emoji-datasource-google", work)
    entries = json.loads((package / "emoji.json").read_text("utf-8"))
    classes: dict[str, list[Image.Image]] = {}
    taken: set[tuple[str, ...]] = set()
    for entry in sorted(entries, key=_gendered_last):
        person = ungendered(entry["unified"])
        if entry["has_img_google"] and entry["category"] != "Component" and person not in taken:
            taken.add(person)
            with Image.open(package / "img/google/64" / entry["image"]) as image:
                classes.setdefault(entry["subcategory"], []).append(flatten(image, (255, 255, 255)))
    return classes


def ungendered(code_points: str) -> tuple[str, ...]:
    """Code points ("1F469-200D-1F680") with man and woman replaced by person and the gender signs left out."""
    return tuple(NEUTRAL if code in GENDERS else code for code in code_points.split("-") if code not in SIGNS)


def _gendered_last(entry: dict[str, Any]) -> tuple[bool, int]:
    codes = set(entry["unified"].split("-"))
    return bool(codes & (GENDERS | {"2640", "2642"})), entry["sort_order"]
