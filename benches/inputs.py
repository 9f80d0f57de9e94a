"""What the rows work on, the same at every run: files of records, a class graph, the sizes of the published classes."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import value as crc32c

from benches.rows import Setting
from episodes.known_datasets import KNOWN, stand_in
from episodes.record_index import mask_crc
from episodes.sampling import SplitClasses
from episodes.spec import DatasetSpec
from harness.errors import HarnessError

PAYLOAD_BYTES = 3000
"""About an 84 x 84 JPEG with its label."""


def framed(payload: bytes) -> bytes:
    """A payload as one TFRecord."""
    length = struct.pack("<Q", len(payload))
    return b"".join(
        (length, struct.pack("<I", mask_crc(crc32c(length))), payload, struct.pack("<I", mask_crc(crc32c(payload))))
    )


def record_file(path: Path, records: int) -> Path:
    """A file of `records` records of about 3 KB, no two neighbours of one length."""
    noise = np.random.RandomState(0).bytes(PAYLOAD_BYTES)
    kinds = [framed(noise[: PAYLOAD_BYTES - 7 * i]) for i in range(101)]
    with path.open("wb") as file:
        for i in range(records):
            file.write(kinds[i % len(kinds)])
    return path


def class_files(folder: Path, name: str, counts: Sequence[int]) -> Path:
    """A flat data set of test classes with `counts` empty payloads each: the records of a file without its bytes."""
    (folder / name).mkdir(parents=True)
    spec = {
        "__class__": "DatasetSpecification",
        "name": name,
        "classes_per_split": {"TRAIN": 0, "VALID": 0, "TEST": len(counts)},
        "images_per_class": dict(enumerate(counts)),
        "class_names": {i: str(i) for i in range(len(counts))},
        "file_pattern": "{}.tfrecords",
    }
    (folder / name / "dataset_spec.json").write_text(json.dumps(spec))
    record = framed(b"")
    for class_id, count in enumerate(counts):
        (folder / name / f"{class_id}.tfrecords").write_bytes(record * count)
    return folder / name


def graph_spec(inner: int, leaves: int) -> dict[str, Any]:
    """A hierarchical spec whose TRAIN graph is a random tree of `inner` nodes with `leaves` classes below them."""
    rng = np.random.RandomState(0)
    ids = [f"n{i:08d}" for i in range(inner + leaves)]
    children: dict[str, list[str]] = {wn_id: [] for wn_id in ids}
    for i in range(1, inner):
        children[ids[rng.randint(i // 4, i // 2 + 1) if i > 1 else 0]].append(ids[i])
    childless = [wn_id for wn_id in ids[:inner] if not children[wn_id]]
    for i in range(leaves):
        parent = childless[i] if i < len(childless) else ids[rng.randint(inner)]
        children[parent].append(ids[inner + i])
    parents = {child: wn_id for wn_id, below in children.items() for child in below}
    nodes = [
        {"wn_id": w, "words": "a synset", "children_ids": c, "parents_ids": [parents[w]] if w in parents else []}
        for w, c in children.items()
    ]
    return {
        "__class__": "HierarchicalDatasetSpecification",
        "name": "graph",
        "split_subgraphs": {"TRAIN": nodes},
        "images_per_class": {"TRAIN": dict.fromkeys(ids, 1300)},
        "class_names": dict(enumerate(ids[inner:])),
        "file_pattern": "{}.tfrecords",
    }


def published_specs(setting: Setting) -> tuple[dict[str, DatasetSpec], str]:
    """The test classes of the 13 data sets by name, and a note on where their sizes are from.

    True ones from the file of counts: {"datasets": {name: {"TEST": {"images_per_class", and where the data set has
    them "superclass_sizes", "spanned_leaves"}}}}. Otherwise published totals in equal parts.
    """
    if setting.class_counts is None:
        note = "sizes of classes from the published totals, equal within a split (--class-counts FILE for true ones)"
        return {name: stand_in(known) for name, known in KNOWN.items()}, note
    try:
        counts = json.loads(setting.class_counts.read_bytes())["datasets"]
        return {name: _test_spec(name, counts[name]["TEST"]) for name in KNOWN}, "true sizes of classes"
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{setting.class_counts}: not the class counts of the 13 data sets ({error!r})") from error


def _test_spec(name: str, counts: Mapping[str, Any]) -> DatasetSpec:
    images = np.array(counts["images_per_class"], np.int64)
    sizes, spans = counts.get("superclass_sizes"), counts.get("spanned_leaves")
    return DatasetSpec(
        name=name,
        images_per_class=images,
        class_ids={"train": range(0), "valid": range(0), "test": range(len(images))},
        class_names=tuple(map(str, range(len(images)))),
        superclass_sizes=None if sizes is None else {"test": np.array(sizes)},
        spans=None if spans is None else {"test": spans},
    )


def published_splits(specs: Mapping[str, DatasetSpec]) -> dict[str, SplitClasses]:
    """The test splits of specs, as samplers take them."""
    return {name: spec.split("test") for name, spec in specs.items()}
