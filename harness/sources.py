"""Where the episodes of a run come from: records, dumped episodes or features, a class for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.domains import OpenDomain
from harness.planned import Planned, load_episodes, sample_episodes, sample_from

if TYPE_CHECKING:
    from harness.request import Request


@dataclass(frozen=True)
class FromRecords:
    """Sampled from records: those in `folder`, and the pocket suite's."""

    folder: Path | None

    @property
    def facts(self) -> Mapping[str, str]:
        return {}

    def plan(self, request: Request) -> Planned:
        return sample_episodes(
            request.benchmark,
            request.domains,
            named=request.named,
            records=self.folder,
            cache=request.cache,
            split=request.split,
            tasks=request.tasks or request.benchmark.tasks,
            seed=request.seed,
        )


@dataclass(frozen=True)
class FromDump:
    """Episodes that were dumped to `folder`, as they are."""

    folder: Path

    @property
    def facts(self) -> Mapping[str, str]:
        return {"dumped_episodes": str(self.folder)}

    def plan(self, request: Request) -> Planned:
        return load_episodes(
            request.benchmark,
            request.domains,
            named=request.named,
            episodes=self.folder,
            cache=request.cache,
            split=request.split,
            tasks=request.tasks,
        )


@dataclass(frozen=True)
class FromFeatures:
    """Sampled from the labels of features at `place`, whose `domains` are open. `left_out`: a line about others."""

    place: Path
    domains: tuple[OpenDomain, ...]
    left_out: str

    @property
    def facts(self) -> Mapping[str, str]:
        return {"features": str(self.place)}

    def plan(self, request: Request) -> Planned:
        return sample_from(
            self.domains,
            request.benchmark,
            named=request.named,
            cache=request.cache,
            split=request.split,
            tasks=request.tasks or request.benchmark.tasks,
            seed=request.seed,
            left_out=self.left_out,
        )
