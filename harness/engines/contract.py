"""What an engine is: something that takes units of work and gives their results, in whatever order they are done.

A unit is a frozen dataclass with the `data` of its domain and a `device`: a block of episodes (`harness.blocks.Block`)
or of images (`harness.embed.ImageBlock`). What is done with it is a function of a module, or a `functools.partial` of
one, so that it can be named to another process. Results go to the one process that stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.inputs import DomainData

UnitT = TypeVar("UnitT", bound="Unit")
Result = TypeVar("Result")
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


def with_data(unit: UnitT, data: DomainData | None) -> UnitT:
    """The unit with other data; None to travel without."""
    changed: Any = replace(unit, data=data)  # type: ignore[type-var]
    return changed


def without_features(unit: UnitT) -> UnitT:
    """The unit as it is given back."""
    return with_data(unit, replace(unit.data, features=None))


def lost(unit: Unit, reason: str) -> HarnessError:
    """The error for a unit whose workers were lost again and again."""
    adapter = getattr(unit, "adapter", None)  # of a block of episodes
    work = f"adapter {adapter!r}, {unit.data.plan.domain}" if adapter else unit.data.plan.domain
    return HarnessError(
        f"{work}: workers were lost {MAX_LOSSES} times on the same work ({reason}); what is stored is "
        f"safe, and the same command goes on from there; fewer --workers take less memory"
    )
