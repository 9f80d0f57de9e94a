"""Letters drawn with the fonts that matplotlib brings along: white on black, one class per letter."""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageFont

from episodes.errors import MissingSource
from episodes.sources.pocket_build.twins import distinct

SIDE, FONT_PIXELS = 64, 44
FEWEST = 10  # styles of a letter
# The text fonts. The others hold symbols, or boxes in place of letters (LastResort has one for every code point).
FONTS = (
    *(f"DejaVuSans{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")),
)
# In this order, which decides who keeps a shape that two alphabets share (Latin A, Greek Alpha, Cyrillic A).
LETTERS = {
    "Latin upper": range(0x41, 0x5B),
    "Latin lower": range(0x61, 0x7B),
    "Greek upper": range(0x391, 0x3AA),
    "Greek lower": range(0x3B1, 0x3CA),
    "Cyrillic upper": range(0x410, 0x430),
    "Cyrillic lower": range(0x430, 0x450),
    "Armenian upper": range(0x531, 0x557),
    "Armenian lower": range(0x561, 0x587),
    "Georgian": range(0x10D0, 0x10F1),
}
UNASSIGNED = "\uffff"  # no font has it, so it shows the font's .notdef


def glyph_classes(folder: Path) -> dict[str, dict[str, list[Image.Image]]]:
    """alphabet and case -> letter -> its distinct pictures, (64, 64) grey, in the order of FONTS.

    `folder`: where the fonts lie. Left out are a font's letters that are its .notdef, pictures that an earlier letter
    has to the pixel, twins, and letters with fewer than ten pictures left. Raises MissingSource when a font is missing.
    """
    fonts = [_font(folder / name) for name in FONTS]
    taken: set[bytes] = set()
    alphabets: dict[str, dict[str, list[Image.Image]]] = {}
    for alphabet, code_points in LETTERS.items():
        letters = alphabets.setdefault(alphabet, {})
        for letter in map(chr, code_points):
            new = [image for image in _drawn(letter, fonts) if image.tobytes() not in taken]
            taken.update(image.tobytes() for image in new)
            images = distinct(new)
            if len(images) >= FEWEST:
                letters[letter] = images
    return alphabets


def _font(path: Path) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(path), FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise MissingSource(f"{path}: font missing or unreadable; install matplotlib again") from error


def _drawn(letter: str, fonts: Iterable[ImageFont.FreeTypeFont]) -> Iterable[Image.Image]:
    """The letter in each font that has it, centred by the box around its ink."""
    for font in fonts:
        mask, missing = font.getmask(letter), font.getmask(UNASSIGNED)
        box = mask.getbbox()
        if box is None or (mask.size, bytes(mask)) == (missing.size, bytes(missing)):
            continue
        ink = Image.frombytes("L", mask.size, bytes(mask)).crop(box)
        page = Image.new("L", (SIDE, SIDE))
        page.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
        yield page
