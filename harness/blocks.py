"""One block of episodes under one adapter: the unit of work, of storing and of resuming."""

from __future__ import annotations

import functools
import hashlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

import adapters
import backbones
from adapters.contract import Adapter, Predictor
from harness.devices import deterministic_algorithms, full_precision
from harness.errors import HarnessError
from harness.inputs import DomainData, Task, make_task
from results.identity import canonical_hash

if TYPE_CHECKING:
    import torch

    from backbones.contract import Backbone

Look = TypeVar("Look")
BLOCK = 20
"""Episodes per block. Fixed: blocks decide what is computed together, so they must not depend on the machine."""


@dataclass(frozen=True)
class Block:
    """Tasks `first` to `first + count - 1` of a domain under one adapter configuration.

    `adapter_hash` seeds the generators of stochastic methods; rows are keyed by it and by `backbone_hash`, and what a
    worker has loaded is held to them. `backbone`: loaded in the worker, None for adapters that look at features alone.
    `keep_logits`, `keep_losses`: whether results bring them along.
    """

    data: DomainData
    adapter: str
    hyperparameters: Mapping[str, Any]
    adapter_hash: str
    backbone: BackboneSource | None
    backbone_hash: str
    device: str
    first: int
    count: int
    keep_logits: bool = False
    keep_losses: bool = False
    deterministic: bool = False

    @property
    def tasks(self) -> range:
        """The episodes, by their numbers in the domain's plan."""
        return range(self.first, self.first + self.count)


class BackboneSource(Protocol):
    """Where the backbone of a run comes from; `dtype` is torch's name of its precision, `compiled`: embeds through
    torch.compile."""

    @property
    def dtype(self) -> str: ...
    @property
    def compiled(self) -> bool: ...

    def load(self, device: str) -> Backbone:
        """The backbone on that device."""
        ...


class BackboneChoice(NamedTuple):
    """A backbone in words that travel between processes; `compiled`: embeds through torch.compile."""

    name: str
    weights: Path | None = None
    dtype: str = "float32"
    compiled: bool = False

    def load(self, device: str) -> Backbone:
        """Once per process."""
        return load_backbone(self, device)


class GivenBackbone(NamedTuple):
    """A backbone that is there already, on its device; it stays in this process."""

    backbone: Backbone
    dtype: str
    compiled: bool = False

    def load(self, device: str) -> Backbone:
        """As it was given."""
        return self.backbone


class Adapted(NamedTuple):
    """One episode after adaptation; `logits` (m, way) are the predictor's answers to its queries."""

    task: int
    adapter: Adapter
    made: Task
    predictor: Predictor
    logits: torch.Tensor


class EpisodeResult(NamedTuple):
    """`accuracy`: fraction of the queries; `wall_s`: seconds of adapting and answering. Where the block keeps them:
    `logits` (m, way) and `labels` (m,) in the order of `harness.inputs.query_order`; `losses` (steps,), before each
    step, of an adapter that tells them."""

    task: int
    accuracy: float
    wall_s: float
    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    losses: np.ndarray | None = None


def evaluate_block(block: Block) -> list[EpisodeResult]:
    """Run the adapter on every episode of the block, alone on one thread: results do not depend on the workers."""
    with _one_thread(), deterministic_algorithms(block.deterministic):
        adapter, backbone = _load(block)
        if _together(adapter, block.device):
            return _evaluate_together(block, block.tasks, adapter, backbone)
        return [_evaluate(block, task, adapter, backbone) for task in block.tasks]


def inspect_block(block: Block, look: Callable[[Adapted], Look]) -> list[Look]:
    """What `look` makes of every episode of the block, adapted to one after the other."""
    with _one_thread(), deterministic_algorithms(block.deterministic):
        adapter, backbone = _load(block)
        found = []
        for task in block.tasks:
            made = make_task(block.data, task, adapter, backbone, block.device)
            with _told(block, str(task)):
                predictor = adapter.adapt(made.support, rng=_generator(block, task))
                logits = _answer(predictor, made)
                _check(block, task, made, logits)
                found.append(look(Adapted(task, adapter, made, predictor, logits)))
        return found


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _load(block: Block) -> tuple[Adapter, Backbone | None]:
    backbone = block.backbone.load(block.device) if block.backbone is not None else None
    adapter = adapters.load(block.adapter, backbone=backbone, **block.hyperparameters)
    if canonical_hash(adapters.configuration(adapter)) != block.adapter_hash:
        raise HarnessError(f"adapter {block.adapter!r} was changed while the run used it; start the run again")
    if backbone is not None and backbones.identity(backbone) != block.backbone_hash:
        raise HarnessError(f"backbone {backbone.name!r} was changed while the run used it; start the run again")
    return adapter, backbone


