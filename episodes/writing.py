"""A data set's folder of records, written whole or not at all, and taken up again where a killed build stopped.

Work goes into a hidden neighbour of the folder. A class file takes its name there once it is complete and on the disk;
the neighbour takes the data set's name once everything is.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from episodes.errors import BadSpec, CorruptRecord, MissingSource
from episodes.spec import FILE_PATTERN, SPEC_FILE, load_spec
from episodes.tfrecord import RecordFile, write_records
from results.files import finish_folder, only_writer, sync, unfinished_folder, write_whole

KEY_FILE = ".build-key"
"""Beside the records: the key that they were built with, so that the same build is known to be done."""


class ClassSource(NamedTuple):
    """A class to be written. `images` is called once and streamed: encoded images exactly as they shall be stored."""

    name: str
    images: Callable[[], Iterable[bytes]]


def write_dataset(
    folder: Path,
    classes: Sequence[ClassSource],
    make_spec: Callable[[list[int]], Mapping[str, Any]],
    *,
    key: str,
    advance: Callable[[int], None] = lambda steps: None,
) -> None:
    """Write `<class id>.tfrecords` for every class, in the order given, and `dataset_spec.json`.

    `make_spec`: from images per class to the spec's JSON object. `key`: hex digest of all that decides the content; the
    same key goes on with the finished classes of a build that was killed, and finds a finished data set done. `advance`
    is called with 1 after each class. Of several processes one builds and the others wait for it.
    Raises MissingSource when `folder` holds something else (which stays as it is), when it cannot be written or a
    source cannot be read; BadSpec when spec and images disagree; what `images` raises passes through.
    """
    folder = Path(folder)
    try:
        with only_writer(folder):
            if _is_done(folder, key):
                advance(len(classes))
            else:
                _build(folder, classes, make_spec, key, advance)
    except OSError as error:
        raise MissingSource(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or choose another folder, and "
            "start again: finished classes are kept"
        ) from error


def write_images(folder: Path, spec: Mapping[str, Any], classes: Sequence[Sequence[bytes]]) -> None:
    """`write_dataset` for encoded images that are in memory, class by class, with a finished spec."""
    digest = hashlib.sha256(json.dumps([spec, [list(map(len, images)) for images in classes]]).encode())
    for images in classes:
        for image in images:
            digest.update(image)
    sources = [ClassSource(str(class_id), images.__iter__) for class_id, images in enumerate(classes)]
    write_dataset(folder, sources, lambda counts: spec, key=digest.hexdigest())


def _is_done(folder: Path, key: str) -> bool:
    """Whether this very data set lies there whole. Raises MissingSource when it is something else."""
    if not os.path.lexists(folder):
        return False
    key_file = folder / KEY_FILE
    if not key_file.is_file() or key_file.read_text("ascii", "replace").strip() != key:
        raise MissingSource(
            f"{folder}: is there already, and was not built from these images with these options; it stays as it is. "
            "Choose another name or folder, or delete it"
        )
    classes = len(load_spec(folder).images_per_class)
    lost = next((i for i in range(classes) if not (folder / FILE_PATTERN.format(i)).is_file()), None)
    if lost is not None:
        raise MissingSource(f"{folder / FILE_PATTERN.format(lost)}: missing; delete {folder} to build it again")
    return True


def _build(
    folder: Path,
    classes: Sequence[ClassSource],
    make_spec: Callable[[list[int]], Mapping[str, Any]],
    key: str,
    advance: Callable[[int], None],
) -> None:
    part = unfinished_folder(folder, key)
    finished = {FILE_PATTERN.format(class_id) for class_id in range(len(classes))}
    for path in list(part.iterdir()):
        if path.name not in finished:
            path.unlink()  # half a file, or a spec: what a killed build was writing
    counts = [_finished_class(part, class_id, source, advance) for class_id, source in enumerate(classes)]
    _write_spec(part, folder, make_spec(counts), counts)
    write_whole(part / KEY_FILE, f"{key}\n".encode())
    finish_folder(part, folder)


def _finished_class(part: Path, class_id: int, source: ClassSource, advance: Callable[[int], None]) -> int:
    """Number of records of a class, after writing its file unless a killed build finished it."""
    path = part / FILE_PATTERN.format(class_id)
    count = _count(path) if path.exists() else None
    if count is None:
        unfinished = path.with_name(f"{path.name}.part")
        try:
            write_records(unfinished, ((image, class_id) for image in _read(source)))
            sync(unfinished)
            count = _count(unfinished)
            if count is None:
                raise MissingSource(f"{path}: reads back damaged; the disk or the memory of this machine is unreliable")
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    advance(1)
    return count


def _count(path: Path) -> int | None:
    """Records in a class file; None if it is damaged."""
    try:
        file = RecordFile(path)
    except CorruptRecord:
        return None
    file.close()
    return len(file)


def _read(source: ClassSource) -> Iterator[bytes]:
    """The images of a class, with a source that cannot be read told apart from a disk that is full."""
    try:
        yield from source.images()
    except OSError as error:
        where = error.filename or f"class {source.name!r}"
        raise MissingSource(f"{where}: cannot be read ({error.strerror or error})") from error


def _write_spec(part: Path, folder: Path, spec: Mapping[str, Any], counts: list[int]) -> None:
    write_whole(part / SPEC_FILE, f"{json.dumps(spec, indent=2)}\n".encode())
    stated = load_spec(part).images_per_class.tolist()
    if stated != counts:
        (part / SPEC_FILE).unlink()
        wrong = next((i for i, (a, b) in enumerate(zip(stated, counts, strict=False)) if a != b), len(counts))
        raise BadSpec(f"{folder}: the spec and the images given disagree, first at class {wrong}")
