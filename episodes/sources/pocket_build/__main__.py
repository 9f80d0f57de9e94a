"""Rebuild the shipped pocket records: `python -m episodes.sources.pocket_build --work DIR --out DIR`.

Needs npm, tar, apt-get and dpkg-deb (a Debian bookworm machine) and, for icons, `pip install resvg_py==0.5.0`. The
packages, of pinned versions (`fetch.py`), are fetched by name into --work and kept there for the next time. Each domain
replaces its folder under --out; counts go to `counts.json` beside them and the icon sets' licences to `ICON_SETS.md`.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from episodes.sources.pocket_build import clipart, emoji, fashion, icons, sprites
from episodes.sources.pocket_build.images import few_colours, grey_levels, png
from episodes.sources.pocket_build.notices import icon_sets_table
from episodes.sources.pocket_build.split import SEED, split_names
from episodes.sources.pocket_build.twins import distinct, without_shared
from episodes.spec_writing import flat_spec
from episodes.writing import KEY_FILE, write_images
from results.files import write_whole


class Recipe(NamedTuple):
    """How a domain is made: its images, bounds on a class's size, and the pixel format they are stored in."""

    collect: Callable[[Path], dict[str, list[Image.Image]]]
    fewest: int
    most: int
    store: Callable[[Image.Image], Image.Image]
    seen: bool = True


RECIPES = {
    "icons": Recipe(icons.collect, 18, 45, grey_levels),
    "emoji": Recipe(emoji.collect, 12, 60, lambda image: few_colours(image, 64)),
    "clipart": Recipe(clipart.collect, 15, 80, lambda image: few_colours(image, 64)),
    "sprites": Recipe(sprites.collect, 15, 80, lambda image: few_colours(image, 256), seen=False),
    "fashion": Recipe(fashion.collect, 100, 100, lambda image: image, seen=False),
}


def build(domain: str, work: Path, out: Path) -> dict[str, int]:
    """Make one domain's folder under `out` anew; returns the counts that the NOTICE states.

    A class that twin removal leaves too small is dropped before the counts are taken.
    """
    recipe = RECIPES[domain]
    found = recipe.collect(work)
    alone = {name: distinct(images, mirrored=domain == "sprites") for name, images in found.items()}
    alone = {name: images for name, images in alone.items() if len(images) >= recipe.fewest}
    unshared = {name: images for name, images in without_shared(alone).items() if len(images) >= recipe.fewest}
    chosen = {name: _at_most(recipe.most, images) for name, images in unshared.items()}
    encoded = {name: [png(recipe.store(image)) for image in images] for name, images in chosen.items()}
    splits = split_names(list(encoded)) if recipe.seen else ([], [], list(encoded))
    shutil.rmtree(out / domain, ignore_errors=True)
    ordered = [encoded[name] for split in splits for name in split]
    write_images(out / domain, flat_spec(domain, splits, list(map(len, ordered))), ordered)
    (out / domain / KEY_FILE).unlink()  # only the records are shipped
    stages = [sum(len(stage[name]) for name in chosen) for stage in (found, alone, unshared, chosen)]
    return {
        "classes": len(chosen),
        "images": stages[3],
        "bytes": sum(path.stat().st_size for path in (out / domain).iterdir()),
        "twins_removed": stages[0] - stages[1],
        "shared_removed": stages[1] - stages[2],
        "over_the_cap": stages[2] - stages[3],
    }


def _at_most(count: int, images: list[Image.Image]) -> list[Image.Image]:
    """All, or a seeded choice of `count` in the given order."""
    if len(images) <= count:
        return images
    return [images[i] for i in sorted(np.random.RandomState(SEED).permutation(len(images))[:count])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the fetched packages")
    parser.add_argument("--out", type=Path, required=True, help="folder of the records")
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help=f"default: {' '.join(RECIPES)}")
    given = parser.parse_args()
    for domain in set(given.domains) - set(RECIPES):
        parser.error(f"no shipped domain {domain!r}; known: {', '.join(RECIPES)}")
    work, out = given.work.resolve(), given.out.resolve()
    counts_file = out / "counts.json"
    counts: dict[str, Any] = json.loads(counts_file.read_text("utf-8")) if counts_file.exists() else {}
    for domain in given.domains or RECIPES:
        counts[domain] = build(domain, work, out)
        print(domain, counts[domain])
    known = {name: counts[name] for name in RECIPES if name in counts}
    write_whole(counts_file, f"{json.dumps(known, indent=2)}\n".encode())
    write_whole(out / "ICON_SETS.md", icon_sets_table(work).encode())


if __name__ == "__main__":
    main()
