"""The one way a file, or a folder, comes to be in this house: whole, or not at all; and who may take one away."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from results.errors import WriteError

IN_USE = ".in-use"
_KEY_DIGITS = 12


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
        raise WriteError(f"{path}: cannot be written ({reason}); {_what_to_do(error)}") from error


def _what_to_do(error: OSError) -> str:
    if isinstance(error, (NotADirectoryError, FileExistsError, PermissionError)):
        return "choose another folder"
    return "free some space or choose another folder"


def files_under(folder: Path) -> list[Path]:
    """All files at any depth, sorted; others may make and remove some meanwhile."""
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def stats(files: Iterable[Path]) -> list[os.stat_result]:
    """What the system knows of those files that are still there."""
    found = []
    for path in files:
        with suppress(FileNotFoundError):
            found.append(path.stat())
    return found


def size_of(files: Iterable[Path]) -> int:
    """Bytes of those files that are still there."""
    return sum(stat.st_size for stat in stats(files))


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Of several processes that would write `folder`, one does; the others wait here. Its parents are made."""
    from filelock import FileLock

    lock = folder.with_name(f".{folder.name}.lock")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
        with suppress(OSError):
            lock.unlink()  # whoever waits for it finds the folder there


def unfinished_folder(folder: Path, key: str) -> Path:
    """A hidden neighbour of `folder` to fill, for `finish_folder`; what is there already was done with the same `key`.

    To be called by the `only_writer`: neighbours with other keys, which killed processes left, are deleted. `key`: hex
    digest of what the folder is made from.
    """
    part = folder.with_name(f".{folder.name}-{key[:_KEY_DIGITS]}.part")
    left_over = re.compile(rf"\.{re.escape(folder.name)}-[0-9a-f]{{{_KEY_DIGITS}}}\.part")
    for path in list(folder.parent.iterdir()):
        if path != part and left_over.fullmatch(path.name):
            shutil.rmtree(path)
    part.mkdir(exist_ok=True)
    return part


def finish_folder(part: Path, folder: Path) -> None:
    """Give a filled neighbour its name, once its list of files is on the disk; the files themselves must be."""
    sync(part)
    part.rename(folder)
    sync(folder.parent)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """While the block lasts, `sole_use` of that folder is refused to everybody; as many as like may use it together.

    The lock is the file `<folder>.in-use` beside it, whose time says when the folder was last used; it goes with the
    process, however that ends.
    """
    descriptor = _locked(folder, fcntl.LOCK_SH)
    try:
        os.utime(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def sole_use(folder: Path) -> Iterator[bool]:
    """Whether nobody else uses `folder`, and nobody can begin to until the block ends; never waits."""
    lock = Path(f"{folder}{IN_USE}")
    was_there = lock.exists()
    try:
        descriptor = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
        if not was_there or not folder.exists():
            lock.unlink()
    finally:
        os.close(descriptor)


def _locked(folder: Path, kind: int) -> int:
    """A descriptor that holds the lock of `folder` until it is closed."""
    lock = Path(f"{folder}{IN_USE}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, kind)
            if os.fstat(descriptor).st_ino == lock.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass  # whoever had it before took the folder away; a new lock is made
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
