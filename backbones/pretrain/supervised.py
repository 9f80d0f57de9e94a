"""Multi-domain supervised training: one shared trunk, one linear head per domain, cross-entropy.

The "multi-domain learning" (MDL) network that URL starts from (Li et al. 2021, arXiv:2103.13841, section 3), on
smaller data: every step draws equally many images of each domain and averages the domains' losses.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import convert_conv2d_weight_memory_format

from backbones.contract import Backbone, BackboneCard
from backbones.errors import BackboneError
from backbones.frozen import FrozenBackbone
from backbones.pretrain.augment import Augmentation
from backbones.resnet18 import ResNet18


class LabelledImages(NamedTuple):
    """The training images of one domain: (n, s, s, 3) uint8 and their labels (n,) int64 in 0..classes-1."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the outcome, given the data and the number of threads.

    `batch_size` images a step, in equal parts from each domain. `half_size`: the fraction of the steps, the first ones,
    that are done on images of half the size, at a third of the time. `lr`: the highest, reached after `warmup` of the
    steps, then down a half cosine to 0 (SGD, Nesterov). `precision`: "bf16" computes convolutions in bfloat16, which
    CPUs with AMX do about 1.7 times as fast as in float32.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_padding: int = 1
    steps: int = 4000
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 7e-4
    warmup: float = 0.05
    half_size: float = 0.6
    seed: int = 0
    precision: Literal["float32", "bf16"] = "float32"
    evaluate_every: int = 500
    augmentation: Augmentation = field(default_factory=Augmentation)


class Step(NamedTuple):
    """One line of the history: after `step` steps, mean loss since the last line, and the score (higher is better)."""

    step: int
    loss: float
    score: float


class Trained(NamedTuple):
    """The trunk of the best score, and how training went."""

    state: dict[str, Tensor]
    best: Step
    history: list[Step]


def train(
    domains: Mapping[str, LabelledImages],
    recipe: Recipe,
    *,
    evaluate: Callable[[Backbone], float],
    advance: Callable[[int], None] = lambda steps: None,
    report: Callable[[Step], None] = lambda step: None,
) -> Trained:
    """Train a ResNet-18 and keep the trunk that `evaluate` scores highest (the earlier of equals).

    `evaluate` gets a frozen copy every `evaluate_every` steps and after the last; `advance` is told of every step,
    `report` of every line of the history. Same data, recipe, threads and machine: same weights. Raises BackboneError
    when the loss is no longer finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        trunk = ResNet18(recipe.widths, recipe.stem_padding)
        convert_conv2d_weight_memory_format(trunk, torch.channels_last)
        heads = nn.ModuleList(nn.Linear(trunk.feature_dim, int(d.labels.max()) + 1) for d in domains.values())
    optimiser, schedule = _optimiser([*trunk.parameters(), *heads.parameters()], recipe)
    history: list[Step] = []
    best, state = Step(0, float("nan"), float("-inf")), dict[str, Tensor]()
    losses: list[float] = []
    for step, (images, labels) in enumerate(_batches(domains, recipe), 1):
        loss = _loss(trunk, heads, images, labels, recipe)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        advance(1)
        if step % recipe.evaluate_every and step != recipe.steps:
            continue
        if not np.isfinite(losses).all():
            raise BackboneError(
                f"training diverged before step {step} (loss {loss.item()}); try a lower lr than {recipe.lr}"
            )
        frozen = _frozen(trunk, recipe)
        history.append(Step(step, float(np.mean(losses)), evaluate(frozen)))
        report(history[-1])
        losses.clear()
        if history[-1].score > best.score:
            best, state = history[-1], frozen.module.state_dict()
    return Trained(state, best, history)


def _loss(trunk: nn.Module, heads: nn.ModuleList, images: Tensor, labels: list[Tensor], recipe: Recipe) -> Tensor:
    """Mean over the domains of the cross-entropy; the trunk sees all domains in one pass."""
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        features = trunk(images).float()
    parts = features.split([len(y) for y in labels])
    losses = [cross_entropy(head(part), y) for head, part, y in zip(heads, parts, labels, strict=True)]
    return torch.stack(losses).mean()


def _optimiser(
    parameters: list[nn.Parameter], recipe: Recipe
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD and its schedule; weight decay on matrices and kernels only, not on biases and batch norm."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=True)
    rise = max(1, round(recipe.warmup * recipe.steps))

    def factor(step: int) -> float:
        fall = (step - rise) / max(1, recipe.steps - rise)
        return (step + 1) / rise if step < rise else 0.5 * (1 + np.cos(np.pi * min(fall, 1.0)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _batches(domains: Mapping[str, LabelledImages], recipe: Recipe) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """`steps` pairs of augmented images (n, 3, s, s) and the labels of each domain's part."""
    rng = torch.Generator().manual_seed(recipe.seed)
    share = max(1, recipe.batch_size // len(domains))
    pools = [(torch.from_numpy(d.images), torch.from_numpy(d.labels)) for d in domains.values()]
    half = [(_halved(images), labels) for images, labels in pools]
    orders = [_epochs(len(labels), share, rng) for _, labels in pools]
    for step in range(recipe.steps):
        source = half if step < recipe.half_size * recipe.steps else pools
        drawn = [(images[at], labels[at]) for (images, labels), at in zip(source, map(next, orders), strict=True)]
        images = torch.cat([images for images, _ in drawn])
        yield recipe.augmentation(images, rng), [labels for _, labels in drawn]


def _halved(images: Tensor) -> Tensor:
    """(n, s, s, 3) uint8 -> (n, s / 2, s / 2, 3) uint8, the means of 2x2 pixels."""
    n, size, _, _ = images.shape
    blocks = images[:, : size // 2 * 2, : size // 2 * 2].reshape(n, size // 2, 2, size // 2, 2, 3)
    return blocks.sum(dim=(2, 4), dtype=torch.int32).div(4, rounding_mode="floor").byte()


def _epochs(n: int, share: int, rng: Generator) -> Iterator[Tensor]:
    """Without end: `share` numbers below n, each number once per epoch; a batch may reach into the next epoch."""
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < share:
            left = torch.cat([left, torch.randperm(n, generator=rng)])
        yield left[:share]
        left = left[share:]


def _frozen(trunk: ResNet18, recipe: Recipe) -> FrozenBackbone:
    card = BackboneCard(name="in-training", arch="resnet18", widths=recipe.widths, stem_padding=recipe.stem_padding)
    return FrozenBackbone(card, copy.deepcopy(trunk), device=torch.device("cpu"), dtype=torch.float32)
