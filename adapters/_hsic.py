"""The unbiased Hilbert-Schmidt independence criterion of Gaussian kernels, by task (Song et al., JMLR 13, 2012)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adapters._batches import Batch

VARIANCE_FLOOR, WIDTH_FLOOR = 1e-5, 1e-12
DISTANCE_ROUNDING = 16  # in units of the precision


class Distances(NamedTuple):
    """|x_i - x_j|^2, (tasks, n, n), infinite where there is no pair; the median of those of pairs, (tasks, 1, 1)."""

    squared: Tensor
    median: Tensor


def others(tasks: Batch) -> Tensor:
    """Which pairs are two different samples: (tasks, n, n)."""
    present = tasks.present > 0
    same = torch.eye(present.shape[2], dtype=torch.bool, device=present.device)
    return present & present.mT & ~same


def distances(rows: Tensor, pairs: Tensor) -> Distances:
    """Between the rows (tasks, n, d), of length one at most, of each of the `pairs`.

    The median is of those that are not zero, of an even number the lower of the middle two.
    """
    products = rows @ rows.mT
    squares = products.diagonal(dim1=1, dim2=2)
    squared = (squares[:, :, None] - products) + (squares[:, None] - products.mT)
    counted = pairs & (squared > DISTANCE_ROUNDING * torch.finfo(rows.dtype).eps)
    median = squared.where(counted, torch.nan).flatten(1).nanmedian(1).values.nan_to_num(0.0)
    return Distances(squared.where(counted, 0.0).where(pairs, torch.inf), median[:, None, None])


def kernel(between: Distances, bandwidth: Tensor | float) -> tuple[Tensor, Tensor]:
    """exp(-squared / (2 width)) of the pairs, (tasks, n, n), and that width = bandwidth * median, (tasks, 1, 1)."""
    width = (bandwidth * between.median).clamp_min(WIDTH_FLOOR)
    return between.squared.div(-2 * width).exp_(), width


def hsic_gradient(other: Tensor, n: Tensor) -> Tensor:
    """d HSIC(K, other) / dK but for the diagonal, (tasks, n, n); its product with K sums to HSIC(K, other)."""
    rows = other.sum(2, keepdim=True) / (n - 2)
    constant = rows.sum(1, keepdim=True) / (n - 1)
    return (other - rows - rows.mT + constant).div_(n * (n - 3))


def power(first: Tensor, second: Tensor, tasks: Batch) -> Tensor:
    """HSIC of two kernels (tasks, n, n) over its standard deviation by equation 5 of Song et al.: (tasks, 1, 1)."""
    n = tasks.sizes
    rows, columns = first.sum(2, keepdim=True), second.sum(2, keepdim=True)
    both = first * second
    cross = (rows * columns).sum(1, keepdim=True)
    total = both.sum((1, 2), keepdim=True)
    shares = (n - 2) ** 2 * both.sum(2, keepdim=True) + (n - 2) * (total - first @ columns - second @ rows)
    shares += columns.sum(1, keepdim=True) * rows + rows.sum(1, keepdim=True) * columns - n * rows * columns - cross
    shares = shares * tasks.present.mT / ((n - 1) * (n - 2) * (n - 3))
    value = (first * hsic_gradient(second, n)).sum((1, 2), keepdim=True)
    variance = 16 / n * (shares.square().sum(1, keepdim=True) / n / 4 - value.square())
    return value / (variance + VARIANCE_FLOOR).sqrt()
