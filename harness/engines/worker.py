"""A process that works for this one: it is sent units through a pipe and sends back results, one at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from episodes.decoders import leave_with_parent
from harness.engines.contract import Unit, with_data
from harness.errors import USER_ERRORS
from results.files import open_whole

if TYPE_CHECKING:
    from harness.inputs import DomainData


def prepare_to_fork() -> bool:
    """Begin to import torch in the process that workers are forked from, without waiting for it; whether there is one.

    A fork of this process itself would have its threads half, and no GPU. Elsewhere than on Linux forking is not safe,
    and a TMPDIR with a long path leaves no room for the name of the other process's socket.
    """
    if sys.platform != "linux":
        return False
    forkserver.set_forkserver_preload(["torch"])
    resource_tracker.ensure_running()  # or it would be started within the block below, and hear Ctrl-C again after
    try:
        with _deaf_to_ctrl_c(), _without_this_folder():
            forkserver.ensure_running()
    except OSError:
        return False
    return True


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes begun in this block are, until they ignore it themselves."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _without_this_folder() -> Iterator[None]:
    """A Python begun in this block does not look for modules in the current folder, where a user may have a copy.py."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


class WorkerLost(Exception):
    """A worker process ended in the middle of its work."""


class Shared(NamedTuple):
    """A domain's data on the way to a worker: its features as a file, for all workers to map."""

    data: DomainData
    features: Path | None

    def opened(self) -> DomainData:
        """As the worker uses it."""
        if self.features is None:
            return self.data
        return replace(self.data, features=np.load(self.features, mmap_mode="r", allow_pickle=False))


class Sharing:
    """Writes the features of each domain to `folder`, once. Those of earlier domains are taken away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: Callable[[], DomainData | None] = lambda: None
        self._shared: list[Shared] = []

    def of(self, data: DomainData) -> Shared:
        """The same value for the same data."""
        if self._last() is not data:
            path = None
            if data.features is not None:
                path = self._folder / f"{len(self._shared)}.npy"
                with open_whole(path) as file:
                    np.save(file, data.features, allow_pickle=False)
            self._shared.append(Shared(replace(data, features=None), path))
            self._last = weakref.ref(data)
        return self._shared[-1]

    def keep(self, wanted: list[Shared]) -> None:
        """Remove all files but the last and those `wanted`; a worker that has one mapped keeps it."""
        for shared in self._shared[:-1]:
            if shared.features is not None and not any(shared is other for other in wanted):
                shared.features.unlink(missing_ok=True)


class Worker:
    """One process. It ignores Ctrl-C, which is this process's business, and ends with this one, whatever ended that."""

    def __init__(self, device: str) -> None:
        self.device = device
        context: Any = multiprocessing.get_context("forkserver" if prepare_to_fork() else "spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, device, dict(os.environ)))
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()
        self._has: Shared | None = None

    def begin(self, work: Callable[..., Any], unit: Any, shared: Shared) -> None:
        """Send it a unit; the domain's data go along when it has others. Raises WorkerLost."""
        try:
            self.connection.send((work, unit, None if shared is self._has else shared))
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerLost(self._how()) from None
        self._has = shared

    def result(self) -> Any:
        """What came of the unit; waits for it. Raises what the work raised, and WorkerLost."""
        try:
            done, answer = self.connection.recv()
        except (EOFError, OSError):  # OSError: it ended in the middle of an answer
            raise WorkerLost(self._how()) from None
        if not done:
            raise answer
        return answer

    def end(self) -> None:
        """Now, whatever it is at."""
        self.connection.close()
        self._process.kill()
        self._process.join()

    def _how(self) -> str:
        self._process.join(5)
        code = self._process.exitcode or 0
        if code >= 0:
            return "a worker process ended"
        often = " (often out of memory)" if -code == signal.SIGKILL else ""
        return f"a worker process was ended by signal {-code}{often}"


def _serve(connection: Connection, device: str, environment: Mapping[str, str]) -> None:
    """In the new process: answer each unit with (True, result) or (False, error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_with_parent()
    os.environ.clear()
    os.environ.update(environment)  # of now, not of when the first worker was started
    import torch

    torch.set_num_threads(1)
    data: DomainData | None = None
    while True:
        try:
            work, unit, shared = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            if shared is not None:
                data = shared.opened()
            answer = True, work(on_device(with_data(unit, data), device))
        except Exception as error:  # raised again where the result is waited for
            answer = False, sendable(error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def on_device(unit: Unit, device: str) -> Any:
    """The unit, to be worked on there."""
    changed: Any = unit
    return replace(changed, device=device)


def sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, which travels where the traceback itself does not. Of errors that are not
    ours only the words: they may not survive the way."""
    foreign = isinstance(error, OSError) and type(error).__module__ != "builtins"  # as urllib's HTTPError
    ours = isinstance(error, USER_ERRORS) and not foreign
    told = error if ours else RuntimeError(f"{type(error).__name__}: {error}")
    told.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    return told
