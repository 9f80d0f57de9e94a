"""How long the methods of a run would adapt, measured on images and features of noise: `metabench run --dry-run`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from harness.blocks import Block, GivenBackbone, evaluate_block
from harness.config import Setting
from harness.inputs import DomainData
from harness.methods import Configured, Hyper, Method, configure
from harness.pixels import PixelChoice
from harness.progress import bar
from harness.trained_on import seen

if TYPE_CHECKING:
    from backbones.contract import Backbone

FEW = 3
"""Episodes of each domain that methods on features are measured on: its own first ones."""
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


class MethodTime(NamedTuple):
    """A method and its `seconds` for all episodes, one after another; `embeds`: it reads embeddings or maps."""

    label: str
    seconds: float
    embeds: bool


def time_methods(
    console: Console, methods: Methods, specs: Sequence[DatasetSpec], plans: Sequence[DomainPlan], backbone: Backbone
) -> list[MethodTime]:
    """Measure every method on a few episodes of every domain, and reckon by the images of all of its episodes.

    `specs` and `plans`: one of each for each domain. Raises HarnessError for a method that the run would refuse.
    """
    stopwatch = _Stopwatch(backbone, methods.device, _small_domain(plans))
    found = []
    with bar(console, "measure", len(methods.named) * len(plans)) as advance:
        for method in methods.named:
            seconds, chosen = 0.0, None
            for spec, plan in zip(specs, plans, strict=True):
                state = seen(backbone.card, plan.domain)
                chosen = configure(method, plan.domain, state, methods.setting, backbone, methods.hyper)
                seconds += stopwatch.seconds_per_image(chosen, spec, plan) * len(plan.records)
                advance(1)
            assert chosen is not None  # a plan has at least one domain
            found.append(MethodTime(chosen.label, seconds, chosen.wants_features or chosen.wants_maps))
    return found


class _Stopwatch:
    """Measures methods on a backbone, nothing twice. `small`: where one episode stands for those of all domains."""

    def __init__(self, backbone: Backbone, device: str, small: tuple[DatasetSpec, DomainPlan]) -> None:
        self._backbone, self._device, self._small = backbone, device, small
        self._known: dict[tuple[str, str], float] = {}

    def seconds_per_image(self, method: Configured, spec: DatasetSpec, plan: DomainPlan) -> float:
        """Seconds for each image drawn: of the plan's first episodes or, where images or maps are looked at, of the
        small one."""
        if method.wants_images or method.wants_maps:
            spec, plan = self._small
        known = method.adapter_hash, plan.domain
        if known not in self._known:
            few = plan.part(range(min(FEW, len(plan))))
            self._known[known] = self._seconds(method, _NoiseDomain.of(few, spec, self._backbone)) / len(few.records)
        return self._known[known]

    def _seconds(self, method: Configured, data: DomainData) -> float:
        """For all episodes of a domain."""
        backbone = self._backbone
        block = Block(
            data=data,
            adapter=method.method.name,
            hyperparameters=adapters.hyperparameters_of(method.adapter),
            adapter_hash=method.adapter_hash,
            backbone=GivenBackbone(backbone, "") if method.wants_backbone else None,
            backbone_hash=backbones.identity(backbone),
            device=self._device,
            first=0,
            count=len(data.plan),
        )
        first = _seconds_of(block)
        return first if first > QUICK_S else min(first, _seconds_of(block))


def _small_domain(plans: Sequence[DomainPlan]) -> tuple[DatasetSpec, DomainPlan]:
    """A domain and a plan of one small episode, with as many queries for each support image as the plans have: methods
    spend their time on one or the other."""
    support = sum(int(plan.num_support.sum()) for plan in plans)
    queries = sum(len(plan.records) for plan in plans) - support
    protocol = EpisodeConfig(num_ways=WAYS, num_support=SHOTS, num_query=max(1, round(SHOTS * queries / support)))
    images = np.full(WAYS, SHOTS + (protocol.num_query or 0))
    spec = DatasetSpec("small", images, {"test": range(WAYS)}, tuple(f"class {c}" for c in range(WAYS)))
    return spec, plan_domain("small", spec, split="test", protocol=protocol, seed=0, tasks=1)


def _seconds_of(block: Block) -> float:
    started = time.perf_counter()
    evaluate_block(block)
    return time.perf_counter() - started


@dataclass(frozen=True)
class _NoiseDomain(DomainData):
    """A domain whose features and images are noise."""

    spec: DatasetSpec | None = None

    @classmethod
    def of(cls, plan: DomainPlan, spec: DatasetSpec, backbone: Backbone) -> _NoiseDomain:
        """With features and images as large as the backbone's."""
        members, size = len(backbones.members_of(backbone)), backbone.card.image_size
        shape = (backbone.feature_dim,) if members == 1 else (members, backbone.feature_dim)
        features = np.random.default_rng(0).random((len(plan.images.classes), *shape), np.float32)
        return cls(plan, Path(), PixelChoice("decode", size, Path()), features, spec=spec)

    def open(self) -> tuple[Any, Source]:
        return self, _Noise(self.pixels.size)


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
