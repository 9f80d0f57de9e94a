"""Classes of a data set that TensorFlow Datasets has prepared on disk, read without TensorFlow.

One pass reads the labels and keeps the record numbers of each class; images are read class by class afterwards, so the
whole data set is never in memory. Omniglot's classes are grouped by alphabet and stored white on black, as in
Meta-Dataset (Triantafillou et al. 2020, arXiv:1903.03096).
"""

import difflib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import numpy as np

from episodes.conversion import stored_image
from episodes.decode import decode_image
from episodes.errors import BadExample, BadImage, MissingSource
from episodes.sources.tfds_formats import (
    INFO_FILE,
    Shard,
    Shards,
    file_format,
    load_builder,
    split_shards,
    version_folder,
)
from episodes.writing import ClassSource

RECIPE = 1  # raised when the code below changes its output
_OMNIGLOT = {"image", "alphabet", "alphabet_char_id", "label"}
_OMNIGLOT_SPLITS = ("train", "test")  # its small1 and small2 repeat images of train
_CHILD_BITS = 12  # a class's code is its label and the number below it, in 31 bits
_MAX_LABELS = 1 << 31 - _CHILD_BITS


class TfdsClasses(NamedTuple):
    """A data set, ready to be written.

    `classes`: those that have images, in label order. `superclasses`: (name, number of classes) in the order of
    `classes`, where there are any. `key`: hex digest of names and records, the same wherever the data set lies.
    """

    name: str
    classes: Sequence[ClassSource]
    superclasses: Sequence[tuple[str, int]] | None
    key: str


class _Layout(NamedTuple):
    """Which features are read: an image, its ClassLabel with its names, and for Omniglot a number below that label."""

    image: str
    label: str
    names: Sequence[str]
    child: str | None = None


class _Source(NamedTuple):
    shards: Shards
    layout: _Layout
    features: Any  # tfds.features.FeaturesDict


def tfds_classes(directory: Path, splits: Sequence[str] | None = None) -> TfdsClasses:
    """The classes of a prepared classification data set, e.g. `~/tensorflow_datasets/cifar10/3.0.2`.

    `directory`: holds dataset_info.json and features.json, or one folder (version) that does. `splits`: the TFDS splits
    to take, in this order; None takes all (of Omniglot train and test). Images of a class stand in data set order.
    Raises MissingSource when the extra `tfds` is not installed or the data set cannot be used, CorruptRecord for a
    damaged shard, BadExample for a record without a proper label; the images raise BadExample and BadImage.
    """
    folder = version_folder(Path(directory))
    builder = load_builder(folder)
    name, form = _name(folder, builder), file_format(folder, builder.info)
    layout = _layout(folder, builder.info)
    chosen = _chosen_splits(folder, list(builder.info.splits), splits, omniglot=layout.child is not None)
    shards = [shard for split in chosen for shard in split_shards(folder, builder.info.splits[split])]
    source = _Source(Shards(shards, form), layout, builder.info.features)
    codes, checksums = _scan(source)
    if not len(codes):
        raise MissingSource(f"{folder}: no images in {', '.join(map(repr, chosen))}; choose other splits")
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    classes = [
        ClassSource(_class_name(layout, int(code)), partial(_images, source, records))
        for code, records in zip(present, np.split(order, starts[1:]), strict=True)
    ]
    superclasses = _superclasses(layout, present)
    key = _key([name, [each.name for each in classes], superclasses], shards, checksums)
    return TfdsClasses(name, classes, superclasses, key)


def _layout(folder: Path, info: Any) -> _Layout:
    """Find the image and the label. Raises MissingSource, listing the features, when it is unclear which they are."""
    import tensorflow_datasets as tfds

    features = dict(info.features) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    images = [name for name, feature in features.items() if type(feature) is tfds.features.Image]
    labels = [name for name, feature in features.items() if type(feature) is tfds.features.ClassLabel]
    if set(features) == _OMNIGLOT and images == ["image"] and {"alphabet", "label"} == set(labels):
        return _Layout("image", "alphabet", _names(folder, features, "alphabet"), child="alphabet_char_id")
    pair = tuple(info.supervised_keys or ())
    if len(pair) == 2 and pair[0] in images and pair[1] in labels:
        images, labels = [pair[0]], [pair[1]]
    if len(images) != 1 or len(labels) != 1:
        kinds = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in sorted(features.items()))
        raise MissingSource(
            f"{folder}: it takes one Image and one ClassLabel feature, or a pair of them as supervised_keys; "
            f"this data set has {kinds or type(info.features).__name__}"
        )
    image = features[images[0]]
    if image.np_dtype != np.uint8:
        raise MissingSource(f"{folder}: image feature {images[0]!r} holds {image.np_dtype}; only uint8 images are read")
    return _Layout(images[0], labels[0], _names(folder, features, labels[0]))


def _names(folder: Path, features: dict[str, Any], label: str) -> Sequence[str]:
    count = features[label].num_classes or 0
    if not 0 < count < _MAX_LABELS:  # before TFDS makes a name for each
        raise MissingSource(
            f"{folder / 'features.json'}: {label!r} has {count} classes; 1 to {_MAX_LABELS - 1} are read"
        )
    return features[label].names


