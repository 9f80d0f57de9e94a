"""How long the methods of a run would adapt, measured on images and features of noise: `metabench run --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console

import adapters
import backbones
from episodes.images import Source
from episodes.plan import DomainPlan, plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness.blocks import BLOCK, Block, GivenBackbone, evaluate_block
from harness.config import Setting
from harness.errors import HarnessError
from harness.inputs import BATCH, DomainData
from harness.methods import Configured, Hyper, Method, configure
from harness.pixels import PixelChoice
from harness.progress import bar
from harness.trained_on import seen

if TYPE_CHECKING:
    from backbones.contract import Backbone

FEW = 3
"""Episodes of each domain that methods on features are measured on, one after another: its own first ones."""
WAYS, SHOTS = 5, 3
"""Of the small episode that methods on images or maps are measured on, since theirs take seconds to minutes."""
QUICK_S = 1.0
"""What takes less is measured twice, as the first time warms up."""


class Methods(NamedTuple):
    """The methods of a run: how they are configured, and where and by how many workers they adapt."""

    named: Sequence[Method]
    hyper: Hyper
    setting: Setting
    device: str
    workers: int
    deterministic: bool


class MethodTime(NamedTuple):
    """A method and its `seconds` for all episodes, one after another; `new_s`: of these, what no method before it has
    computed; `reads`: which of features and maps."""

    label: str
    seconds: float
    new_s: float
    reads: frozenset[str]


def time_methods(
    console: Console,
    methods: Methods,
    specs: Sequence[DatasetSpec],
    plans: Sequence[DomainPlan],
    backbone: Backbone,
    rate: float,
) -> list[MethodTime]:
    """Measure every method on a few episodes of every domain, and reckon by the images of all of its episodes.

    `specs` and `plans`: one of each for each domain. `rate`: images/s that the backbone embeds, for methods whose views
    are embedded in each episode. Raises HarnessError for a method that the run would refuse.
    """
    stopwatch = _Stopwatch(backbone, methods, rate, _small_domain(plans))
    known: set[tuple[str, str]] = set()
    found = []
    with bar(console, "measure", len(methods.named) * len(plans)) as advance:
        for method in methods.named:
            times = []
            for spec, plan in zip(specs, plans, strict=True):
                state = seen(backbone.card, plan.domain)
                chosen = configure(method, plan.domain, state, methods.setting, backbone, methods.hyper)
                work = chosen.adapter_hash, plan.domain
                times.append(_Time(chosen, stopwatch.seconds(chosen, spec, plan), work not in known))
                known.add(work)
                advance(1)
            found.append(_summed(times))
    return found


class _Time(NamedTuple):
    """Seconds on one domain; `new`: no method before it is the same there."""

    method: Configured
    seconds: float
    new: bool


def _summed(times: Sequence[_Time]) -> MethodTime:
    reads = {kind for each in times for kind in _reads(each.method)}
    seconds, new_s = sum(each.seconds for each in times), sum(each.seconds for each in times if each.new)
    return MethodTime(times[0].method.label, seconds, new_s, frozenset(reads))


def _reads(method: Configured) -> set[str]:
    return {"features", "maps"} & {*method.adapter.needs, method.adapter.takes}


class _Stopwatch:
    """Measures methods on a backbone, nothing twice. `small`: where one episode stands for those of all domains."""

    def __init__(
        self, backbone: Backbone, methods: Methods, rate: float, small: tuple[DatasetSpec, DomainPlan]
    ) -> None:
        self._backbone, self._methods, self._rate, self._small = backbone, methods, rate, small
        self._known: dict[tuple[str, str], float] = {}

    def seconds(self, method: Configured, spec: DatasetSpec, plan: DomainPlan) -> float:
        """For all episodes of a domain: adapting, answering, and embedding the views of each episode."""
        measured = self._small if method.wants_images or method.wants_maps else (spec, plan)
        per_image = self._seconds_per_image(method, *measured)
        return per_image * len(plan.records) + self._views_s(method, plan)

    def _views_s(self, method: Configured, plan: DomainPlan) -> float:
        """Views are embedded in batches that are filled up."""
        if not method.adapter.views or not _reads(method):
            return 0.0
        views = method.adapter.views.copies * plan.num_support.sum() / len(plan)
        return len(plan) * ceil(views / BATCH) * BATCH / self._rate

    def _seconds_per_image(self, method: Configured, spec: DatasetSpec, plan: DomainPlan) -> float:
        known = method.adapter_hash, plan.domain
        if known not in self._known:
            count = FEW if self._methods.device == "cpu" else BLOCK  # on a GPU those of a block may adapt together
            few = plan.part(range(min(count, len(plan))))
            self._known[known] = self._measured(method, _NoiseDomain.of(few, spec, self._backbone)) / len(few.records)
        return self._known[known]

    def _measured(self, method: Configured, data: DomainData) -> float:
        backbone = self._backbone
        block = Block(
            data=data,
            adapter=method.method.name,
            hyperparameters=adapters.hyperparameters_of(method.adapter),
            adapter_hash=method.adapter_hash,
            backbone=GivenBackbone(backbone, data.dtype) if method.wants_backbone else None,
            backbone_hash=backbones.identity(backbone),
            device=self._methods.device,
            first=0,
            count=len(data.plan),
            deterministic=self._methods.deterministic,
        )
        first = _seconds_of(block)
        return first if first > QUICK_S else min(first, _seconds_of(block))


def _small_domain(plans: Sequence[DomainPlan]) -> tuple[DatasetSpec, DomainPlan]:
    """A domain and a plan of one small episode, with as many queries for each support image as the plans have: methods
    spend their time on one or the other."""
    support = sum(int(plan.num_support.sum()) for plan in plans)
    drawn = sum(len(plan.records) for plan in plans)
    queries = max(1, round(SHOTS * (drawn - support) / support))
    protocol = EpisodeConfig(num_ways=WAYS, num_support=SHOTS, num_query=queries)
    spec = DatasetSpec("noise", np.full(WAYS, SHOTS + queries), {"test": range(WAYS)}, ("",) * WAYS)
    return spec, plan_domain("noise", spec, split="test", protocol=protocol, seed=0, tasks=1)


def _seconds_of(block: Block) -> float:
    """Of adapting and answering, as results tell it. Raises HarnessError where the method fails."""
    try:
        return sum(result.wall_s for result in evaluate_block(block))
    except HarnessError as error:
        raise HarnessError(f"measured on noise: {error}") from error


class _OfNoise(NamedTuple):
    """As much of a domain's records as episodes ask for."""

    spec: DatasetSpec


