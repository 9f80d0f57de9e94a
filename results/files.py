"""The one way a file comes to be in this house: whole, or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from results.errors import WriteError


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` at `path`, on disk before it takes that name; folders are made.

    Raises WriteError naming the file (full disk, no permission); what lay at `path` before stays as it was.
    """
    with open_whole(path) as file:
        file.write(data)


@contextmanager
def open_whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to fill piece by piece, which takes the name `path` when the block ends without an error.

    Several processes may write the same path: each has a part file of its own, the last one wins. Raises WriteError
    naming the file (full disk, no permission); what lay at `path` before stays as it was.
    """
    from boltons.fileutils import atomic_save

    part = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_save(str(path), part_file=part) as file:
            yield file
    except OSError as error:
        with suppress(OSError):  # atomic_save leaves its part behind when the disk fills up in its last flush
            (path.parent / part).unlink()
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written ({reason}); free some space or choose another folder") from error
