"""Which classes of the shipped pocket domains are for training, validation and testing."""

from collections.abc import Sequence

import numpy as np

SEED = 22
SMALLEST = 8  # classes in a valid or test split, so that the number of ways can vary


def split_names(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """About 70 / 15 / 15 percent of the sorted names, by a seeded permutation; each part sorted."""
    shuffled = np.random.RandomState(SEED).permutation(sorted(names)).tolist()
    held_out = max(SMALLEST, round(0.15 * len(names)))
    train, rest = shuffled[: len(shuffled) - 2 * held_out], shuffled[len(shuffled) - 2 * held_out :]
    return sorted(train), sorted(rest[:held_out]), sorted(rest[held_out:])
