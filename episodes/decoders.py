"""Who decodes: forked processes that write into memory they share with this one, or, for a short stream, one thread.

A forked process has the source and the buffers from the start, so a task is a few numbers. It touches neither torch nor
CUDA, and ends with this process, whatever ended that.
"""

from __future__ import annotations

import functools
import math
import mmap
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from weakref import WeakSet

import numpy as np

from episodes.errors import DecodingStopped
from episodes.images import Source

Wait = Callable[[], None]
"""Returns when a task is done, or raises what ended it. Waits are to be called in the order of their tasks."""
_STOPPED = "a process that decodes images was ended from outside (out of memory?)"
_connections: WeakSet[Connection] = WeakSet()  # this process's ends, of all streams
_starting = threading.Lock()


class Decoders:
    """`buffers`: (buffers, images, size, size, 3) float32, to be filled by tasks. To be used as a context.

    `workers`: processes; with 0, or where forking is not safe, one thread of this process does it.
    """

    def __init__(self, source: Source, shape: tuple[int, ...], workers: int) -> None:
        self._source, self._workers, self._given = source, workers if _can_fork() else 0, 0
        self.buffers = _shared(shape) if self._workers else np.empty(shape, np.float32)

    def submit(self, buffer: int, classes: np.ndarray, records: np.ndarray, rows: np.ndarray) -> Wait:
        """Have images decoded into `rows` of a buffer; tasks go to the processes in turn."""
        if not self._workers:
            return self._thread.submit(fill, self._source, self.buffers[buffer], classes, records, rows).result
        connection = self._connections[self._given % self._workers]
        self._given += 1
        try:
            connection.send((buffer, classes, records, rows))
        except (BrokenPipeError, ConnectionResetError):
            raise DecodingStopped(_STOPPED) from None
        return functools.partial(_wait, connection)

    def __enter__(self) -> Decoders:
        with ExitStack() as stack:
            if self._workers:
                self._connections = _start(self._workers, self._source, self.buffers, stack)
            else:
                self._thread = ThreadPoolExecutor(1, "decode")
                stack.callback(self._thread.shutdown, cancel_futures=True)
            self._end = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()


def fill(source: Source, out: np.ndarray, classes: np.ndarray, records: np.ndarray, rows: np.ndarray) -> None:
    """Decode images into the `rows` of `out`, (n, s, s, 3) float32 in [-1, 1].

    Raises CorruptRecord, BadExample or BadImage, naming file and record.
    """
    from episodes.resize import resize_normalized

    for class_id, record, row in zip(classes.tolist(), records.tolist(), rows.tolist(), strict=True):
        resize_normalized(source.encoded(class_id, record).decode(), out[row])


@functools.cache
def leave_with_parent() -> None:
    """Let this worker process end when its parent was killed: nobody else would tell it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _can_fork() -> bool:
    on_linux = os.name == "posix" and os.uname().sysname == "Linux"
    return on_linux and not multiprocessing.current_process().daemon  # a daemon may have no children


def _shared(shape: tuple[int, ...]) -> np.ndarray:
    """Memory that forked processes share, and that the system takes back when the last of them has ended."""
    size = max(1, math.prod(shape)) * np.dtype(np.float32).itemsize
    return np.frombuffer(mmap.mmap(-1, size), np.float32, math.prod(shape)).reshape(shape)


def _start(workers: int, source: Source, buffers: np.ndarray, stack: ExitStack) -> list[Connection]:
    """Fork the processes; they end when their connections are closed, which leaving `stack` does."""
    import episodes.resize  # noqa: F401 - compiled once, here, and inherited

    fork = multiprocessing.get_context("fork")
    connections: list[Connection] = []
    with _starting, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: these use none of them
        for _ in range(workers):
            ours, theirs = fork.Pipe()
            connections.append(ours)
            _connections.add(ours)
            process = fork.Process(target=_serve, args=(theirs, source, buffers), daemon=True)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the new process ignores it
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
            stack.callback(process.join)
    for connection in connections:
        stack.callback(connection.close)
    return connections


def _serve(tasks: Connection, source: Source, buffers: np.ndarray) -> None:
    """In the new process: answer each task with None, or with the error that ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # what the parent says of it, it says once
    for connection in _connections:  # inherited: while open here, nobody would notice that the parent closed its own
        connection.close()
    while True:
        try:
            buffer, classes, records, rows = tasks.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            fill(source, buffers[buffer], classes, records, rows)
            answer = None
        except Exception as error:  # raised again where the result is waited for
            answer = error
        try:
            tasks.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _wait(connection: Connection) -> None:
    try:
        error = connection.recv()
    except (EOFError, ConnectionResetError):
        raise DecodingStopped(_STOPPED) from None
    if error is not None:
        raise error
