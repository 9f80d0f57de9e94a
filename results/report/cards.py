"""What a reader sees of each domain: sizes, state, a few of its images."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from results.leaderboard import Leaderboard
from results.report.aligned import Episodes

SIDE = 96
"""Pixels of a shown image's longer side at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainImages:
    """What the caller found of a domain's images.

    `classes`, `images`: how many of them the plan's episodes draw, None where the plan is not at hand; `samples`: a few
    (h, w, 3) uint8 arrays; `why_none`: the reason where there are no samples.
    """

    classes: int | None = None
    images: int | None = None
    samples: Sequence[np.ndarray] = ()
    why_none: str = ""


class Card(NamedTuple):
    """One domain as shown."""

    domain: str
    state: str
    contaminated: bool
    facts: list[tuple[str, str]]
    pictures: list[str]
    why_none: str


def cards(board: Leaderboard, episodes: Episodes, found: Mapping[str, DomainImages]) -> list[Card]:
    """A card for each domain of the plan, in its order."""
    return [_card(board, episodes, domain, found.get(domain, DomainImages())) for domain in board.plan.domains]


def picture(image: np.ndarray) -> str:
    """A data URI of an (h, w, 3) uint8 image: small ones as they are in PNG, others made smaller, in JPEG."""
    from PIL import Image

    shown = Image.fromarray(image)
    exact = max(shown.size) <= SIDE
    shown.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    if exact:
        shown.save(content, "PNG", optimize=True)
    else:
        shown.save(content, "JPEG", quality=82)
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def _card(board: Leaderboard, episodes: Episodes, domain: str, found: DomainImages) -> Card:
    inside = episodes.of(domain)
    facts = [("episodes", f"{board.plan.domains[domain]:,}")]
    if inside.any():
        facts.append(("classes per episode", _span(episodes.way[inside])))
        facts.append(("support images per class", _span(episodes.shots[inside])))
    for name, count in (("classes drawn", found.classes), ("images drawn", found.images)):
        facts += [(name, f"{count:,}")] if count is not None else []
    cells = board.cells[(board.cells["domain"] == domain) & board.cells["mean_pct"].notna()]
    if len(cells):
        best = cells.sort_values(["mean_pct", "method"], ascending=[False, True]).iloc[0]
        facts.append(("best mean", f"{best['mean_pct']:.1f} ±{best['ci95_pct']:.1f} % ({best['method']})"))
    pictures = [picture(image) for image in found.samples]
    return Card(
        domain, board.seen.get(domain, "unknown"), domain in board.contaminated, facts, pictures, found.why_none
    )


def _span(values: np.ndarray) -> str:
    low, high, middle = (f"{value:.3g}" for value in (values.min(), values.max(), np.median(values)))
    return low if low == high else f"{low} to {high}, median {middle}"
