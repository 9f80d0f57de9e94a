"""Do the records of a class lie as they were filmed, frame after frame, or in random order?

Traffic signs are filmed in tracks of 30 frames: read in that order, without shuffling, frames of one sign come to stand
in support and query alike (google-research/meta-dataset, issue 54).
"""

import random
from collections.abc import Mapping

import numpy as np

TRACK_RATIO = 0.5
"""Neighbours that differ less than this share of what any two images of their class differ lie in track order."""
_PAIRS, _FEWEST_PAIRS = 128, 10
_LEAST_VARIETY = 1.0  # grey levels: a class whose images differ less looks the same in any order


def sample_neighbours(records: int, class_id: int) -> list[int]:
    """Up to 128 record numbers that have a successor, in order; the same ones each time."""
    last = max(records - 1, 0)
    return sorted(random.Random(class_id).sample(range(last), min(last, _PAIRS)))


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (64,) float32: 8 x 8 mean grey levels."""
    from PIL import Image

    grey = Image.fromarray(pixels).convert("L").resize((8, 8), Image.Resampling.BOX)
    return np.asarray(grey, np.float32).ravel()


def neighbour_ratio(firsts: list[int], thumbnails: Mapping[int, np.ndarray]) -> float | None:
    """Mean distance of neighbours over the mean distance of any two of the same images; None where nothing tells.

    About 1 in random order, whatever the images are like; near 0 in tracks. Means, because a median jumps between the
    groups of a class that has two. None: fewer than 10 pairs, or images less than one grey level apart.
    """
    pairs = [(thumbnails[i], thumbnails[i + 1]) for i in firsts if i in thumbnails and i + 1 in thumbnails]
    if len(pairs) < _FEWEST_PAIRS:
        return None
    left, right = (np.stack(side) for side in zip(*pairs, strict=True))
    among = np.sqrt(((left[:, None] - left[None]) ** 2).mean(axis=2)).sum() / (len(left) * (len(left) - 1))
    near = np.sqrt(((left - right) ** 2).mean(axis=1)).mean()
    return float(near / among) if among >= _LEAST_VARIETY else None
