"""The thirteen data sets of the published benchmark by name: what they hold, where from, and who may use them.

The facts lie in `known_datasets.toml`; here they become frozen values.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec
import numpy as np

from episodes.sampling import MAX_SPANNED_LEAVES, EpisodeConfig
from episodes.spec import SPLITS, DatasetSpec

_FACTS = Path(__file__).with_suffix(".toml")


class KnownDataset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One data set as published (Triantafillou et al. 2020; Requeima et al. 2019 for the last three).

    `aliases`: other spellings of its name. `same_classes`: data sets made of its classes and images, split otherwise.
    `classes`, `images`: per "train", "valid" and "test". `superclasses`: likewise, Omniglot's alphabets.
    `eligible_nodes`: per split (number, fewest leaves, most leaves) of the nodes that ImageNet's episodes start from.
    `test_images_per_class`: (smallest, largest). `seen_in`: the settings that train on its train classes, "mdl" (eight
    domains) and "sdl" (ImageNet alone). `ontology`: what classes are, in one line.
    """

    name: str
    aliases: tuple[str, ...] = ()
    same_classes: tuple[str, ...] = ()
    display: str
    kind: Literal["flat", "bilevel", "dag"]
    classes: dict[str, int]
    images: dict[str, int]
    superclasses: dict[str, int] | None = None
    eligible_nodes: dict[str, tuple[int, int, int]] | None = None
    test_images_per_class: tuple[int, int]
    seen_in: tuple[Literal["mdl", "sdl"], ...]
    licence: str
    citation: str
    homepage: str
    ontology: str


def _load() -> Mapping[str, KnownDataset]:
    facts = tomllib.loads(_FACTS.read_text(encoding="utf-8"))["datasets"]
    return MappingProxyType({known.name: known for known in msgspec.convert(facts, list[KnownDataset])})


KNOWN: Mapping[str, KnownDataset] = _load()
"""The data sets by the name of their folder, in the order of the published tables."""


def of_same_classes(name: str) -> frozenset[str]:
    """The other data sets whose splits hold classes of this one; none for most names."""
    groups = (frozenset({known.name, *known.same_classes}) for known in KNOWN.values())
    return next((group - {name} for group in groups if name in group), frozenset())


def nearest_name(name: str, others: Iterable[str] = ()) -> str | None:
    """The known data set, or one of `others`, that a misspelt or foreign name seems to mean; None if none is near."""
    meant = {spelling: known.name for known in KNOWN.values() for spelling in (known.name, *known.aliases)}
    meant |= {other: other for other in others}
    spelt = name.lower().replace("-", "_").replace(" ", "_")
    near = difflib.get_close_matches(spelt, meant, n=1, cutoff=0.75)
    return meant[near[0]] if near else None


def unlike_published(spec: DatasetSpec, known: KnownDataset) -> list[str]:
    """In words, each way in which a spec differs from the data set as published; empty when it does not."""
    here, published = _facts(spec), _published_facts(known)
    return [
        f"{fact}: {_shown(here.get(fact))} here, {_shown(value)} as published"
        for fact, value in published.items()
        if here.get(fact) != value
    ]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " / ".join(f"{number:,}" for number in value)
    return f"{value:,}" if isinstance(value, int) else str(value or "none")


def _published_facts(known: KnownDataset) -> dict[str, object]:
    facts: dict[str, object] = {"kind": known.kind, "images per test class, fewest / most": known.test_images_per_class}
    for split in SPLITS:
        facts |= {f"{split} classes": known.classes[split], f"{split} images": known.images[split]}
        if known.superclasses is not None:
            facts[f"{split} superclasses"] = known.superclasses[split]
        if known.eligible_nodes is not None:
            facts[f"{split} nodes: number / fewest / most leaves"] = known.eligible_nodes[split]
    return facts


def _facts(spec: DatasetSpec) -> dict[str, object]:
    """The same facts, from a spec."""
    test = spec.split("test").images_per_class
    facts: dict[str, object] = {
        "kind": "dag" if spec.spans is not None else "flat" if spec.superclass_sizes is None else "bilevel",
        "images per test class, fewest / most": (int(test.min()), int(test.max())) if len(test) else None,
    }
    fewest = EpisodeConfig().min_ways
    for split in SPLITS:
        classes = spec.split(split)
        images = classes.images_per_class
        facts |= {f"{split} classes": len(images), f"{split} images": int(images.sum())}
        if classes.superclass_sizes is not None:
            facts[f"{split} superclasses"] = len(classes.superclass_sizes)
        spans = [n for n in map(len, classes.spanned_leaves or ()) if fewest <= n <= MAX_SPANNED_LEAVES]
        if spans:
            facts[f"{split} nodes: number / fewest / most leaves"] = (len(spans), min(spans), max(spans))
    return facts


def stand_in(known: KnownDataset) -> DatasetSpec:
    """A spec with a data set's published totals: classes of equal size in each split, superclasses likewise.

    ImageNet's nodes span from the published most to the published fewest leaves, over neighbouring classes that start
    all over the split.
    """
    numbers = [known.classes[split] for split in SPLITS]
    images = [_parts(known.images[split], known.classes[split]) for split in SPLITS]
    ids = {split: range(stop - n, stop) for split, stop, n in zip(SPLITS, accumulate(numbers), numbers, strict=True)}
    superclasses, nodes = known.superclasses, known.eligible_nodes
    return DatasetSpec(
        name=known.name,
        images_per_class=np.concatenate(images),
        class_ids=ids,
        class_names=tuple(map(str, range(sum(numbers)))),
        superclass_sizes={s: _parts(known.classes[s], superclasses[s]) for s in SPLITS} if superclasses else None,
        spans={s: _spans(known.classes[s], *nodes[s]) for s in SPLITS} if nodes else None,
    )


def _parts(total: int, parts: int) -> np.ndarray:
    """`total` in that many parts that differ by one at most, (parts,) int64."""
    return np.diff(np.arange(parts + 1, dtype=np.int64) * total // max(parts, 1))


def _spans(classes: int, nodes: int, fewest: int, most: int) -> list[list[int]]:
    """Sizes fall with a power of their rank, as those of a taxonomy's nodes do: many small ones, few large ones."""
    fall = np.log(most / fewest) / np.log(nodes)
    sizes = (most * np.arange(1, nodes + 1) ** -fall).round().astype(np.int64)
    starts = np.arange(nodes) * classes // nodes
    return [sorted(((start + np.arange(size)) % classes).tolist()) for start, size in zip(starts, sizes, strict=True)]
