"""Made-up tasks to try an adapter on: whatever inputs it declares, as clouds around a random centre per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adapters.contract import Predictor, Support

INPUTS = ("features", "maps", "images")
QUERIES = 12
_MAP_SHAPE, _IMAGE_SIZE = (16, 6, 6), 32  # of adapters that have no backbone
_NOISE = 0.3
_PATCHES = 4  # images are coloured in 4 x 4 patches, which pooling does not wash out


class Task(NamedTuple):
    """`queries` as the adapter takes them: 12, the classes in turn."""

    support: Support
    queries: Tensor


@dataclass(frozen=True)
class Trial:
    """An adapter under trial. `feature_shape`: of one image's features; (K, d) for a method over K backbones."""

    adapter: Any
    feature_shape: tuple[int, ...] = (16,)

    def declares(self, trait: str) -> bool:
        """Whether the adapter states this optional trait."""
        return bool(getattr(self.adapter, trait, False))

    @property
    def wants(self) -> frozenset[str]:
        """The kinds of input that it reads or takes."""
        return frozenset({*self.adapter.needs, self.adapter.takes} & set(INPUTS))

    @property
    def module(self) -> nn.Module | None:
        """The frozen network that the adapter holds, if any."""
        backbone = getattr(self.adapter, "backbone", None)
        return getattr(backbone, "module", backbone)

    @property
    def views(self) -> int:
        """How many blocks of the support's length it is given: the originals and each round of copies."""
        views = getattr(self.adapter, "views", None)
        return 1 + (views.copies if views else 0)

    def task(self, shots: Sequence[int], seed: int = 0) -> Task:
        """A task with these shots, class by class. Features and maps are float64, or the backbone's own; images
        float32, as episodes give them."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.repeat_interleave(torch.tensor(shots)).repeat(self.views)
        wanted = torch.arange(QUERIES) % len(shots)
        rows = self._inputs(torch.cat([labels, wanted]), len(shots), generator)
        read = self.wants & self.adapter.needs
        given: dict[str, Any] = {kind: rows[kind][: len(labels)].clone() for kind in read}
        support = Support(labels, len(shots), **given)
        if "class_names" in self.adapter.needs:
            support = support._replace(class_names=[f"class {c}" for c in range(len(shots))])
        if "validation" in self.adapter.needs:
            support = support._replace(validation=support)
        return Task(support, rows[self.adapter.takes][len(labels) :].clone())

    def adapt(self, support: Support, seed: int = 0) -> Predictor:
        """The adapter's predictor, with a generator of that seed."""
        return self.adapter.adapt(support, rng=torch.Generator().manual_seed(seed))

    def answer(self, task: Task, seed: int = 0) -> Tensor:
        """The logits (12, way) of a task."""
        return asked(self.adapt(task.support, seed), task.queries)

    def _inputs(self, labels: Tensor, way: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Rows of every kind that it wants; of one image each where a backbone makes features and maps of images."""
        backbone: Any = getattr(self.adapter, "backbone", None)
        if hasattr(backbone, "embed") and hasattr(backbone, "maps"):
            images = _images(labels, way, backbone.card.image_size, generator)
            make = {"images": lambda: images, "features": lambda: backbone.embed(images)}
            make["maps"] = lambda: backbone.maps(images)
        else:
            make = {"images": lambda: _images(labels, way, _IMAGE_SIZE, generator)}
            make["features"] = lambda: _clouds(labels, way, self.feature_shape, generator).relu()
            make["maps"] = lambda: _clouds(labels, way, _MAP_SHAPE, generator).relu()
        return {kind: make[kind]() for kind in INPUTS if kind in self.wants}


@torch.no_grad()
def asked(predictor: Predictor, queries: Tensor) -> Tensor:
    """A copy of a predictor's logits, asked for as the harness asks."""
    logits = predictor(queries)
    return logits.clone() if isinstance(logits, Tensor) else logits


def changed_inputs(support: Support, change: Callable[[Tensor], Tensor], kinds: Sequence[str] = INPUTS) -> Support:
    """The support with `change` applied to every tensor of these kinds."""
    given = {kind: getattr(support, kind) for kind in kinds}
    changed: dict[str, Any] = {kind: change(tensor) for kind, tensor in given.items() if tensor is not None}
    if support.validation is not None:
        changed["validation"] = changed_inputs(support.validation, change, kinds)
    return support._replace(**changed)


def renamed_classes(support: Support, new: Tensor) -> Support:
    """The same task where class c is called new[c]."""
    changed: dict[str, Any] = {"labels": new[support.labels]}
    if support.class_names is not None:
        changed["class_names"] = [support.class_names[c] for c in new.argsort().tolist()]
    if support.validation is not None:
        changed["validation"] = renamed_classes(support.validation, new)
    return support._replace(**changed)


def reordered(support: Support, order: Tensor, views: int) -> Support:
    """The same task with its images in another order, the same one in each of the `views` blocks."""
    rows = torch.cat([order + block * len(order) for block in range(views)])
    changed = changed_inputs(support._replace(validation=None), lambda tensor: tensor[rows])
    return changed._replace(labels=support.labels[rows], validation=support.validation)


def _clouds(labels: Tensor, way: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    centres = torch.randn(way, *shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), *shape, generator=generator, dtype=torch.float64)
    return centres[labels] + _NOISE * noise


def _images(labels: Tensor, way: int, size: int, generator: torch.Generator) -> Tensor:
    patches = _clouds(labels, way, (3, _PATCHES, _PATCHES), generator).tanh()
    return nn.functional.interpolate(patches, size=(size, size)).float()
