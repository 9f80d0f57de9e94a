"""Work on this machine: in this process, or in worker processes that share the features by memory map."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple, Self

from harness.devices import default_workers, worker_devices
from harness.engines.contract import MAX_LOSSES, Result, UnitT, lost, with_data, without_features
from harness.engines.worker import Shared, Sharing, Worker, WorkerLost, prepare_to_fork


def start_ahead(device: str, workers: int | None) -> None:
    """Let worker processes, where there will be several, take their first steps while this one takes its own."""
    if device == "cpu" and (workers or default_workers(device)) > 1:
        prepare_to_fork()


class _Begun(NamedTuple):
    """A unit under way; `losses`: workers that were lost at it."""

    unit: Any
    shared: Shared
    losses: int = 0


class LocalEngine:
    """One process, or `workers` of them: on "cuda" each has a GPU of its own as far as there are any.

    Worker processes start as there are units for them, and are kept until the context ends. One that is lost is
    replaced, and its unit is begun again.
    """

    def __init__(self, device: str, workers: int) -> None:
        self._devices = worker_devices(device, workers)
        self._workers: list[Worker] = []

    @property
    def embeds(self) -> bool:
        """With several GPUs; one GPU, or the cores of this machine, are best used from this process."""
        return len(set(self._devices)) > 1

    @property
    def at_a_time(self) -> int:
        """One in each process."""
        return len(self._devices)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def elsewhere(self, look: Callable[..., Result], *arguments: Any) -> list[tuple[str, Result]]:
        """Nobody but this machine works for it."""
        return []

    def run(self, work: Callable[[UnitT], Result], units: Iterable[UnitT]) -> Iterator[tuple[UnitT, Result]]:
        """See `harness.engines.contract.Engine`."""
        waiting = iter(units)
        if len(self._devices) > 1:
            yield from self._spread(work, waiting)
            return
        while (unit := next(waiting, None)) is not None:
            result = work(unit)
            unit = without_features(unit)  # so that nothing holds them while the next domain's are loaded
            yield unit, result

    def _spread(self, work: Callable[[UnitT], Result], waiting: Iterator[UnitT]) -> Iterator[tuple[UnitT, Result]]:
        """One unit at a time to each worker: it is listening then, so that sending never waits."""
        under_way: dict[Worker, _Begun] = {}
        with tempfile.TemporaryDirectory(prefix="metabench-") as folder:
            sharing = Sharing(Path(folder))
            try:
                for at, device in enumerate(self._devices):
                    begun = _next(waiting, sharing)
                    if begun is None:
                        break
                    if at == len(self._workers):
                        self._workers.append(Worker(device))
                    self._begin(self._workers[at], work, begun, under_way)
                while under_way:
                    for worker in _ready(under_way):
                        begun = under_way.pop(worker)
                        try:
                            result = worker.result()
                        except WorkerLost as error:
                            self._begin_again(worker, work, begun, under_way, error)
                            continue
                        try:
                            self._begin(worker, work, _next(waiting, sharing), under_way)
                            sharing.keep([other.shared for other in under_way.values()])
                        finally:  # what is done is told of, whatever becomes of the next one
                            yield begun.unit, result
            finally:
                if under_way:  # somebody lost interest; what they are at is nobody's any more
                    self._end()

    def _begin(
        self, worker: Worker, work: Callable[..., Any], begun: _Begun | None, under_way: dict[Worker, _Begun]
    ) -> None:
        if begun is None:
            return
        try:
            worker.begin(work, with_data(begun.unit, None), begun.shared)
        except WorkerLost as error:
            self._begin_again(worker, work, begun, under_way, error)
        else:
            under_way[worker] = begun

    def _begin_again(
        self,
        worker: Worker,
        work: Callable[..., Any],
        begun: _Begun,
        under_way: dict[Worker, _Begun],
        error: WorkerLost,
    ) -> None:
        """In a new process. Raises HarnessError when too many have been lost at this unit."""
        begun = begun._replace(losses=begun.losses + 1)
        if begun.losses == MAX_LOSSES:
            raise lost(begun.unit, str(error)) from None
        worker.end()
        fresh = Worker(worker.device)
        self._workers[self._workers.index(worker)] = fresh
        self._begin(fresh, work, begun, under_way)

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []


def _next(waiting: Iterator[Any], sharing: Sharing) -> _Begun | None:
    unit = next(waiting, None)
    return None if unit is None else _Begun(without_features(unit), sharing.of(unit.data))


def _ready(under_way: dict[Worker, _Begun]) -> list[Worker]:
    """The workers that have finished, or ended; waits for one."""
    answered = wait([worker.connection for worker in under_way])
    return [worker for worker in under_way if worker.connection in answered]
