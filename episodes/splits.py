"""Which classes are for training, validation and testing: by the official draw, from a file, or all in one split.

The official converter (google-research/meta-dataset, `dataset_conversion/dataset_to_records.py`) draws class positions
after seeding NumPy's global generator with 22. The same draw here gives the published splits of aircraft, cu_birds,
dtd, quickdraw and vgg_flower; those of fungi, omniglot, mscoco and ilsvrc_2012 came about otherwise.
"""

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from episodes.errors import BadSpec

SEED = 22
PUBLISHED_DRAWS = frozenset({"aircraft", "cu_birds", "dtd", "quickdraw", "vgg_flower"})
"""Known data sets whose published splits this draw gives, from their classes in `class_order`."""


class Splits(NamedTuple):
    """Names of the classes of each split, in class-id order, and of those that are in none."""

    train: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The classes of train, valid and test."""
        return self.train, self.valid, self.test


def class_order(names: Iterable[str]) -> list[str]:
    """Names of classes in the order that the official draw goes by: sorted as text, but plain numbers by their value.

    VGG Flower's classes are numbers; its converter pads them to three digits, so that 2 stands before 10 there too.
    """
    names = sorted(names)
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else names


def split_sizes(classes: int) -> tuple[int, int, int]:
    """70 / 15 / 15 percent of a number of classes, rounded as the official converter rounds for QuickDraw.

    Its numbers for aircraft (70, 15, 15), cu_birds (140, 30, 30) and vgg_flower (71, 15, 16) are the same; for dtd
    (33, 7, 7, not 32, 7, 8) and fungi (994, 200, 200, not 975, 209, 210) it has numbers of its own.
    """
    train_and_valid, train = int(0.85 * classes), int(0.7 * classes)
    return train, train_and_valid - train, classes - train_and_valid


def official_split(names: Sequence[str], sizes: Sequence[int] | None = None) -> Splits:
    """Split classes as the official converter does: train in random order, valid and test in the order of `names`.

    `names`: in `class_order`, as there; the draw is of positions. `sizes`: classes for train, valid and test, which sum
    to the number of names (default: `split_sizes`). Raises BadSpec when a name stands twice.
    """
    _once(names, "the source")
    train, valid, test = split_sizes(len(names)) if sizes is None else sizes
    rng = np.random.RandomState(SEED)
    # RandomState.choice(a, n, replace=False) is a[permutation(len(a))[:n]].
    shuffled = rng.permutation(train + valid + test)
    train_and_valid = shuffled[: train + valid]
    chosen = train_and_valid[rng.permutation(train + valid)[:train]]
    parts = chosen, np.setdiff1d(train_and_valid, chosen), np.sort(shuffled[train + valid :])
    return Splits(*(tuple(names[i] for i in part) for part in parts))


def one_split(names: Sequence[str], split: str) -> Splits:
    """All classes in "train", "valid" or "test", in the order given. Raises BadSpec when a name stands twice."""
    _once(names, "the source")
    return Splits(**{split: tuple(names)})


def given_split(file: Path, names: Sequence[str]) -> Splits:
    """The splits that a JSON file states: {"train": [names...], "valid": [...], "test": [...]}, absent means none.

    `names`: the classes there are; those that the file does not name are left out. Raises BadSpec, naming the file,
    when it is no such file, names a class that does not exist, or one class twice.
    """
    _once(names, "the source")
    try:
        raw = msgspec.convert(json.loads(file.read_bytes(), object_pairs_hook=_keys_once), _File)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise BadSpec(f'{file}: {error}; wanted is {{"train": [names...], "valid": [...], "test": [...]}}') from error
    except OSError as error:
        raise BadSpec(f"{file}: cannot be read ({error.strerror})") from error
    chosen, known = [*raw.train, *raw.valid, *raw.test], set(names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        more = f" ({len(unknown)} such names)" if len(unknown) > 1 else ""
        raise BadSpec(f"{file}: no class {unknown[0]!r}{more}.{hint} There are {len(names)} classes, as {names[0]!r}")
    _once(chosen, str(file))
    if not chosen:
        raise BadSpec(f"{file}: names no class")
    left_out = known.difference(chosen)
    parts = raw.train, raw.valid, raw.test, [name for name in names if name in left_out]
    return Splits(*(tuple(part) for part in parts))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    train: list[str] = []
    valid: list[str] = []
    test: list[str] = []


def _once(names: Sequence[str], where: str) -> None:
    twice = _first_duplicate(names)
    if twice is not None:
        raise BadSpec(f"{where}: class {twice!r} stands twice; a class belongs to one split, once")


def _first_duplicate(names: Sequence[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = _first_duplicate([key for key, _ in pairs])
    if twice is not None:
        raise ValueError(f"key {twice!r} stands twice")
    return dict(pairs)