def _chosen_splits(folder: Path, known: list[str], asked: Sequence[str] | None, *, omniglot: bool) -> Sequence[str]:
    chosen = asked or [split for split in known if not omniglot or split in _OMNIGLOT_SPLITS]
    for position, split in enumerate(chosen):
        if split not in known:
            close = difflib.get_close_matches(split, known, 1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise MissingSource(f"{folder}: no split {split!r}. {hint}Known: {', '.join(known) or 'none'}")
        if split in chosen[:position]:
            raise MissingSource(f"{folder}: split {split!r} is named twice; its images can be taken once only")
    return chosen


def _name(folder: Path, builder: Any) -> str:
    """The data set's name and, where it is one of several, its configuration's; fit to be a folder's name."""
    config = builder.builder_config.name.replace("/", "-") if builder.builder_config else ""
    name = f"{builder.name}-{config}" if config else builder.name
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise MissingSource(f"{folder / INFO_FILE}: {name!r} cannot be the name of a data set; correct it there")
    return name


def _scan(source: _Source) -> tuple[np.ndarray, list[int]]:
    """The class code of every record, (n,) int32, and the checksum of the payloads of every shard: the one pass."""
    import tensorflow_datasets as tfds

    layout = source.layout
    wanted = [layout.label] if layout.child is None else [layout.label, layout.child]
    features = tfds.features.FeaturesDict({name: source.features[name] for name in wanted})
    codes, checksums = [np.empty(0, np.int32)], []
    for number, shard in enumerate(source.shards.shards):
        file = source.shards.file(number)
        found, checksum = np.empty(shard.records, np.int32), 0
        for record in range(shard.records):
            payload = file[record]
            checksum = google_crc32c.extend(checksum, payload)
            found[record] = _code(layout, _parse(features, payload, shard, record), shard, record)
        codes.append(found)
        checksums.append(checksum)
    return np.concatenate(codes), checksums


def _parse(features: Any, payload: bytes, shard: Shard, record: int, **options: Any) -> dict[str, Any]:
    """The features of one record. Raises BadExample, naming shard and record, when they are not all there."""
    try:
        example = features.deserialize_example_np(payload, **options)
    except Exception as error:  # anything can be raised on a payload that is no Example, or another data set's
        reason = " ".join(str(error).split())
        raise BadExample(f"{shard.path}: record {record}: {reason or type(error).__name__}") from error
    missing = next((name for name, value in example.items() if value is None), None)
    if missing is not None:
        raise BadExample(f"{shard.path}: record {record}: no feature {missing!r}, which features.json promises")
    return example


def _code(layout: _Layout, example: dict[str, Any], shard: Shard, record: int) -> int:
    """One number per class, in class order: the label, and below it the number within the label."""
    label = int(example[layout.label])
    if label == -1:
        raise MissingSource(
            f"{shard.path}: record {record} has no label (-1), as test splits often do; take other splits than "
            f"{shard.split!r}"
        )
    child = 0 if layout.child is None else int(example[layout.child])
    if not (0 <= label < len(layout.names) and 0 <= child < 1 << _CHILD_BITS):
        where = f"{shard.path}: record {record}"
        raise BadExample(f"{where}: label {label}, number {child}; features.json has {len(layout.names)} labels")
    return label << _CHILD_BITS | child


def _class_name(layout: _Layout, code: int) -> str:
    """The label's name; for Omniglot alphabet and character as the official converter names them, counted from 1."""
    name = layout.names[code >> _CHILD_BITS]
    return name if layout.child is None else f"{name}-character{code % (1 << _CHILD_BITS) + 1:02d}"


def _superclasses(layout: _Layout, codes: np.ndarray) -> list[tuple[str, int]] | None:
    if layout.child is None:
        return None
    labels, sizes = np.unique(codes >> _CHILD_BITS, return_counts=True)
    return [(layout.names[label], int(size)) for label, size in zip(labels, sizes, strict=True)]


def _key(content: list[Any], shards: Sequence[Shard], checksums: Sequence[int]) -> str:
    files = [(shard.split, shard.path.name, shard.records, c) for shard, c in zip(shards, checksums, strict=True)]
    return hashlib.sha256(json.dumps([RECIPE, *content, files]).encode()).hexdigest()


def _images(source: _Source, records: np.ndarray) -> Iterator[bytes]:
    """The images of these records as they shall be stored."""
    import tensorflow_datasets as tfds

    image = source.layout.image
    features = tfds.features.FeaturesDict({image: source.features[image]})
    decoders = {image: tfds.decode.SkipDecoding()}
    convert: Callable[[bytes], bytes] = stored_image if source.layout.child is None else _stored_white_on_black
    for number in records.tolist():
        shard, record = source.shards.locate(number)
        where = source.shards.shards[shard]
        data = _parse(features, source.shards.file(shard)[record], where, record, decoders=decoders)[image]
        try:
            yield convert(data)
        except BadImage as error:
            raise BadImage(f"{where.path}: record {record}: {error}") from error


def _stored_white_on_black(data: bytes) -> bytes:
    """An Omniglot drawing as Meta-Dataset stores it. TFDS keeps the original files, which are black on white.

    Looked at rather than assumed: ink covers the smaller part of a drawing, so light ones are inverted.
    """
    from PIL import Image

    pixels = decode_image(data)
    brightness = pixels.mean() / 255
    if 1 / 3 < brightness < 2 / 3:
        raise BadImage(f"neither dark on light nor light on dark: {brightness:.0%} of the drawing is light")
    lossless = io.BytesIO()
    Image.fromarray(255 - pixels if brightness > 0.5 else pixels).save(lossless, "PNG")
    return stored_image(lossless.getvalue())
