"""What an engine is: something that takes units of work and gives their results, in whatever order they are done.

A unit is a frozen dataclass with the `data` of its domain and a `device`: a block of episodes (`harness.blocks.Block`)
or of images (`harness.embed.ImageBlock`). What is done with it is a function of a module, or a `functools.partial` of
one, so that it can be named to another process. Results go to the one process that stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from harness.errors import HarnessError, unknown

if TYPE_CHECKING:
    from harness.inputs import DomainData

UnitT = TypeVar("UnitT", bound="Unit")
Result = TypeVar("Result")
ENGINES = ("local", "ray")
MAX_LOSSES = 3
"""So often a unit is begun again whose worker was lost; a unit that kills its workers must not run for ever."""


class Unit(Protocol):
    """A piece of work on one domain."""

    @property
    def data(self) -> DomainData: ...

    @property
    def device(self) -> str: ...


class Engine(Protocol):
    """To be used as a context: what it started ends with it. `embeds`: its workers embed images, too; `at_a_time`: how
    many units are worked on at the same time."""

    @property
    def embeds(self) -> bool: ...

    @property
    def at_a_time(self) -> int: ...

    def run(self, work: Callable[[UnitT], Result], units: Iterable[UnitT]) -> Iterator[tuple[UnitT, Result]]:
        """Every unit with what `work` makes of it, in order of completion.

        Units are taken as workers free up and come back without their features, so that of each domain these are in
        memory only as long as they are needed. Raises what `work` raises, and HarnessError when workers are lost again
        and again.
        """
        ...

    def elsewhere(self, look: Callable[..., Result], *arguments: Any) -> list[tuple[str, Result]]:
        """What `look(*arguments)` finds on each machine that works for it, by the machine's name; [] for none but this.
        Raises HarnessError when one does not answer."""
        ...


class EngineChoice(NamedTuple):
    """Where a run computes, as asked for. `address`: of a Ray cluster ("auto": the one of this machine, "local": one
    that is started for the run); `gpus_per_worker`: share of a GPU that a task on Ray gets."""

    kind: str = "local"
    address: str = "auto"
    gpus_per_worker: float = 1.0

    def start(self, device: str, workers: int | None) -> AbstractContextManager[Engine]:
        """The engine. `workers`: None for as many as there is room for."""
        if self.kind == "ray":
            from harness.engines.ray import ray_engine

            return ray_engine(self.address, device, workers, self.gpus_per_worker)
        from harness.devices import default_workers
        from harness.engines.local import LocalEngine

        return LocalEngine(device, workers or default_workers(device))


LOCAL = EngineChoice()


def checked_engine(
    kind: str, address: str | None = None, gpus_per_worker: float | None = None, device: str = "cpu"
) -> EngineChoice:
    """The engine of these options. Raises HarnessError for an unknown one, and for an option that has no use."""
    if kind not in ENGINES:
        raise unknown("--engine", kind, ENGINES)
    if address is not None and kind != "ray":
        raise HarnessError(f"--address {address}: only Ray has an address; add --engine ray or leave it out")
    if gpus_per_worker is not None and (kind != "ray" or device != "cuda"):
        raise HarnessError("--gpus-per-worker shares GPUs among Ray's tasks: add --engine ray --device cuda")
    if gpus_per_worker is not None and not 0 < gpus_per_worker <= 1:
        raise HarnessError(f"--gpus-per-worker {gpus_per_worker}: a share of one GPU is above 0 and at most 1")
    if kind == "ray" and device not in ("cpu", "cuda"):
        raise HarnessError(f"--device {device}: Ray hands out devices itself; take cpu or cuda")
    share = 1.0 if gpus_per_worker is None else gpus_per_worker
    return EngineChoice(kind, "auto" if address is None else address, share)


def with_data(unit: UnitT, data: DomainData | None) -> UnitT:
    """The unit with other data; None to travel without."""
    changed: Any = replace(unit, data=data)  # type: ignore[type-var]
    return changed


def without_features(unit: UnitT) -> UnitT:
    """The unit as it is given back."""
    return with_data(unit, replace(unit.data, features=None))


def lost(unit: Unit, reason: str) -> HarnessError:
    """The error for a unit whose workers were lost again and again."""
    return HarnessError(
        f"{unit.data.plan.domain}: workers were lost {MAX_LOSSES} times on the same work ({reason}); what is stored is "
        f"safe, and the same command goes on from there; fewer --workers take less memory"
    )
