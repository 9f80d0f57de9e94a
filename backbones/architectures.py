"""From a card to the untrained network it describes."""

from backbones.contract import RESIZE, BackboneCard
from backbones.errors import BadWeights
from backbones.raw_pixels import RawPixels
from backbones.resnet18 import ResNet18

Network = ResNet18 | RawPixels


def build(card: BackboneCard) -> Network:
    """The module of `card.arch`, freshly initialised; BadWeights if the card asks for something unknown."""
    if card.resize != RESIZE:
        raise BadWeights(f"backbone {card.name!r} wants images resized as {card.resize!r}; known: {RESIZE!r}")
    if card.arch == "raw-pixels":
        return RawPixels()
    if card.arch == "resnet18":
        if len(card.widths) != 4 or min(card.widths) < 1 or card.stem_padding not in (1, 2):
            raise BadWeights(
                f"backbone {card.name!r}: a resnet18 has 4 positive widths and stem padding 1 or 2, "
                f"not {card.widths} and {card.stem_padding}"
            )
        return ResNet18(card.widths, card.stem_padding)
    raise BadWeights(f"backbone {card.name!r} is of architecture {card.arch!r}. Known: raw-pixels, resnet18")
