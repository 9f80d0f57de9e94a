"""`metabench weights`: what its commands do."""

from pathlib import Path

import msgspec
from rich.console import Console

import backbones
from backbones.contract import Backbone, BackboneCard
from harness.build_request import backbone_choice
from harness.console import print_json
from harness.errors import HarnessError
from harness.trained_on import doubtful_names, parse_trained_on

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

    known = None if trained_on is None else parse_trained_on(trained_on)
    import_checkpoint(
        checkpoint,
        arch,
        parse_widths(widths) if widths else None,
        out,
        base=base,
        stem_padding=stem_padding,
        image_size=image_size,
        normalisation=normalisation,
        trained_on=known,
    )
    console.print(f"wrote {out} and its card", highlight=False, soft_wrap=True, markup=False)
    show_weights(console, str(out))
    for line in doubtful_names(known or ()):
        console.print(f"caution   {line}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    console.print(f"use it with: --backbone {out}", highlight=False, soft_wrap=True, markup=False)


def show_weights(console: Console, name: str, *, as_json: bool = False) -> None:
    """Load a backbone, which checks its weights against its card, and print the card."""
    backbone = backbones.load(backbone_choice(name, None, "float32").name)
    if as_json:
        print_json({**msgspec.to_builtins(backbone.card), "feature_dim": backbone.feature_dim})
        return
    for fact, value in _facts(backbone):
        console.print(f" {fact:13} {value}", highlight=False, soft_wrap=True, markup=False)


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
