"""Small picture chores that the five sources share: flatten, shrink, encode."""

import io

from PIL import Image


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """RGB picture of `image` laid over a plain background."""
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (*background, 255)), layer).convert("RGB")


def shrink(image: Image.Image, side: int) -> Image.Image:
    """`image` with its longer side at most `side` pixels, aspect ratio kept."""
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def few_colours(image: Image.Image, colours: int) -> Image.Image:
    """`image` with a palette of at most `colours` colours, undithered, so that flat areas stay flat."""
    return image.convert("RGB").quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def grey_levels(image: Image.Image) -> Image.Image:
    """`image` in 16 greys from black to white, as a palette image of 4 bits per pixel."""
    level = image.convert("L").point([round(v / 17) for v in range(256)])
    packed = Image.frombytes("P", level.size, level.tobytes())
    packed.putpalette([v for grey in range(16) for v in (17 * grey,) * 3])
    return packed


def png(image: Image.Image) -> bytes:
    """PNG bytes of `image` (modes L, P or RGB), as small as Pillow makes them."""
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
