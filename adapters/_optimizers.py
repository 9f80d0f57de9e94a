"""Descents: torch.optim's Adadelta and Adam for one tensor whose gradient is computed by hand (same numbers, fewer
passes), and the plain loop for losses that autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adadelta:
    """torch.optim.Adadelta with its defaults rho 0.9, eps 1e-6; both running averages are kept with eps added."""

    RHO, EPS = 0.9, 1e-6

    def __init__(self, weight: Tensor, lr: float):
        self.weight, self.lr = weight, lr
        self.squares = torch.full_like(weight, self.EPS)  # average of gradient^2, + eps
        self.updates = torch.full_like(weight, self.EPS)  # average of update^2, + eps
        self.eps = weight.new_full((), self.EPS)
        self.buffer = torch.empty_like(weight)

    def step(self, gradient: Tensor) -> None:
        """weight -= lr * update, where update = gradient * sqrt(updates / squares)."""
        buffer = self.buffer
        torch.addcmul(self.eps, gradient, gradient, out=buffer)
        self.squares.lerp_(buffer, 1 - self.RHO)
        torch.div(self.updates, self.squares, out=buffer).sqrt_().mul_(gradient)
        self.weight.sub_(buffer, alpha=self.lr)
        torch.addcmul(self.eps, buffer, buffer, out=buffer)
        self.updates.lerp_(buffer, 1 - self.RHO)


class Adam:
    """torch.optim.Adam with its defaults betas (0.9, 0.999), eps 1e-8; weight decay is added to the gradient (L2)."""

    def __init__(self, weight: Tensor, lr: float, weight_decay: float):
        self.weight, self.lr, self.weight_decay = weight, lr, weight_decay
        self.mean, self.square = torch.zeros_like(weight), torch.zeros_like(weight)
        self.count = torch.zeros((), dtype=torch.float32, device=weight.device)

    def step(self, gradient: Tensor) -> None:
        """One pass over all tensors, by torch's fused kernel."""
        adam(
            [self.weight],
            [gradient],
            [self.mean],
            [self.square],
            [],
            [self.count],
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            lr=self.lr,
            weight_decay=self.weight_decay,
        )


def descend(
    optimizer: torch.optim.Optimizer, loss_now: Callable[[], Tensor], steps: int, losses: list[Tensor] | None = None
) -> None:
    """Take `steps` full-batch steps. The loss before each is appended to `losses` if a list is given."""
    for _ in range(steps):
        loss = loss_now()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if losses is not None:
            losses.append(loss.detach())
