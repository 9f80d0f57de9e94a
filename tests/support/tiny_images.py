"""Images made on the spot."""

import io

import numpy as np
from PIL import Image


def png(pixels):
    """(H, W) or (H, W, 3) uint8 as PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(out, "PNG")
    return out.getvalue()


def images_of(class_id, count, side=16):
    """`count` distinct PNGs around a colour of their class."""
    rng = np.random.RandomState(class_id)
    colour = rng.randint(0, 200, size=3)
    return [png(np.clip(colour + rng.randint(0, 56, size=(side, side, 3)), 0, 255)) for _ in range(count)]
