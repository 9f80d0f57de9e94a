"""Several frozen networks side by side, for methods that select among representations (SUR, URT)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from backbones.contract import Backbone, BackboneCard
from backbones.errors import BackboneError


class SeveralBackbones:
    """K backbones of equal d and image size as one `contract.Backbone`: its features are (n, K, d)."""

    def __init__(self, members: Sequence[Backbone]) -> None:
        self.members = tuple(members)
        _check_equal("features", [member.feature_dim for member in members], members)
        _check_equal("image sizes", [member.card.image_size for member in members], members)
        self.card = joint_card([member.card for member in members])
        self.name, self.feature_dim, self.dtype = self.card.name, members[0].feature_dim, members[0].dtype
        self.module: nn.Module = nn.ModuleList(member.module for member in members)

    def embed(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, K, d)."""
        return torch.stack([member.embed(images) for member in self.members], dim=1)

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, K, d, h, w)."""
        return torch.stack([member.maps(images) for member in self.members], dim=1)


def joint_card(cards: Sequence[BackboneCard]) -> BackboneCard:
    """What all of them together have seen: a domain is seen if one has seen it, unseen if all are known not to have."""
    trained_on: dict[str, tuple[str, ...]] = {}
    for card in cards:
        for domain, splits in card.trained_on.items():
            trained_on[domain] = _joined((*trained_on.get(domain, ()), *splits))
    return BackboneCard(
        name="+".join(card.name for card in cards),
        arch="+".join(_joined(card.arch for card in cards)),
        image_size=cards[0].image_size,
        weights_sha256="+".join(card.weights_sha256 for card in cards),
        licence=", ".join(_joined(card.licence for card in cards)),
        citation="; ".join(_joined(card.citation for card in cards)),
        training_data_known=all(card.training_data_known for card in cards),
        trained_on=trained_on,
    )


def _joined(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in order of appearance."""
    return tuple(dict.fromkeys(texts))


def _check_equal(what: str, sizes: Sequence[int], members: Sequence[Backbone]) -> None:
    if len(set(sizes)) > 1:
        found = ", ".join(f"{member.name} {size}" for member, size in zip(members, sizes, strict=True))
        raise BackboneError(f"backbones side by side need {what} of one size, not {found}")
