"""When two answers count as the same, and how a check says that they are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adapters._trial import Task, Trial

SAME = 1e-6  # of the logits' spread: the same computation twice
CLOSE = 1e-3  # another order of summation, whose last bits dozens of descent steps multiply
HALF = 1e-2  # inputs of another precision
SEEDS = 16
STANDARD_ERRORS = 8.0


class Failed(Exception):
    """A promise is broken; the text is the reason."""


class NotApplicable(Exception):
    """The adapter declares nothing that the check is about; the text says what."""


def check_logits(trial: Trial, shots: Sequence[int]) -> None:
    """Adapt to a task with these shots; Failed unless its logits are finite and (queries, way)."""
    task = trial.task(shots)
    logits = trial.answer(task)
    check_shape(logits, task)
    if not torch.isfinite(logits).all():
        raise Failed("logits hold NaN or infinity")


def check_shape(logits: Any, task: Task) -> None:
    """Failed unless the logits are a tensor of floats (queries, way)."""
    expected = len(task.queries), task.support.way
    if not isinstance(logits, Tensor):
        raise Failed(f"logits are {type(logits).__module__}.{type(logits).__name__}, not a torch tensor")
    if not logits.is_floating_point():
        raise Failed(f"logits are {logits.dtype}, not a tensor of floats")
    if logits.shape != expected:
        raise Failed(f"logits of shape {tuple(logits.shape)}, expected {expected}")


def _allowed(logits: Tensor, tolerance: float) -> float:
    """`tolerance` of the logits' spread, and float32's rounding of their size."""
    return tolerance * float(logits.max() - logits.min()) + 1e-6 * float(logits.abs().max())


def compare(given: Tensor, expected: Tensor, tolerance: float, complaint: str) -> None:
    """Failed, with the complaint and by how much, unless both are logits of one shape that differ by little."""
    if given.shape != expected.shape:
        raise Failed(f"{complaint}: shape {tuple(given.shape)}, expected {tuple(expected.shape)}")
    given, expected = given.double(), expected.double()
    worst, allowed = float((given - expected).abs().max()), _allowed(expected, tolerance)
    if not worst <= allowed:  # NaN too
        raise Failed(f"{complaint}: by up to {worst:.2g}, where {allowed:.2g} is allowed")


def compare_over_seeds(trial: Trial, one: Task, other: Task, complaint: str, columns: Tensor | None = None) -> None:
    """Compare two tasks' logits (`columns` of the first), for stochastic adapters in the mean over SEEDS seeds.

    The mean difference may be STANDARD_ERRORS of its standard errors: over 48 logits and 15 degrees of freedom, an
    adapter that keeps its promise is accused less than once in ten thousand.
    """
    pick = slice(None) if columns is None else columns
    if not trial.declares("stochastic"):
        compare(trial.answer(one)[:, pick], trial.answer(other), CLOSE, complaint)
        return
    expected = torch.stack([trial.answer(other, seed) for seed in range(SEEDS)]).double()
    given = torch.stack([trial.answer(one, seed)[:, pick] for seed in range(SEEDS)]).double()
    differences = given - expected
    allowed = STANDARD_ERRORS * differences.std(0) / SEEDS**0.5 + _allowed(expected, CLOSE)
    excess = differences.mean(0).abs() - allowed
    if not bool((excess <= 0).all()):
        raise Failed(f"{complaint}: in the mean over {SEEDS} seeds, by {float(excess.max()):.2g} beyond chance")
