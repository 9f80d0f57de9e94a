"""Which classes are for training, validation and testing, and the `dataset_spec.json` that says so."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SEED = 22
SMALLEST = 8  # classes in a valid or test split, so that the number of ways can vary


def split_names(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """About 70 / 15 / 15 percent of the sorted names, by a seeded permutation; each part sorted."""
    shuffled = np.random.RandomState(SEED).permutation(sorted(names)).tolist()
    held_out = max(SMALLEST, round(0.15 * len(names)))
    train, rest = shuffled[: len(shuffled) - 2 * held_out], shuffled[len(shuffled) - 2 * held_out :]
    return sorted(train), sorted(rest[:held_out]), sorted(rest[held_out:])


def flat_spec(name: str, splits: Sequence[Sequence[str]], images: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """The specification of a flat data set: ids follow the order of `splits` (train, valid, test)."""
    ordered = [class_name for split in splits for class_name in split]
    return {
        "name": name,
        "classes_per_split": dict(zip(("TRAIN", "VALID", "TEST"), map(len, splits), strict=True)),
        "images_per_class": {str(i): len(images[class_name]) for i, class_name in enumerate(ordered)},
        "class_names": {str(i): class_name for i, class_name in enumerate(ordered)},
        "path": name,
        "file_pattern": "{}.tfrecords",
        "__class__": "DatasetSpecification",
    }
