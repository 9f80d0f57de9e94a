"""The states that an adapter must leave alone: the global random generators and the frozen network."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapters._agreement import Failed


def global_random_state() -> dict[str, object]:
    """The state of every generator that a program may share without saying so, by the library's name."""
    _, key, position, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (np.asarray(key).tobytes(), position, *rest),
        "Python": random.getstate(),
    }


@contextmanager
def global_random_state_restored() -> Iterator[None]:
    """Put the caller's random states back when the block ends."""
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def module_state(module: nn.Module) -> dict[str, Any]:
    """Everything about a network that an adapter could change, by name; tensors are copied."""
    state: dict[str, Any] = {}
    for name, child in module.named_modules(remove_duplicate=False):
        where = name or "the network"
        state[where] = child
        state[f"{where}.training"] = child.training
        hooks = child._forward_hooks, child._forward_pre_hooks, child._backward_hooks, child._backward_pre_hooks
        state[f"hooks of {where}"] = sum(map(len, hooks))
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        state[name] = tensor.detach().clone()
        state[f"{name}.requires_grad"] = tensor.requires_grad
        state[f"{name}.grad"] = None if tensor.grad is None else tensor.grad.clone()
    return state


def check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any], when: str) -> None:
    """Failed, naming one difference, unless both states of a network are equal."""
    changed = [name for name in {**before, **after} if not _equal(before.get(name), after.get(name))]
    if changed:
        raise Failed(f"{when}, {changed[0]} of the backbone is not what it was ({len(changed)} changes in all)")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one is other if isinstance(one, nn.Module) else one == other
