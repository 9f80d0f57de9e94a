"""Fashion-MNIST from Debian's `dataset-fashion-mnist`: ten kinds of clothing, 28 x 28 greys, white on black.

Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
"""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from episodes.sources.pocket_build.fetch import fetch_debian

NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CANDIDATES = 120  # of each class; 100 of them are kept after twins are removed


def collect(work: Path) -> dict[str, list[Image.Image]]:
    """The first images of each class of the training half, in file order."""
    folder = fetch_debian("dataset-fashion-mnist", work) / "usr/share/datasets/fashion-mnist"
    labels = np.frombuffer(gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    return {
        name: [Image.fromarray(image) for image in pixels[labels == label][:CANDIDATES]]
        for label, name in enumerate(NAMES)
    }