@dataclass(frozen=True, kw_only=True)
class _NoiseDomain(DomainData):
    """A domain whose features and images are noise."""

    spec: DatasetSpec

    @classmethod
    def of(cls, plan: DomainPlan, spec: DatasetSpec, backbone: Backbone) -> _NoiseDomain:
        """With features and images as large as the backbone's, in its precision."""
        members, size = len(backbones.members_of(backbone)), backbone.card.image_size
        shape = (backbone.feature_dim,) if members == 1 else (members, backbone.feature_dim)
        dtype = "float64" if str(backbone.dtype) == "torch.float64" else "float32"
        features = np.random.default_rng(0).random((len(plan.images.classes), *shape)).astype(dtype)
        return cls(plan, Path(), PixelChoice("decode", size, Path()), features, dtype=dtype, spec=spec)

    def open(self) -> tuple[Any, Source]:
        return _OfNoise(self.spec), _Noise(self.pixels.size)


class _Noise(NamedTuple):
    """A source of images of one size, each its own noise."""

    size: int

    def encoded(self, class_id: int, record: int) -> _Picture:
        return _Picture(self.size, (class_id, record))


class _Picture(NamedTuple):
    size: int
    seed: tuple[int, int]

    def decode(self) -> np.ndarray:
        return np.random.default_rng(self.seed).integers(0, 256, (self.size, self.size, 3), np.uint8)
