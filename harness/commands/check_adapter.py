"""`metabench check-adapter`: an adapter against its contract, one line per check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

import adapters
from adapters.contract import Adapter
from episodes.images import Source
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness.console import print_json
from harness.errors import HarnessError
from harness.inputs import DomainData, check_needs, make_task
from harness.pixels import PixelChoice

if TYPE_CHECKING:
    from torch import Tensor

    from adapters.checks import CheckResult
    from backbones.contract import Backbone

WIDTHS = (8, 8, 16, 16)
IMAGE_SIZE = 32
_STYLES = {"ok": "green", "failed": "red", "not applicable": "dim"}


def check_adapter(console: Console, text: str, *, as_json: bool = False) -> bool:
    """Check one adapter, written as for `run` (a name or a file, with hyper-parameters or without), and print the
    table; True if nothing failed. Raises AdapterError for one that cannot be loaded."""
    results = check(text)
    counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in _STYLES}
    if as_json:
        print_json({"adapter": text, "counts": counts, "checks": [result._asdict() for result in results]})
    else:
        console.print(_table(text, results))
        console.print(f"{text}: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}", markup=False)
    return not counts["failed"]


def check(text: str) -> list[CheckResult]:
    """The results of the contract's checks and of the harness's own, on a narrow network of small images."""
    from adapters.checks import check_adapter as check_contract
    from adapters.checks import module_state, run_check

    name, hyperparameters = adapters.parse(text)
    backbone = narrow_backbone()
    before = module_state(backbone.module)
    adapter = adapters.load(name, backbone=backbone, **hyperparameters)
    own: tuple[Callable[..., None], ...] = (episodes_offer_what_it_needs, nan_is_refused_before_adapt)
    return check_contract(adapter, before=before) + [run_check(each, adapter, backbone) for each in own]


def narrow_backbone() -> Backbone:
    """An untrained ResNet-18 of a few channels for 32-pixel images, in float64, always the same."""
    import torch

    from backbones.contract import BackboneCard
    from backbones.frozen import FrozenBackbone
    from backbones.resnet18 import ResNet18

    card = BackboneCard(name="narrow", arch="resnet18", widths=WIDTHS, image_size=IMAGE_SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet18(WIDTHS)
    return FrozenBackbone(card, network, device=torch.device("cpu"), dtype=torch.float64)


# --- what the harness promises to the adapter ------------------------------------------------------------------------


def episodes_offer_what_it_needs(adapter: Adapter, backbone: Backbone) -> None:
    """Episodes have every kind of input that it needs or takes."""
    check_needs(adapters.configuration(adapter)["name"], adapter)


def nan_is_refused_before_adapt(adapter: Adapter, backbone: Backbone) -> None:
    """Features or maps that hold a NaN are refused before the adapter sees them."""
    from adapters.checks import Failed, NotApplicable

    kinds = sorted({"features", "maps"} & {*adapter.needs, adapter.takes})
    if not kinds:
        raise NotApplicable("it reads images, whose 8-bit values are always finite")
    for kind in kinds:
        try:
            make_task(_SpoiltDomain.make(kind), 0, adapter, _SpoiltMaps(backbone, kind == "maps"), "cpu")
        except HarnessError as refusal:
            if "NaN" not in str(refusal):
                raise
        else:
            raise Failed(f"{kind} that hold a NaN reach the adapter")


class _SpoiltDomain(DomainData):
    """A domain of grey images, all of whose features are NaN if the features are to be spoilt."""

    @classmethod
    def make(cls, spoilt: str) -> _SpoiltDomain:
        spec = DatasetSpec("spoilt", np.full(5, 20), {"test": range(5)}, ("",) * 5)
        plan = plan_domain("spoilt", spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=1)
        features = np.full((len(plan.images.classes), WIDTHS[-1]), np.nan if spoilt == "features" else 1, np.float32)
        return cls(plan, Path(), PixelChoice("decode", IMAGE_SIZE, Path()), features)

    def open(self) -> tuple[Any, Source]:
        return None, _Grey()


class _Grey:
    """A source whose every image is the same grey one."""

    def encoded(self, class_id: int, record: int) -> _Grey:
        return self

    def decode(self) -> np.ndarray:
        return np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8)


@dataclass(frozen=True)
class _SpoiltMaps:
    """A backbone whose maps hold a NaN if they are to be spoilt."""

    backbone: Any
    spoilt: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def maps(self, images: Tensor) -> Tensor:
        maps = self.backbone.maps(images)
        if self.spoilt:
            maps[0, 0, 0, 0] = float("nan")
        return maps


# --- the report ------------------------------------------------------------------------------------------------------


def _table(text: str, results: Sequence[CheckResult]) -> Table:
    table = Table(title=Text(f"contract of {text}"), title_justify="left")
    for column in ("check", "outcome", "reason"):
        table.add_column(column, no_wrap=column != "reason")
    for result in results:
        outcome: Literal["ok", "failed", "not applicable"] = result.outcome
        table.add_row(result.name, Text(outcome, style=_STYLES[outcome]), Text(result.reason))
    return table
