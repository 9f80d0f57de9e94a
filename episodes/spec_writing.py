"""The JSON objects of flat and bilevel specifications, as `episodes.spec` and the official reader take them.

Class ids follow the order of the splits: train, then valid, then test.
"""

from collections.abc import Sequence
from typing import Any

from episodes.spec import FILE_PATTERN, SPLITS


def flat_spec(name: str, splits: Sequence[Sequence[str]], counts: Sequence[int]) -> dict[str, Any]:
    """The specification of a flat data set.

    `splits`: class names for train, valid and test. `counts`: (n_classes,) images per class, in that order.
    """
    names = [class_name for split in splits for class_name in split]
    return {
        "name": name,
        "classes_per_split": _per_split(splits),
        "images_per_class": _numbered(counts),
        "class_names": _numbered(names),
        "path": name,
        "file_pattern": FILE_PATTERN,
        "__class__": "DatasetSpecification",
    }


def bilevel_spec(
    name: str, splits: Sequence[Sequence[tuple[str, Sequence[str]]]], counts: Sequence[int]
) -> dict[str, Any]:
    """The specification of a data set whose classes stand under superclasses, as Omniglot's under alphabets.

    `splits`: for train, valid and test, each superclass's name and the names of its classes. `counts`: (n_classes,)
    images per class, in that order.
    """
    superclasses = [superclass for split in splits for superclass in split]
    return {
        "name": name,
        "superclasses_per_split": _per_split(splits),
        "classes_per_superclass": _numbered([len(class_names) for _, class_names in superclasses]),
        "images_per_class": _numbered(counts),
        "superclass_names": _numbered([superclass for superclass, _ in superclasses]),
        "class_names": _numbered([class_name for _, class_names in superclasses for class_name in class_names]),
        "path": name,
        "file_pattern": FILE_PATTERN,
        "__class__": "BiLevelDatasetSpecification",
    }


def _per_split(splits: Sequence[Sequence[Any]]) -> dict[str, int]:
    return {split.upper(): len(members) for split, members in zip(SPLITS, splits, strict=True)}


def _numbered(values: Sequence[Any]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}
