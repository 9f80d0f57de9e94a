"""`dataset_spec.json`, of any of its three kinds, as one frozen and validated object.

Flat data sets list classes per split; bilevel ones (Omniglot) list superclasses per split and classes per superclass;
hierarchical ones (ImageNet) give a graph per split whose leaves are the classes. Class ids run train, valid, test.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from episodes.class_graph import Node, leaves, spanned_leaves
from episodes.errors import BadSpec
from episodes.record_index import FRAME_BYTES
from episodes.sampling import SplitClasses

SPEC_FILE = "dataset_spec.json"
FILE_PATTERN = "{}.tfrecords"
SPLITS = ("train", "valid", "test")
_MAX_SPEC_BYTES = 2**25
"""A spec of ImageNet's size, the largest of the benchmark, is smaller than one of these 32 MiB."""

_MAX_REASON = 300
"""Characters of an error's text, which may quote the file."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**28)]
ClassId = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class _Flat(msgspec.Struct, tag_field="__class__", tag="DatasetSpecification", frozen=True):
    name: str
    classes_per_split: dict[str, Count]
    images_per_class: dict[ClassId, Count]
    class_names: dict[ClassId, str]
    file_pattern: str = FILE_PATTERN


class _Bilevel(msgspec.Struct, tag_field="__class__", tag="BiLevelDatasetSpecification", frozen=True):
    name: str
    superclasses_per_split: dict[str, Count]
    classes_per_superclass: dict[ClassId, Count]
    images_per_class: dict[ClassId, Count]
    class_names: dict[ClassId, str]
    superclass_names: dict[ClassId, str] = {}
    file_pattern: str = FILE_PATTERN


class _Hierarchical(msgspec.Struct, tag_field="__class__", tag="HierarchicalDatasetSpecification", frozen=True):
    name: str
    split_subgraphs: dict[str, list[Node]]
    images_per_class: dict[str, dict[str, Count]]
    class_names: dict[ClassId, str]
    file_pattern: str = FILE_PATTERN


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set's classes. Arrays are read-only; class ids are absolute (train, then valid, then test).

    `images_per_class`: (n_classes,) int64. `class_ids`: per split the range of its ids. `superclass_sizes`: per split
    the classes under each superclass (bilevel). `spans`: per split, for every inner node of the class graph, the sorted
    ids, relative to the split, of the classes below it (hierarchical). `digest`: hash of all of it but the names.
    """

    name: str
    images_per_class: np.ndarray
    class_ids: Mapping[str, range]
    class_names: tuple[str, ...]
    superclass_sizes: Mapping[str, np.ndarray] | None = None
    spans: Mapping[str, list[list[int]]] | None = None
    digest: str = ""

    def split(self, split: str) -> SplitClasses:
        """The classes of "train", "valid" or "test", as the sampler takes them."""
        ids = self.class_ids[split]
        return SplitClasses(
            images_per_class=self.images_per_class[ids.start : ids.stop],
            superclass_sizes=self.superclass_sizes[split] if self.superclass_sizes else None,
            spanned_leaves=self.spans[split] if self.spans else None,
        )


def load_spec(folder: Path) -> DatasetSpec:
    """Read `folder/dataset_spec.json`. Raises BadSpec, naming the file and the key, for anything out of order."""
    file = own_file(Path(folder), SPEC_FILE)
    if not file.is_file():
        raise BadSpec(_missing(Path(folder)))
    try:
        if file.stat().st_size > _MAX_SPEC_BYTES:
            raise ValueError(f"larger than {_MAX_SPEC_BYTES >> 20} MiB; that is no spec of a data set")
        text = file.read_bytes().decode("utf-8-sig")
        data = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
        return _resolve(msgspec.convert(data, _Flat | _Bilevel | _Hierarchical, str_keys=True))
    except RecursionError as error:
        raise BadSpec(f"{file}: nested too deeply") from error
    except ValueError as error:  # bad JSON, bad UTF-8 and msgspec.ValidationError are all of them
        raise BadSpec(f"{file}: {str(error)[:_MAX_REASON]}") from error
    except OSError as error:
        raise BadSpec(f"{file}: cannot be read ({error.strerror})") from error


def check_class_files(folder: Path, spec: DatasetSpec, split: str) -> None:
    """Raise BadSpec, naming the file, for a class file of `split` that is too small to hold as many records as the spec
    says: so much work and memory may hang on that number. Files that are missing are not missed here."""
    for class_id in spec.class_ids[split]:
        path, records = own_file(folder, FILE_PATTERN.format(class_id)), int(spec.images_per_class[class_id])
        if path.is_file() and path.stat().st_size < records * FRAME_BYTES:
            raise BadSpec(f"{path}: too small for the {records} records that the spec says class {class_id} has")


def own_file(folder: Path, name: str) -> Path:
    """`folder / name`, which need not exist. Raises BadSpec for a link that leads out of the folder (itself resolved).

    Nothing is opened: records from elsewhere must not be able to make us read other files of the user's.
    """
    path = folder / name
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise BadSpec(f"{path}: a link to {os.path.realpath(path)}, out of the data set's folder; put the file there")
    return path


