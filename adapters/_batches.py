"""Tasks side by side, padded to the size of the largest and masked, so that one descent serves them all.

A padding row is a sample with zero features that no class has; a padding class has no samples. A descent must let
neither into a softmax, a mean or a gradient; `Batch` says who is there. How a task is batched changes its answer by
rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from adapters._prototypes import CosinePredictor, one_hot, support_features
from adapters.contract import Support

TOGETHER = 16
"""Tasks of one batch at most: their d x d matrices and the optimiser's are all in memory at once."""


class Batch(NamedTuple):
    """`tasks` tasks of up to `n` support samples and `way` classes."""

    features: Tensor  # (tasks, n, d), zeros in the padding
    members: Tensor  # (tasks, way, n), 1 where the sample is of the class
    shots: Tensor  # (tasks, way, 1), 0 for classes that are padding
    sizes: Tensor  # (tasks, 1, 1), samples
    present: Tensor  # (tasks, 1, n), 1 for samples and 0 for padding

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(tasks, n, way, d)."""
        tasks, n, d = self.features.shape
        return tasks, n, self.members.shape[1], d

    def class_means(self) -> Tensor:
        """(tasks, way, d), zeros in the padding."""
        return (self.members / self.shots.clamp_min(1)) @ self.features


def batch(supports: Sequence[Support]) -> Batch:
    """Tasks whose features are of one width, precision and device."""
    way = max(support.way for support in supports)
    features = pad_sequence([support_features(support) for support in supports], batch_first=True)
    labels = pad_sequence([support.labels for support in supports], batch_first=True, padding_value=-1)
    members = one_hot(labels.flatten(), way, features.dtype).view(*labels.shape, way).mT.contiguous()
    shots = members.sum(2, keepdim=True)
    return Batch(features, members, shots, shots.sum(1, keepdim=True), members.sum(1, keepdim=True))


def identities(tasks: Batch) -> Tensor:
    """Where every descent starts: (tasks, d, d)."""
    number, _, _, d = tasks.shape
    return torch.eye(d, dtype=tasks.features.dtype, device=tasks.features.device).repeat(number, 1, 1)


def adapt_in_batches(
    supports: Sequence[Support], adapt: Callable[[Batch], Sequence[tuple[Tensor, Tensor]]], scale: float
) -> list[CosinePredictor]:
    """The predictors of the tasks, in their order; tasks of like size share a batch.

    `adapt` gives each task of a batch its adapted prototypes (way, d) and the map (d, d) of its queries.
    """

    def kind(i: int) -> tuple[str, str, int]:
        features = support_features(supports[i])
        return str(features.dtype), str(features.device), features.shape[1]

    order = sorted(range(len(supports)), key=lambda i: (kind(i), len(supports[i].labels), supports[i].way))
    predictors: dict[int, CosinePredictor] = {}
    for _, alike in groupby(order, kind):
        rest = list(alike)
        while rest:
            chosen, rest = rest[:TOGETHER], rest[TOGETHER:]
            for i, (prototypes, weight) in zip(chosen, adapt(batch([supports[i] for i in chosen])), strict=True):
                predictors[i] = CosinePredictor(prototypes[: supports[i].way], scale, weight)
    return [predictors[i] for i in range(len(supports))]
