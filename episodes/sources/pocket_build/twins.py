"""Near-duplicate images: found by the correlation of their pixels at 32 x 32."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageOps

CORRELATION = 0.97
SIDE = 32


def signature(image: Image.Image) -> np.ndarray | None:
    """(3072,) float32 of zero mean and unit length, so that a dot product is a correlation; None if blank.

    The image is squashed to 32 x 32 RGB first, as the network's own resize squashes it.
    """
    pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    pixels = pixels - pixels.mean()
    length = float(np.linalg.norm(pixels))
    return pixels / length if length > 1.0 else None


def distinct(images: Sequence[Image.Image], *, mirrored: bool = False) -> list[Image.Image]:
    """The images that are not blank and correlate at most 0.97 with every image kept before them.

    `mirrored`: an image is a twin also if its left-right mirror image is.
    """
    kept: list[Image.Image] = []
    bank = np.empty((len(images), 3 * SIDE * SIDE), np.float32)
    for image in images:
        views = [image, ImageOps.mirror(image)] if mirrored else [image]
        found = [view for view in map(signature, views) if view is not None]
        if found and not any((bank[: len(kept)] @ view > CORRELATION).any() for view in found):
            bank[len(kept)] = found[0]
            kept.append(image)
    return kept


def without_shared(classes: Mapping[str, Sequence[Image.Image]]) -> dict[str, list[Image.Image]]:
    """The classes without any image that stands, equal to the pixel, in two of them: its label is ambiguous."""
    times = Counter(_pixels(image) for images in classes.values() for image in images)
    return {name: [image for image in images if times[_pixels(image)] == 1] for name, images in classes.items()}


def _pixels(image: Image.Image) -> tuple[tuple[int, int], bytes]:
    return image.size, image.convert("RGB").tobytes()
