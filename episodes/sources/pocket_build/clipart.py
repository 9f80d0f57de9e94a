"""Open Clip Art from Debian's `openclipart-png`: one class per second-level folder, transparent parts made white."""

import struct
from pathlib import Path

from PIL import Image, ImageChops

from episodes.sources.pocket_build.fetch import fetch_debian
from episodes.sources.pocket_build.images import flatten, shrink

SIDE = 84
MOST_PIXELS = 40_000_000  # a few posters are larger than that and would take gigabytes to decode
FAINT = 16  # a pixel less than so many grey levels below white counts as empty paper
LEFT_OUT = {
    "computer/icons",  # thousands of look-alikes, and so are the stars
    "shapes/stars",
    "unsorted/duplicates",
    "special/gradients",  # transparent through and through
    "transportation/aiga-symbols",  # all among the map symbols as well
    "recreation/religion",  # decorated numerals and parodies for the most part
}
LEFT_OUT_FILES = {
    # show "Linked Image Not Found" instead of their subject
    "crow_01.png",
    "duck_yellow_ii_kurt_cagl_.png",
    *(f"stylized_yoga_person_ger_{i:02}.png" for i in range(1, 7)),
    # emblems of organisations and a trademarked character
    "nws_government_website__01.png",
    "tsunami_warning_sign_bob_01.png",
    *(f"domo_kun_nicu_buculei_{i:02}.png" for i in range(1, 3)),
    # in the wrong folder: a diagram among the patterns, an elephant among the body parts, a nude among the smilies
    "model-view-controller_ia_01.png",
    "olifant_mo_01.png",
    "portrait_of_a_woman_guid_.png",
    "chav_01.png",  # mocks people
}


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """The pictures of each second-level folder (and of the folders below it), by path."""
    root = fetch_debian("openclipart-png", work) / "usr/share/openclipart/png"
    classes: dict[str, list[Image.Image]] = {}
    for path in sorted(root.glob("*/*/**/*.png")):
        folder = "/".join(path.relative_to(root).parts[:2])
        if folder not in LEFT_OUT and path.name not in LEFT_OUT_FILES and _pixels(path) <= MOST_PIXELS:
            with Image.open(path) as image:
                classes.setdefault(folder, []).append(_picture(image))
    return classes


def _pixels(path: Path) -> int:
    """Width times height as the PNG header states them (Pillow refuses to open what is far too large)."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width * height


def _picture(image: Image.Image) -> Image.Image:
    """On white, cut to what is drawn (many files hold a small drawing on a large empty page), at most 84 px."""
    rgba = image.convert("RGBA")
    if max(rgba.size) > 8 * SIDE:  # reduce large scans cheaply first
        rgba = rgba.reduce(max(rgba.size) // (4 * SIDE))
    page = flatten(rgba, (255, 255, 255))
    drawn = ImageChops.invert(page).convert("L").point([0] * FAINT + [255] * (256 - FAINT)).getbbox()
    return shrink(page.crop(drawn), SIDE)
