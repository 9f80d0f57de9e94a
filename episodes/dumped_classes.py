"""Which classes dumped episodes are made of, worked out from the labels of their records and the images they share.

A dump writes an image anew for every episode that draws it, under a label that holds within that episode only. Labels
of several episodes that share an image stand for one class here, directly or by way of others, so that each distinct
image is one record of one class, as in a data set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from episodes.errors import BadPlan


class Shapes(NamedTuple):
    """What the episodes look like, in the arrays of a `DomainPlan`, and of the same lengths."""

    ways: np.ndarray
    num_query: np.ndarray
    class_ids: np.ndarray
    num_support: np.ndarray
    records: np.ndarray


class Classes(NamedTuple):
    """The distinct images class by class: `places` (n,), each one's first place among the records of the dump, and
    `bounds` (classes + 1,), where each class begins in `places`."""

    places: np.ndarray
    bounds: np.ndarray


def find_classes(
    files: Sequence[Path], sizes: np.ndarray, labels: np.ndarray, firsts: np.ndarray
) -> tuple[Classes, Shapes]:
    """The classes, in order of appearance, and the episodes in terms of them.

    `files`: support and query of each episode in turn, with `sizes` records each. `labels`, `firsts`: of each record,
    its label and the place of the first record with the same image. Raises BadPlan, naming the file, for an episode
    that no plan can hold.
    """
    episodes = len(sizes) // 2
    if not sizes.all():
        raise BadPlan(f"{files[int(np.argmin(sizes))]}: no images; an episode has support and query images")
    episode = np.arange(episodes).repeat(sizes.reshape(-1, 2).sum(axis=1))
    query = np.tile([0, 1], episodes).repeat(sizes)
    order = np.lexsort((labels, episode))  # stable: within a label, support before query and the files' order
    episode, labels, images = episode[order], labels[order], firsts[order]
    begins = np.concatenate([[True], (episode[1:] != episode[:-1]) | (labels[1:] != labels[:-1])])
    starts = np.flatnonzero(begins)
    num_query = np.add.reduceat(query[order], starts)
    num_support = np.diff(np.append(starts, len(order))) - num_query
    ways = np.bincount(episode[begins], minlength=episodes)
    _check_episodes(files, episode[begins], labels[begins], num_support, num_query)
    class_ids = _joined(np.cumsum(begins) - 1, images)
    classes, records = _numbered(class_ids, images)
    first = np.cumsum(ways) - ways
    return classes, Shapes(ways, num_query[first], class_ids[starts], num_support, records)


def _joined(groups: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(n,) the class of each record: `groups` (n,), labels of an episode, that have one of `images` (n,) in common are
    joined. Classes are numbered in the order of their first groups."""
    joined = np.arange(groups[-1] + 1)
    while True:
        before = joined.copy()
        of_image = np.full(images.max() + 1, len(joined))
        np.minimum.at(of_image, images, joined[groups])
        np.minimum.at(joined, groups, of_image[images])
        joined = joined[joined]  # long chains end sooner
        if np.array_equal(joined, before):
            return np.unique(joined, return_inverse=True)[1][groups]


def _numbered(class_ids: np.ndarray, images: np.ndarray) -> tuple[Classes, np.ndarray]:
    """The classes, their images in order of appearance, and (n,) the number of each record's image in its class."""
    distinct, appears, image = np.unique(images, return_index=True, return_inverse=True)
    order = np.lexsort((appears, class_ids[appears]))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(class_ids[appears]))])
    number = np.empty(len(distinct), np.int64)
    number[order] = np.arange(len(distinct)) - bounds[class_ids[appears][order]]
    return Classes(distinct[order], bounds), number[image]


def _check_episodes(
    files: Sequence[Path], episode: np.ndarray, labels: np.ndarray, num_support: np.ndarray, num_query: np.ndarray
) -> None:
    """Raise BadPlan for the first class, in the order of episodes and labels, that no episode can have.

    All (classes,): the episode and the label of each class, and its images in support and query.
    """
    ways = np.bincount(episode)
    first = (np.cumsum(ways) - ways)[episode]
    expected = np.arange(len(labels)) - first
    faults: tuple[tuple[np.ndarray, str], ...] = (
        (num_support == 0, "{query}: label {label} is not among the labels of the support images"),
        (labels != expected, "{support}: labels run from 0 to way - 1, but there is a label {label} and no {expected}"),
        (ways[episode] < 2, "{support}: only one class, so nothing to tell apart"),
        (
            num_query != num_query[first],
            "{query}: label {label} has {count} images, label 0 has {usual}; every class needs as many query images",
        ),
    )
    for wrong, text in faults:
        if wrong.any():
            at = int(np.argmax(wrong))
            support, query = files[2 * episode[at]], files[2 * episode[at] + 1]
            numbers = {"label": labels, "expected": expected, "count": num_query, "usual": num_query[first]}
            raise BadPlan(text.format(support=support, query=query, **{key: n[at] for key, n in numbers.items()}))
