"""Near-duplicate images: found by the correlation of their pixels at 32 x 32."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

CORRELATION = 0.97
SIDE = 32


class Distinct(NamedTuple):
    """What is left of a domain: `classes` by name, and how many images went for which reason."""

    classes: dict[str, list[Image.Image]]
    blank: int
    twins: int
    shared: int


def signature(image: Image.Image) -> np.ndarray | None:
    """(3072,) float32 of zero mean and unit length, so that a dot product is a correlation; None if blank.

    The image is squashed to 32 x 32 RGB first, as the network's own resize squashes it.
    """
    pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    pixels = pixels - pixels.mean()
    length = float(np.linalg.norm(pixels))
    return pixels / length if length > 1.0 else None


def first_of_twins(images: Sequence[Image.Image], *, mirrored: bool = False) -> tuple[list[int], int]:
    """Indices of the images that correlate at most 0.97 with every image kept before them, and the number of blanks.

    `mirrored`: an image is a twin also if its left-right mirror image is.
    """
    kept: list[int] = []
    bank = np.empty((len(images), 3 * SIDE * SIDE), np.float32)
    blank = 0
    for i, image in enumerate(images):
        views = [image, ImageOps.mirror(image)] if mirrored else [image]
        found = [signature(view) for view in views]
        if found[0] is None:
            blank += 1
            continue
        against = bank[: len(kept)]
        if not any(view is not None and (against @ view > CORRELATION).any() for view in found):
            bank[len(kept)] = found[0]
            kept.append(i)
    return kept, blank


def remove_twins(classes: Mapping[str, Sequence[Image.Image]], *, mirrored: bool = False) -> Distinct:
    """Drops blank images, twins within a class, and images that two classes share to the last pixel (from both)."""
    left: dict[str, list[Image.Image]] = {}
    blank = twins = 0
    for name, images in classes.items():
        kept, blanks = first_of_twins(images, mirrored=mirrored)
        blank += blanks
        twins += len(images) - len(kept) - blanks
        left[name] = [images[i] for i in kept]
    seen = Counter(_pixels(image) for images in left.values() for image in images)
    distinct = {name: [i for i in images if seen[_pixels(i)] == 1] for name, images in left.items()}
    shared = sum(map(len, left.values())) - sum(map(len, distinct.values()))
    return Distinct(distinct, blank, twins, shared)


def _pixels(image: Image.Image) -> tuple[tuple[int, int], bytes]:
    return image.size, image.convert("RGB").tobytes()
