"""`metabench weights`: what its commands do."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import backbones
from backbones.contract import Backbone, BackboneCard
from harness.errors import HarnessError

SPLITS = ("train", "valid", "test", "all")
UNKNOWN = "unknown: domains are shown as '?' and get the unseen rates"


def import_weights(
    console: Console,
    checkpoint: Path,
    out: Path,
    *,
    arch: str,
    widths: tuple[str, ...] | None,
    base: Path | None,
    stem_padding: int,
    image_size: int | None,
    normalisation: str | None,
    trained_on: tuple[str, ...] | None,
) -> None:
    """Import published weights, show their card, and say how to use them."""
    from backbones.checkpoints import import_checkpoint

    import_checkpoint(
        checkpoint,
        arch,
        parse_widths(widths) if widths else None,
        out,
        base=base,
        stem_padding=stem_padding,
        image_size=image_size,
        normalisation=normalisation,
        trained_on=None if trained_on is None else parse_trained_on(trained_on),
    )
    console.print(f"wrote {out} and its card", highlight=False, soft_wrap=True, markup=False)
    show_weights(console, out)
    console.print(f"use it with: --backbone {out}", highlight=False, soft_wrap=True, markup=False)


def show_weights(console: Console, file: Path) -> None:
    """Load a .safetensors file, which checks it against its card, and print the card."""
    if file.suffix != ".safetensors":
        raise HarnessError(f"{file}: give a .safetensors file, as `metabench weights import` writes it")
    for name, value in _facts(backbones.load(str(file))):
        console.print(f" {name:13} {value}", highlight=False, soft_wrap=True, markup=False)


def _facts(backbone: Backbone) -> list[tuple[str, str]]:
    """The lines of a card that say something."""
    card = backbone.card
    facts = [
        ("architecture", card.arch),
        ("widths", ",".join(map(str, card.widths))),
        ("features", f"d = {backbone.feature_dim}"),
        ("stem padding", _stem_padding(card)),
        ("images", f"{card.image_size} x {card.image_size}, {card.resize}, {card.normalisation}"),
        ("trained on", _trained_on(card)),
        ("notes", card.notes),
        ("licence", card.licence),
        ("citation", card.citation),
        ("made by", card.command),
        ("sha256", card.weights_sha256),
    ]
    return [(name, value) for name, value in facts if value]


def _stem_padding(card: BackboneCard) -> str:
    from backbones.architectures import ARCHITECTURES

    architecture = ARCHITECTURES.get(card.arch)
    return str(card.stem_padding) if architecture and len(architecture.stem_paddings) > 1 else ""


def _trained_on(card: BackboneCard) -> str:
    if not card.trained_on:
        return "none of a benchmark's domains" if card.training_data_known else UNKNOWN
    known = ", ".join(f"{domain} ({'+'.join(splits)})" for domain, splits in card.trained_on.items())
    return known if card.training_data_known else f"{known}; others {UNKNOWN}"


def parse_widths(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Channels of the four stages, from text. Raises HarnessError for anything else."""
    if len(texts) != 4 or not all(text.isdecimal() and int(text) for text in texts):
        raise HarnessError(f"--widths {','.join(texts)}: give four whole numbers, as in 64,128,256,512")
    return tuple(map(int, texts))


def parse_trained_on(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """domain -> splits, from "domain" (its train classes) and "domain=split". HarnessError for an unknown split."""
    trained_on: dict[str, tuple[str, ...]] = {}
    for text in texts:
        domain, equals, split = text.partition("=")
        split = split if equals else "train"
        if not domain or split not in SPLITS:
            raise HarnessError(f"--trained-on {text}: give domains, or domain=split with one of {', '.join(SPLITS)}")
        trained_on[domain] = tuple(dict.fromkeys((*trained_on.get(domain, ()), split)))
    return trained_on
