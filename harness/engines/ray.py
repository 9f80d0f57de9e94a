"""Work on the machines of a Ray cluster: one task for each unit, begun again when its machine is lost.

A domain's data are put into Ray's object store once and mapped by the tasks of a machine. Results come back to this
process, which alone writes.
"""

from __future__ import annotations

import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from harness.engines.contract import MAX_LOSSES, Result, UnitT, lost, with_data, without_features
from harness.engines.worker import on_device, sendable
from harness.errors import HarnessError

RETRIES = 3
"""Ray's own: it begins a task again when its worker or machine is lost."""
AHEAD = 2
"""Tasks on their way for each that can run: so many that no worker waits for this process, and no more."""
ADDRESS_S = 10.0
ANSWER_S = 120.0
"""A machine that takes longer to start a worker is not counted on."""


@contextmanager
def ray_engine(address: str, device: str, workers: int | None, gpus_per_worker: float) -> Iterator[RayEngine]:
    """Connect to the cluster at `address`, or with "local" start one of `workers` tasks at a time that only this
    machine can reach. Raises HarnessError when Ray is not installed, or nobody answers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on any system binds to the loopback address
        os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")  # a busy machine starts Ray's helpers slowly
    try:
        import ray
    except ImportError:
        raise HarnessError(
            "--engine ray needs Ray, which is not installed: pip install -c constraints.txt -e '.[ray]' in your clone"
        ) from None
    _check_address(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own: dict[str, Any] = {"include_dashboard": False, "num_cpus": workers} if address == "local" else {}
    try:
        ray.init(address=address, **quiet, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise HarnessError(_no_cluster(address, error)) from error
    try:
        yield RayEngine(device, workers, gpus_per_worker)
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Ray itself takes minutes to find that nobody answers."""
    host, colon, port = address.rpartition(":")
    if address in ("auto", "local"):
        return
    if not (colon and host and port.isdecimal()):
        raise HarnessError(f"--address {address}: an address is auto, local or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=ADDRESS_S).close()
    except (OSError, OverflowError) as error:
        raise HarnessError(_no_cluster(address, error)) from error


def _no_cluster(address: str, error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if address == "auto":
        return (
            "--address auto: no Ray cluster on this machine; start one with `ray start --head`, give --address "
            "HOST:PORT, or --address local for one that ends with the run"
        )
    return f"--address {address}: no Ray cluster there ({first})"


class _Begun(NamedTuple):
    """A unit under way. `data`: Ray's reference of its domain's data; `losses`: how often it was given up."""

    unit: Any
    data: Any
    losses: int = 0


class RayEngine:
    """Tasks on the cluster that this process is connected to, `workers` at a time, or as many as it has room for."""

    embeds = True

    def __init__(self, device: str, workers: int | None, gpus_per_worker: float) -> None:
        import ray

        self._device, self._workers = device, workers
        self._needs = {"CPU": 1.0, "GPU": gpus_per_worker if device == "cuda" else 0.0}
        self._task = ray.remote(_compute).options(
            max_retries=RETRIES, num_cpus=self._needs["CPU"], num_gpus=self._needs["GPU"]
        )
        self._last: Callable[[], Any] = lambda: None
        self._reference: Any = None
        if self._room() == 0:
            wanted = " and ".join(f"{count:g} {name}" for name, count in self._needs.items() if count)
            raise HarnessError(f"no machine of the Ray cluster has {wanted} for a task: `ray status` shows what it has")

    @property
    def at_a_time(self) -> int:
        """As many as were asked for, or fit."""
        return self._workers or self._room()

    def run(self, work: Callable[[UnitT], Result], units: Iterable[UnitT]) -> Iterator[tuple[UnitT, Result]]:
        """See `harness.engines.contract.Engine`."""
        import ray

        waiting, under_way, room = iter(units), dict[Any, _Begun](), self._most_under_way()
        while True:
            while len(under_way) < room and (unit := next(waiting, None)) is not None:
                begun = _Begun(without_features(unit), self._put(unit.data))
                unit = None
                under_way[self._submit(work, begun)] = begun
            if not under_way:
                return
            done, _ = ray.wait(list(under_way), num_returns=1)
            begun = under_way.pop(done[0])
            try:
                result = ray.get(done[0])
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:  # Ray has given up: too many machines were lost
                under_way |= self._begin_again(work, begun, error)
                continue
            del done
            yield begun.unit, result
            room = self._most_under_way()  # machines come and go

    def elsewhere(self, look: Callable[..., Result], *arguments: Any) -> list[tuple[str, Result]]:
        """Each machine of the cluster that has a processor to give."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        names = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
        task = ray.remote(_look)
        asked = [
            task.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                look, arguments
            )
            for node in names
        ]
        try:
            return list(zip(names.values(), ray.get(asked, timeout=ANSWER_S), strict=True))
        except ray.exceptions.RayTaskError as error:
            raise HarnessError(f"a machine of the Ray cluster cannot run Metabench: {error.cause}") from error
        except ray.exceptions.RayError as error:
            raise HarnessError(f"a machine of the Ray cluster does not answer: {type(error).__name__}") from error

    def _put(self, data: Any) -> Any:
        """Into the object store, once; the features are known to be finite there, as every task would look again."""
        import ray

        if self._last() is not data:
            assert data.features is None or isinstance(data.features_are_finite, bool)
            self._reference, self._last = ray.put(data), weakref.ref(data)
        return self._reference

    def _submit(self, work: Callable[..., Any], begun: _Begun) -> Any:
        return self._task.remote(work, with_data(begun.unit, None), [begun.data], self._device)

    def _begin_again(self, work: Callable[..., Any], begun: _Begun, error: Exception) -> dict[Any, _Begun]:
        begun = begun._replace(losses=begun.losses + 1)
        if begun.losses == MAX_LOSSES:
            raise lost(begun.unit, type(error).__name__) from error
        return {self._submit(work, begun): begun}

    def _room(self) -> int:
        """Tasks that the cluster can run at the same time."""
        import ray

        has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        needs = [(name, count) for name, count in self._needs.items() if count]
        return sum(min(int(of.get(name, 0.0) / count + 1e-6) for name, count in needs) for of in has)

    def _most_under_way(self) -> int:
        room = max(1, self._room())
        return AHEAD * room if self._workers is None or self._workers >= room else self._workers


_last: tuple[Any, Any] = (None, None)
"""In a worker: the reference that came with the last task, and the data behind it."""


def _compute(work: Callable[..., Any], unit: Any, reference: list[Any], device: str) -> Any:
    """One task, on the machine that Ray chose; Ray lets it see its own GPU only. `reference`: of the domain's data, in
    a list: then Ray does not make them anew for every task, and what one works out of them serves the next."""
    import ray
    import torch

    global _last
    torch.set_num_threads(1)
    try:
        if _last[0] != reference[0]:
            _last = (None, None)
            _last = reference[0], ray.get(reference[0])
        return work(on_device(with_data(unit, _last[1]), device))
    except Exception as error:
        raise sendable(error) from None


def _look(look: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return look(*arguments)
