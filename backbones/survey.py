"""What lies in a folder of embedding stores, for those who list it or clean it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from backbones.blocks import SUFFIX, DamagedBlock, read_block
from backbones.embeddings import ABOUT, WRITER, StoreFacts

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


def survey(root: Path, *, verify: bool) -> Iterator[StoreSurvey]:
    """Each store under `root`; folders that are not named like one are left out. `verify`: read all vectors, too."""
    for folder in sorted(root.glob("*")):
        if folder.is_dir() and _KEY.fullmatch(folder.name):
            yield survey_store(folder, verify=verify)


def survey_store(folder: Path, *, verify: bool) -> StoreSurvey:
    """One store; nothing is changed."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
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
    known = {*blocks, folder / ABOUT, folder / WRITER}
    return StoreSurvey(folder, facts, images, size, damaged, [path for path in files if path not in known])


def _facts(folder: Path) -> StoreFacts | None:
    try:
        facts = msgspec.json.decode((folder / ABOUT).read_bytes(), type=StoreFacts)
    except (OSError, msgspec.MsgspecError):
        return None
    return facts if facts.key == folder.name else None