def _missing(folder: Path) -> str:
    pickled = folder / "dataset_spec.pkl"
    if pickled.exists():
        return (
            f"{pickled}: pickled specs are not read, since a pickle can run any code. Write {SPEC_FILE} from it in the "
            f"environment that made it: load the spec with the Meta-Dataset package and dump its fields as JSON"
        )
    if not folder.is_dir():
        return f"{folder}: no such folder of records"
    return f"{folder / SPEC_FILE}: missing; a data set's folder holds <class id>.tfrecords and {SPEC_FILE}"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if "-0" in result:  # as a class id it would be a second 0
        raise ValueError("key '-0' is no class id")
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"key {key[:60]!r} stands twice")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a count")


def _resolve(raw: _Flat | _Bilevel | _Hierarchical) -> DatasetSpec:
    if raw.file_pattern != FILE_PATTERN:
        raise ValueError(
            f"file_pattern is {raw.file_pattern[:60]!r}; only {FILE_PATTERN!r} is supported "
            f"(one file per class, no pools)"
        )
    superclass_sizes = spans = None
    if isinstance(raw, _Flat):
        per_split = _per_split(raw.classes_per_split, "classes_per_split")
        counts = _dense(raw.images_per_class, "images_per_class")
    elif isinstance(raw, _Bilevel):
        superclass_sizes = _superclass_sizes(raw)
        per_split = [int(superclass_sizes[split].sum()) for split in SPLITS]
        counts = _dense(raw.images_per_class, "images_per_class")
    else:
        per_split, counts, spans = _graph_classes(raw)
    names = _dense(raw.class_names, "class_names")
    if not sum(per_split) == len(counts) == len(names):
        raise ValueError(
            f"the splits have {sum(per_split)} classes, but images_per_class has {len(counts)} "
            f"and class_names {len(names)}"
        )
    "".join([raw.name, *names]).encode()  # JSON's escapes can spell half a character, which nothing could print
    images = np.array(counts, dtype=np.int64)
    images.setflags(write=False)
    stops = list(accumulate(per_split))
    ids = {split: range(stop - n, stop) for split, stop, n in zip(SPLITS, stops, per_split, strict=True)}
    sizes = None if superclass_sizes is None else {split: superclass_sizes[split].tolist() for split in SPLITS}
    content = json.dumps([raw.name, per_split, counts, sizes, spans], separators=(",", ":"))
    digest = hashlib.sha256(content.encode()).hexdigest()
    return DatasetSpec(raw.name, images, ids, tuple(names), superclass_sizes, spans, digest)


def _per_split(counts: Mapping[str, int], key: str) -> list[int]:
    unknown = set(counts) - {split.upper() for split in SPLITS}
    if unknown:
        raise ValueError(f"{key} names the unknown split {min(unknown)[:60]!r}; known: TRAIN, VALID, TEST")
    return [counts.get(split.upper(), 0) for split in SPLITS]


def _dense(values: Mapping[int, Any], key: str) -> list[Any]:
    """The values of ids 0..n-1 in order."""
    if values and max(values) != len(values) - 1:
        missing = next(i for i in range(len(values)) if i not in values)
        raise ValueError(f"{key} has {len(values)} entries, but none for id {missing}")
    return [values[i] for i in range(len(values))]


def _superclass_sizes(raw: _Bilevel) -> dict[str, np.ndarray]:
    sizes = np.array(_dense(raw.classes_per_superclass, "classes_per_superclass"), dtype=np.int64)
    per_split = _per_split(raw.superclasses_per_split, "superclasses_per_split")
    if sum(per_split) != len(sizes):
        raise ValueError(f"superclasses_per_split has {sum(per_split)}, classes_per_superclass {len(sizes)}")
    stops = accumulate(per_split)
    return {split: sizes[stop - n : stop] for split, stop, n in zip(SPLITS, stops, per_split, strict=True)}


def _graph_classes(raw: _Hierarchical) -> tuple[list[int], list[int], dict[str, list[list[int]]]]:
    """Classes per split, images per class and spans of a class graph; a class's id follows from `class_names`."""
    id_of = {wn_id: class_id for class_id, wn_id in raw.class_names.items()}
    per_split: list[int] = []
    counts: list[int] = []
    spans: dict[str, list[list[int]]] = {}
    for split in SPLITS:
        nodes = raw.split_subgraphs.get(split.upper(), [])
        names = leaves(nodes)
        first = len(counts)
        for position, wn_id in enumerate(names):
            if id_of.get(wn_id) != first + position:
                raise ValueError(f"class_names: leaf {wn_id!r} of {split.upper()} should have id {first + position}")
        images = raw.images_per_class.get(split.upper(), {})
        missing = next((wn_id for wn_id in names if wn_id not in images), None)
        if missing is not None:
            raise ValueError(f"images_per_class: {split.upper()} has no count for leaf {missing!r}")
        per_split.append(len(names))
        counts += [images[wn_id] for wn_id in names]
        spans[split] = spanned_leaves(nodes)
    return per_split, counts, spans
