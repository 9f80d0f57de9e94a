"""What lies in a folder of embedding stores, for those who list it or clean it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from backbones.blocks import SUFFIX, DamagedBlock, read_block
from backbones.embeddings import ABOUT, WRITER, StoreFacts
from results.files import files_under, size_of

_KEY = re.compile("[0-9a-f]{64}")


class StoreSurvey(NamedTuple):
    """One store. `facts`: None where its store.json is missing, damaged or another store's: then all files of it are
    stray. `images`: vectors in its sound blocks; `damaged`, `stray`: files that can go (a run makes them again)."""

    folder: Path
    facts: StoreFacts | None
    images: int
    bytes: int
    damaged: list[Path]
    stray: list[Path]


def stores(root: Path) -> Iterator[Path]:
    """The folder of each store under `root`; folders that are not named like one are left out."""
    for folder in sorted(root.glob("*")):
        if folder.is_dir() and _KEY.fullmatch(folder.name):
            yield folder


def survey_store(folder: Path, *, verify: bool) -> StoreSurvey:
    """One store, which others may be writing; nothing is changed. `verify`: read all vectors, too."""
    files = files_under(folder)
    size = size_of(files)
    facts = _facts(folder)
    if facts is None:
        return StoreSurvey(folder, None, 0, size, [], files)
    images, damaged = 0, []
    blocks = [path for path in files if path.suffix == SUFFIX and path.parent == folder]
    for path in blocks:
        try:
            block = read_block(path, folder.name)
            if verify:
                block.verify()
            images += len(block.records)
        except DamagedBlock:
            damaged.append(path)
        except FileNotFoundError:  # removed meanwhile
            continue
    known = {*blocks, folder / ABOUT, folder / WRITER}
    return StoreSurvey(folder, facts, images, size, damaged, [path for path in files if path not in known])


def _facts(folder: Path) -> StoreFacts | None:
    try:
        facts = msgspec.json.decode((folder / ABOUT).read_bytes(), type=StoreFacts)
    except (OSError, msgspec.MsgspecError):
        return None
    return facts if facts.key == folder.name else None
