"""Open Clip Art from Debian's `openclipart-png`: one class per second-level folder, transparent parts made white."""

from pathlib import Path

from PIL import Image

from episodes.sources.pocket_build.fetch import fetch_debian
from episodes.sources.pocket_build.images import flatten, shrink

SIDE = 96
LEFT_OUT = {"computer/icons", "shapes/stars"}  # thousands of look-alikes; `unsorted` has no meaning as a class


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """The pictures of each second-level folder (and of the folders below it), by path."""
    root = fetch_debian("openclipart-png", work) / "usr/share/openclipart/png"
    classes: dict[str, list[Image.Image]] = {}
    for path in sorted(root.glob("*/*/**/*.png")):
        first, second = path.relative_to(root).parts[:2]
        if first != "unsorted" and f"{first}/{second}" not in LEFT_OUT:
            with Image.open(path) as image:
                classes.setdefault(f"{first}/{second}", []).append(_picture(image))
    return classes


def _picture(image: Image.Image) -> Image.Image:
    """Shrunk before and after flattening would differ at the edges; large scans are reduced first for speed."""
    rgba = image.convert("RGBA")
    rgba.thumbnail((4 * SIDE, 4 * SIDE), Image.Resampling.BOX)
    return shrink(flatten(rgba, (255, 255, 255)), SIDE)
