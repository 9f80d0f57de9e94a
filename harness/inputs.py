"""What an adapter is given for one episode: a checked Support, and the queries without their labels."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adapters.contract import Adapter, Support
from backbones.embeddings import in_fixed_batches
from episodes.dumped import DUMPED
from episodes.images import Images, Source
from episodes.plan import DomainPlan, Episode, permutation
from episodes.stream import load_images
from harness.errors import HarnessError
from harness.pixels import PixelChoice, Records, open_domain
from harness.stores import KeptMaps, load_vectors, open_maps
from harness.views import augmented

if TYPE_CHECKING:
    from torch import Tensor

    from backbones.contract import Backbone

PROVIDED = frozenset({"features", "maps", "images", "class_names"})
BATCH = 64


@dataclass(frozen=True)
class DomainData:
    """One domain as workers need it: its plan, where its records lie, how its pixels are had, and the (n, d) features
    of its distinct images (None when no adapter asks for features), in the sorted order of `plan.images`.

    `maps`: where those of its images are kept; None when they are computed for each episode. `dtype`: what vectors are
    rounded to on their way, through a store or not.
    """

    plan: DomainPlan
    folder: Path
    pixels: PixelChoice
    features: np.ndarray | None
    maps: KeptMaps | None = None
    dtype: str = "float32"

    @functools.cached_property
    def features_are_finite(self) -> bool:
        """Looked at once for all episodes."""
        return self.features is not None and bool(np.isfinite(self.features).all())

    def open(self) -> tuple[Records, Source]:
        """The domain's records and images, for adapters that need more than features."""
        return open_domain(self.folder, self.pixels, self.plan.split if self.plan.protocol == DUMPED else None)


class Task(NamedTuple):
    """One episode, ready: `queries` as the adapter takes them; the labels stay with the harness."""

    support: Support
    queries: Tensor
    query_labels: Tensor


def check_needs(name: str, adapter: Adapter, offered: frozenset[str] = PROVIDED) -> None:
    """Refuse an adapter that asks for what episodes do not offer. Raises HarnessError."""
    wishes = {*adapter.needs, adapter.takes} | ({"images"} if getattr(adapter, "views", None) else set())
    for wish in sorted(wishes - offered):
        raise HarnessError(f"adapter {name!r} needs {wish!r}; episodes offer {', '.join(sorted(offered))}")


def make_task(data: DomainData, task: int, adapter: Adapter, backbone: Backbone | None, device: str) -> Task:
    """Build one episode's input. Raises HarnessError when a tensor is not finite."""
    import torch

    episode = data.plan.episode(task)
    make = _InputMaker(data, backbone, device)
    kinds = sorted({"features", "maps", "images"} & adapter.needs)
    inputs: dict[str, Any] = {kind: make(kind, episode.support_images) for kind in kinds}
    labels = torch.from_numpy(episode.support_labels)
    if adapter.views:
        pixels = make.pixels(episode.support_images)
        copies = augmented(pixels, adapter.views, seed=data.plan.seed, episode_hash=data.plan.hashes[task])
        inputs = {kind: torch.cat([own, make.of(kind, copies).to(own)]) for kind, own in inputs.items()}
        labels = labels.repeat(1 + adapter.views.copies)
    order = query_order(data.plan.hashes[task], len(episode.query_labels))
    queries = make(adapter.takes, episode.query_images[order])
    known = {"features"} if data.features_are_finite and not adapter.views else set()
    for kind, name, tensor in (*((kind, kind, own) for kind, own in inputs.items()), (adapter.takes, "query", queries)):
        if kind not in known and not _is_finite(tensor):
            raise HarnessError(f"{data.plan.domain}, episode {task}: the {name} tensor holds NaN or infinity")
    if "class_names" in adapter.needs:
        inputs["class_names"] = _class_names(data, episode)
    support = Support(labels=labels.to(device), way=episode.way, **inputs)
    return Task(support, queries, torch.from_numpy(episode.query_labels[order]))


def query_order(episode_hash: str, count: int) -> np.ndarray:
    """The order in which an adapter is asked, (count,) positions in the plan's episode: it tells nothing, whereas in a
    plan queries lie class by class, as many of each."""
    return permutation(bytes.fromhex(episode_hash), count)


def _is_finite(tensor: Tensor) -> bool:
    """Whether no number of it is NaN or infinite. A finite sum proves that, and takes a fifth of the time."""
    return math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())


@dataclass(frozen=True)
class _InputMaker:
    data: DomainData
    backbone: Backbone | None
    device: str

    def __call__(self, kind: str, images: np.ndarray) -> Tensor:
        """Features (n, d), maps (n, d, h, w) or images (n, 3, s, s) of these positions in `plan.images`."""
        import torch

        if kind == "features":
            assert self.data.features is not None
            return torch.from_numpy(self.data.features[images]).to(self.device)
        if kind == "maps" and self.data.maps is not None:
            return self._kept(self.data.maps, images)
        return self.of(kind, self.pixels(images))

    def of(self, kind: str, pixels: Tensor) -> Tensor:
        """The same, computed of these images (n, 3, s, s)."""
        import torch

        if kind == "images":
            return pixels.to(self.device)
        assert self.backbone is not None
        compute = self.backbone.embed if kind == "features" else self.backbone.maps
        vectors = torch.cat([*in_fixed_batches(compute, [pixels], BATCH)]).to(getattr(torch, self.data.dtype))
        return vectors if vectors.dtype == torch.float64 else vectors.float()

    def _kept(self, maps: KeptMaps, images: np.ndarray) -> Tensor:
        """Maps out of their stores."""
        import torch

        classes, records = self.data.plan.images
        at = np.sort(images)
        vectors = load_vectors(self.data.open()[0], Images(classes[at], records[at]), open_maps(maps))
        return torch.from_numpy(vectors[np.searchsorted(at, images)]).to(self.device)

    def pixels(self, images: np.ndarray) -> Tensor:
        """(n, 3, s, s) in [-1, 1]."""
        assert self.backbone is not None
        _, source = self.data.open()
        classes, records = self.data.plan.images
        return load_images(source, Images(classes[images], records[images]), self.backbone.card.image_size)


def _class_names(data: DomainData, episode: Episode) -> list[str]:
    if data.plan.protocol == DUMPED:
        raise HarnessError(f"{data.plan.domain}: dumped episodes have no class names, which the adapter asks for")
    names = data.open()[0].spec.class_names
    first = np.unique(episode.support_labels, return_index=True)[1]
    return [names[class_id] for class_id in episode.support_classes[first].tolist()]
