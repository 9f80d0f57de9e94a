"""The kinds of networks there are: how each is built from a card, and what its published checkpoints look like."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from backbones.contract import NORMALISATION, RESIZE, BackboneCard
from backbones.errors import BadWeights
from backbones.raw_pixels import RawPixels
from backbones.resnet12 import ResNet12
from backbones.resnet18 import ResNet18, ResNet34
from backbones.resnet18_film import FilmResNet18
from backbones.resnet50 import ResNet50

# The statistics that torchvision, and RFS and SCL (there in 255ths), take out of their images.
_IMAGENET = "mean 0.485,0.456,0.406 std 0.229,0.224,0.225"
_RFS = "mean 0.47214064,0.45330829,0.40996128 std 0.27718385,0.26775041,0.28449041"
_KERNELS = ("conv1.weight", "layer2.0.conv1.weight", "layer3.0.conv1.weight", "layer4.0.conv1.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One kind of network.

    `network`: a `contract.Network` of a card's widths and padding, at random. `width_keys`: entries of its state dict
    with as many rows as each stage has channels; none for a network without weights. `stem_paddings`: those a card may
    name, where equal shapes leave a choice. `heads`: how the keys begin of what training puts on top. `image_size`,
    `normalisation`: what the published weights were made for. `base`: the architecture of the checkpoint that completes
    one of this architecture, where a domain's part is published alone.
    """

    network: Callable[[BackboneCard], nn.Module]
    width_keys: tuple[str, ...] = _KERNELS
    stem_paddings: tuple[int, ...] = (1,)
    heads: tuple[str, ...] = ()
    image_size: int = 84
    normalisation: str = NORMALISATION
    base: str | None = None


ARCHITECTURES = {
    "raw-pixels": Architecture(network=lambda card: RawPixels(), width_keys=()),
    "resnet12": Architecture(
        network=lambda card: ResNet12(card.widths),
        width_keys=tuple(f"layer{i}.0.conv1.weight" for i in (1, 2, 3, 4)),
        heads=("classifier.", "head."),
        normalisation=_RFS,
    ),
    "resnet18": Architecture(
        network=lambda card: ResNet18(card.widths, card.stem_padding), stem_paddings=(1, 2), heads=("cls_fn.",)
    ),
    "resnet18-film": Architecture(
        network=lambda card: FilmResNet18(card.widths, card.stem_padding),
        stem_paddings=(1, 2),
        heads=("cls_fn.",),
        base="resnet18",
    ),
    "resnet34": Architecture(
        network=lambda card: ResNet34(card.widths, card.stem_padding), stem_paddings=(1, 2), heads=("cls_fn.",)
    ),
    "resnet50": Architecture(
        network=lambda card: ResNet50(card.widths), heads=("fc.",), image_size=224, normalisation=_IMAGENET
    ),
}


def build(card: BackboneCard) -> nn.Module:
    """The network of `card.arch`, freshly initialised; BadWeights if the card asks for something unknown."""
    if card.resize != RESIZE:
        raise BadWeights(f"backbone {card.name!r} wants images resized as {card.resize!r}; known: {RESIZE!r}")
    architecture = ARCHITECTURES.get(card.arch)
    if architecture is None:
        raise BadWeights(f"backbone {card.name!r} is of architecture {card.arch!r}. Known: {', '.join(ARCHITECTURES)}")
    stages, paddings = len(architecture.width_keys), architecture.stem_paddings
    if len(card.widths) != stages or min(card.widths, default=1) < 1 or card.stem_padding not in paddings:
        raise BadWeights(
            f"backbone {card.name!r}: a {card.arch} has {stages} positive widths and stem padding "
            f"{' or '.join(map(str, paddings))}, not {card.widths} and {card.stem_padding}"
        )
    return architecture.network(card)
