"""The textbook forms of the work of `episodes/`, which the bench measures us against.

The sampler follows the released code of Meta-Dataset (google-research/meta-dataset, `data/sampling.py`) in the plainest
NumPy; it draws the same episodes as ours, and the tests hold both to that.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from google_crc32c import value as crc32c

from episodes.record_index import mask_crc
from episodes.sampling import EpisodeConfig, SplitClasses

Description = tuple[np.ndarray, np.ndarray, int]
"""Class ids relative to the split, (k,); support images of each, (k,); query images of every class."""


def walk_records(file: IO[bytes]) -> list[tuple[int, int]]:
    """(start, payload bytes) of every record, the checksum of each length verified."""
    records = []
    position = 0
    while header := file.read(12):
        length, length_crc = struct.unpack("<QI", header)
        if mask_crc(crc32c(header[:8])) != length_crc:
            raise ValueError(f"corrupt length at byte {position}")
        records.append((position, length))
        position += length + 16
        file.seek(position)
    return records


def read_record(file: IO[bytes], start: int) -> bytes:
    """The payload of the record at `start`, both checksums verified."""
    file.seek(start)
    header = file.read(12)
    length, length_crc = struct.unpack("<QI", header)
    if mask_crc(crc32c(header[:8])) != length_crc:
        raise ValueError(f"corrupt length at byte {start}")
    payload = file.read(length)
    (payload_crc,) = struct.unpack("<I", file.read(4))
    if mask_crc(crc32c(payload)) != payload_crc:
        raise ValueError(f"corrupt payload at byte {start}")
    return payload


def load_index(file: Path, records: Path) -> str:
    """The fingerprint of a class file by its `.npz` index (stamp, lengths, crcs), if it is still that file's."""
    status = records.stat()
    with np.load(file) as arrays:
        if arrays["stamp"].tolist() != [status.st_size, status.st_mtime_ns]:
            raise ValueError(f"{file} is stale")
        digest = hashlib.sha256(arrays["lengths"].tobytes())
        digest.update(arrays["crcs"].tobytes())
    return digest.hexdigest()


def spanned_leaves(spec_file: Path, split: str) -> list[list[int]]:
    """What every inner node of a hierarchical spec's split spans, each node on its own."""
    nodes = {n["wn_id"]: n["children_ids"] for n in json.loads(spec_file.read_text())["split_subgraphs"][split]}
    position = {wn_id: i for i, wn_id in enumerate(sorted(w for w, children in nodes.items() if not children))}

    def below(wn_id: str) -> set[int]:
        children = nodes[wn_id]
        return set().union(*map(below, children)) if children else {position[wn_id]}

    return [sorted(below(wn_id)) for wn_id in sorted(nodes) if nodes[wn_id]]


def descriptions(classes: SplitClasses, config: EpisodeConfig, rng: np.random.RandomState) -> Iterator[Description]:
    """Episodes of variable way and shot without end; of `config` the bounds are used."""
    counts = np.asarray(classes.images_per_class)
    spans = [s for s in classes.spanned_leaves or () if config.min_ways <= len(s) <= 392]
    while True:
        ids = np.asarray(_choose_classes(classes, spans, config, rng))
        images = counts[ids]
        num_query = int(min(config.max_num_query, np.floor(images / 2).min()))
        remaining = images - num_query
        beta = rng.uniform()
        contributions = np.floor(beta * np.minimum(config.max_support_per_class, remaining) + 1)
        size = min(np.sum(contributions), config.max_support_size)
        weights = images * np.exp(rng.uniform(config.min_log_weight, config.max_log_weight, size=len(ids)))
        shots = np.floor(weights / np.sum(weights) * (size - len(ids))).astype(np.int64) + 1
        yield ids, np.minimum(shots, remaining), num_query


def _choose_classes(
    classes: SplitClasses, spans: Sequence[Sequence[int]], config: EpisodeConfig, rng: np.random.RandomState
) -> Any:
    def way(available: int) -> int:
        return rng.choice(np.arange(config.min_ways, min(config.max_ways, available) + 1))

    if spans:
        rng.choice([True, False], p=[1.0, 0.0])
        leaves = spans[rng.randint(len(spans))]
        return leaves if len(leaves) <= config.max_ways else rng.choice(leaves, config.max_ways, replace=False)
    if classes.superclass_sizes is not None:
        rng.choice([True, False], p=[1.0, 0.0])
        sizes = np.asarray(classes.superclass_sizes)
        superclass = rng.choice(np.arange(len(sizes)), size=1)[0]
        size = int(sizes[superclass])
        return rng.choice(size, way(size), replace=False) + int(np.sum(sizes[:superclass]))
    available = len(classes.images_per_class)
    return rng.choice(available, way(available), replace=False)


def plan(splits: Mapping[str, SplitClasses], tasks: int, seed: int) -> dict[str, list[list[tuple[int, int]]]]:
    """Per data set its episodes, each a list of (class, record): every class is read in a shuffled order, epoch by
    epoch, as the official reader does with a shuffle buffer as large as the class."""
    rng = np.random.RandomState(seed)
    episodes = {}
    for name, classes in splits.items():
        stream = descriptions(classes, EpisodeConfig(), rng)
        epochs: dict[int, list[int]] = {}
        episodes[name] = [_draw(next(stream), classes.images_per_class, epochs, rng) for _ in range(tasks)]
    return episodes


def _draw(
    description: Description, counts: np.ndarray, epochs: dict[int, list[int]], rng: np.random.RandomState
) -> list[tuple[int, int]]:
    ids, shots, num_query = description
    drawn = []
    for class_id, number in zip(ids.tolist(), (shots + num_query).tolist(), strict=True):
        if len(epochs.get(class_id, ())) < number:
            epochs[class_id] = rng.permutation(counts[class_id]).tolist()
        epoch = epochs[class_id]
        drawn += [(class_id, record) for record in epoch[-number:]]
        del epoch[-number:]
    return drawn
