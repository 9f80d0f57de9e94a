"""What a frozen network offers to methods and to the harness, and the card that says where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from backbones.errors import BadWeights, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

RESIZE = "tf1-align-corners-bilinear-squash"
NORMALISATION = "[-1, 1]"
PARTS = ("all", "test", "train", "valid")
"""What a card may say of a domain: the splits whose classes the weights were fitted to; "all" is every class of it."""
_OTHER_WORDS = {"train-classes": "train"}


class BackboneCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Provenance of a backbone, kept as JSON beside its weights.

    `image_size`, `resize`, `normalisation` (`[-1, 1]`, or mean and std: `backbones.normalisation`): the pixels it was
    made for. `trained_on`: of each domain, the parts (PARTS) that its weights have been fitted to; a domain that is
    absent is unseen if `training_data_known`, else nobody knows.
    `command`, `seed`: how the weights were made. `notes`: what a reader of the results should know.
    Raises BadWeights for a part that does not exist.
    """

    name: str
    arch: str
    widths: tuple[int, ...] = ()
    stem_padding: int = 1
    image_size: int = 84
    resize: str = RESIZE
    normalisation: str = NORMALISATION
    weights_sha256: str = ""
    licence: str = "unknown"
    citation: str = ""
    training_data_known: bool = False
    trained_on: dict[str, tuple[str, ...]] = {}
    command: str = ""
    seed: int | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        try:
            checked = {domain: checked_parts(domain, parts) for domain, parts in self.trained_on.items()}
        except BadWeights as error:
            raise BadWeights(f"card of backbone {self.name!r}: trained_on: {error}") from error
        msgspec.structs.force_setattr(self, "trained_on", checked)

    def seen(self, domain: str) -> Literal["seen", "unseen", "unknown"]:
        """Whether the weights were trained on the domain's train classes; decides the published learning rates."""
        if {"train", "all"} & set(self.trained_on.get(domain, ())):
            return "seen"
        return "unseen" if self.training_data_known else "unknown"

    def contaminated(self, domain: str, split: str = "test") -> bool:
        """Whether the classes of that split are known to have been trained on, so that testing there proves little."""
        return bool({split, "all"} & set(self.trained_on.get(domain, ())))


def checked_parts(domain: str, parts: str | Iterable[str]) -> tuple[str, ...]:
    """What was trained on of a domain, each part once, in the words of PARTS; text is one part.

    Raises BadWeights for any other word."""
    parts = (parts,) if isinstance(parts, str) else parts
    found = tuple(dict.fromkeys(_OTHER_WORDS.get(part, part) for part in parts))
    if not found:
        raise BadWeights(f"{domain}: no part given; known: {', '.join(PARTS)}")
    for part in found:
        if part not in PARTS:
            hint = did_you_mean(part, PARTS)
            raise BadWeights(f"{domain}: no part {part!r}.{hint} Known: {', '.join(PARTS)}")
    return found


class Network(Protocol):
    """The nn.Module behind a backbone: images as its card's `normalisation` wants them -> features, and maps."""

    feature_dim: int

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, d)."""
        ...

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, d, h, w), the features before pooling."""
        ...


class Backbone(Protocol):
    """A frozen network: eval mode, no gradients into its parameters, changed by nobody.

    `module` is what image adapters work on, through copies or functional calls: images in [-1, 1] -> features. K
    backbones side by side are one too (`backbones.several`), with features (n, K, d) and maps (n, K, d, h, w).
    """

    name: str
    card: BackboneCard
    feature_dim: int
    dtype: torch.dtype
    module: nn.Module

    def embed(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d) in the backbone's dtype; applies the card's own normalisation."""
        ...

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d, h, w), the features before pooling."""
        ...
