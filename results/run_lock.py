"""One runner at a time for one folder of results: the second one waits, and says for whom."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from results.errors import StoreError

LOCK = ".runner"


@contextmanager
def sole_runner(folder: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """While the block lasts no other process runs into `folder`, so that no block is computed twice.

    Where another one does, `on_wait` is called with its words ("process 4711 on node3, since ..."), and this one waits.
    The lock is the file `<folder>/.runner`; it goes with the process, however that ends. Raises StoreError naming the
    file where it cannot be had: a read-only folder, or a file system without locks.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        _lock(descriptor, path, on_wait)
        _write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%F %T} UTC")
        yield
        _write(descriptor, "")
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, on_wait: Callable[[str], None]) -> None:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(path.read_text(errors="replace") or "another process")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        reason = f"cannot be locked ({error.strerror})"
        raise StoreError(f"{path}: {reason}; choose an --out on a file system with locks") from error


def _write(descriptor: int, words: str) -> None:
    """Who holds the lock, for those who wait; a full disk is no reason not to run."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, words.encode(), 0)
    except OSError:
        pass
