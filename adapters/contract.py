"""What the harness gives to a method, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor

Predictor = Callable[["Tensor"], "Tensor"]
"""Queries as the adapter's `takes` says, (m, ...) -> logits (m, way).

It may also offer `.represent(x)`, the adapted representation of x (m, d'), and `.prototypes` (way, d') in that space.
"""


class Support(NamedTuple):
    """All that a method may look at: never a query's label, never the data set's name.

    The harness fills the optional fields that the adapter names in `needs`, and has checked shapes and finiteness.
    The tensors belong to the harness and are shared by all adapters: read them, never write to them.
    """

    labels: Tensor  # (n,) int64 in 0..way-1, each class at least once
    way: int
    features: Tensor | None = None  # (n, d); (n, K, d) for a method over K backbones of equal d
    maps: Tensor | None = None  # (n, d, h, w); (n, K, d, h, w)
    images: Tensor | None = None  # (n, 3, s, s) in [-1, 1]
    class_names: list[str] | None = None
    validation: Support | None = None  # only in protocols that have a validation part


class Views(NamedTuple):
    """A wish for `copies` augmented copies of each support image, after the originals, labels repeated."""

    copies: int


class Adapter(Protocol):
    """One way of adapting to a task: a frozen dataclass whose fields are its hyper-parameters.

    `needs` and `takes` must be stated; what else a class leaves out, `adapters.load` fills in from here. Where one of
    these depends on a hyper-parameter, it is a property.
    All state of a task lives in the predictor, so one adapter serves any number of tasks in any order.
    An adapter that descends on a loss may take a further keyword, `losses: list[Tensor] | None = None`, and append the
    loss before each step, as tensors of no dimension; nobody pays for them who does not ask.
    A field named `backbone` is no hyper-parameter: `adapters.load(..., backbone=...)` fills it.
    """

    needs: ClassVar[frozenset[str]]  # the optional fields of Support that it reads
    takes: ClassVar[str]  # "features" | "maps" | "images": what its predictor is called with
    transductive: ClassVar[bool] = False  # a query's answer may depend on the other queries
    stochastic: ClassVar[bool] = False  # adapt draws from rng
    batched: ClassVar[bool] = False  # also offers adapt_many(list[Support]) -> list[Predictor]
    over_backbones: ClassVar[bool] = False  # works on the features of several backbones, (n, K, d)
    views: ClassVar[Views | None] = None

    def adapt(self, support: Support, *, rng: Generator | None = None) -> Predictor:
        """Learn from one task's support set; the frozen backbone and the global random state stay as they are."""
        ...