@functools.lru_cache(maxsize=1)
def load_backbone(choice: BackboneChoice, device: str) -> Backbone:
    """The chosen backbone on a device, loaded once per process."""
    import torch

    full_precision()
    dtype = getattr(torch, choice.dtype)
    return backbones.load(choice.name, weights=choice.weights, device=device, dtype=dtype, compiled=choice.compiled)


def _together(adapter: Adapter, device: str) -> bool:
    """Whether a block's episodes are adapted to at once; on CPUs one after another is faster, within the caches."""
    return adapter.batched and not adapter.stochastic and device != "cpu"


def _evaluate(block: Block, task: int, adapter: Adapter, backbone: Backbone | None) -> EpisodeResult:
    made = make_task(block.data, task, adapter, backbone, block.device)
    rng = _generator(block, task)
    losses: list[torch.Tensor] = []
    told: dict[str, Any] = {"losses": losses} if block.keep_losses and adapters.tells_losses(adapter) else {}
    started = time.perf_counter()
    with _told(block, str(task)):
        logits = _answer(adapter.adapt(made.support, rng=rng, **told), made)
    result = _result(block, task, made, logits, time.perf_counter() - started)
    return result._replace(losses=np.array([float(loss) for loss in losses])) if told else result


def _evaluate_together(
    block: Block, tasks: Sequence[int], adapter: Any, backbone: Backbone | None
) -> list[EpisodeResult]:
    """All episodes of the block in one `adapt_many`; each is said to have taken an equal share of the time."""
    made = [make_task(block.data, task, adapter, backbone, block.device) for task in tasks]
    started = time.perf_counter()
    with _told(block, f"{tasks[0]} to {tasks[-1]}"):
        predictors = adapter.adapt_many([each.support for each in made])
        logits = [_answer(predictor, each) for predictor, each in zip(predictors, made, strict=True)]
    share_s = (time.perf_counter() - started) / len(made)
    return [_result(block, *each, share_s) for each in zip(tasks, made, logits, strict=True)]


def _answer(predictor: Predictor, made: Task) -> torch.Tensor:
    import torch

    if not callable(predictor):
        raise TypeError(f"adapt must return a function of queries, not {type(predictor).__name__}")
    with torch.no_grad():
        logits = predictor(made.queries)
    if not isinstance(logits, torch.Tensor):
        raise TypeError(f"what adapt returns must give a torch tensor of logits, not {type(logits).__name__}")
    return logits.cpu()  # copying back also waits for the device


@contextmanager
def _told(block: Block, episodes: str) -> Iterator[None]:
    """Whatever a plug-in does wrong, its user is told which one and where."""
    try:
        yield
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:  # not the plug-in: metabench.py
            raise
        where = f"adapter {block.adapter!r}, {block.data.plan.domain}, episode {episodes}"
        raise HarnessError(f"{where}: {type(error).__name__}: {error} (--traceback shows the place)") from error


def _result(block: Block, task: int, made: Task, logits: torch.Tensor, wall_s: float) -> EpisodeResult:
    import torch

    _check(block, task, made, logits)
    result = EpisodeResult(task, float((logits.argmax(dim=1) == made.query_labels).double().mean()), wall_s)
    if not block.keep_logits:
        return result
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return result._replace(logits=exact.numpy(), labels=made.query_labels.numpy())


def _check(block: Block, task: int, made: Task, logits: torch.Tensor) -> None:
    where = f"adapter {block.adapter!r}, {block.data.plan.domain}, episode {task}"
    expected = len(made.query_labels), made.support.way
    if logits.shape != expected:
        raise HarnessError(f"{where}: logits of shape {tuple(logits.shape)}, expected {expected}")
    if not logits.isfinite().all():
        raise HarnessError(f"{where}: logits hold NaN or infinity; a smaller learning rate may help")


def _generator(block: Block, task: int) -> torch.Generator:
    """A generator of the run's seed, the adapter and the episode: never of the worker or of the order."""
    import torch

    plan = block.data.plan
    content = f"{plan.seed}/{block.adapter_hash}/{plan.hashes[task]}"
    seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "little", signed=True)
    return torch.Generator(device=block.device).manual_seed(seed)
