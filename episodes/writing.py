"""A data set's folder of records, written whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from episodes.errors import BadSpec
from episodes.spec import SPEC_FILE, load_spec
from episodes.tfrecord import write_records


def write_dataset(folder: Path, spec: Mapping[str, Any], classes: Iterable[Sequence[bytes]]) -> None:
    """Write `<class id>.tfrecords` for every class, in class-id order, and `dataset_spec.json` last.

    `spec`: the JSON object of one of the three kinds (`episodes.spec`). `classes`: encoded images, class by class.
    Everything is made in a temporary neighbour of `folder`, checked against the spec, and renamed into place, so a
    killed run leaves nothing that reads as complete. Where another process was faster, its folder stays.
    Raises BadSpec when spec and images disagree, FileExistsError when `folder` holds something else.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", suffix=".part", dir=folder.parent))
    try:
        counts = []
        for class_id, images in enumerate(classes):
            write_records(part / f"{class_id}.tfrecords", ((image, class_id) for image in images))
            counts.append(len(images))
        (part / SPEC_FILE).write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
        stated = load_spec(part).images_per_class.tolist()
        if stated != counts:
            wrong = next((i for i, (a, b) in enumerate(zip(stated, counts, strict=False)) if a != b), len(counts))
            raise BadSpec(f"{folder}: the spec and the images given disagree, first at class {wrong}")
        part.chmod(0o755)
        _sync_folder(part)
        _move_into_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move_into_place(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        if not (folder / SPEC_FILE).is_file():
            raise


def _sync_folder(folder: Path) -> None:
    """Force the folder's files to the disk before the rename makes them visible."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
