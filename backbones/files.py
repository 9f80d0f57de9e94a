"""The one way files of this room come to be: whole or not at all."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from boltons.fileutils import atomic_save

from backbones.errors import BackboneError


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`, on disk before it takes that name; folders are made.

    Several processes may write the same path: each has a part file of its own, the last one wins. Raises
    BackboneError naming the file (full disk, no permission); what lay at `path` before stays as it was.
    """
    part = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_save(path, part_file=part) as file:
            file.write(data)
    except OSError as error:
        with suppress(OSError):  # atomic_save leaves its part behind when the disk fills up in its last flush
            (path.parent / part).unlink()
        reason = error.strerror or str(error)
        raise BackboneError(f"{path}: cannot be written ({reason}); free the space or choose another folder") from error
