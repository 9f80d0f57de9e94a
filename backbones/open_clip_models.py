"""`open_clip:`: two-tower models of OpenCLIP (Ilharco et al. 2021, doi:10.5281/zenodo.5143773)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor, nn

from backbones.contract import BackboneCard
from backbones.errors import BackboneError, did_you_mean
from backbones.foreign import attempt, card_of, facts_about, measured_dim, needed
from backbones.hub import fetched
from backbones.normalisation import describe

EXTRA = "open-clip"
WEIGHTS = "open_clip_model*.safetensors"


def load(name: str) -> tuple[BackboneCard, nn.Module]:
    """`name`: ARCHITECTURE/PRETRAINED, as in `ViT-B-32/laion2b_s34b_b79k`, or ARCHITECTURE/FILE.

    Raises BackboneError if the library or the file is missing, a name is unknown, or the weights cannot be fetched.
    """
    backbone = f"open_clip:{name}"
    open_clip = needed("open_clip", EXTRA, backbone)
    architecture, _, weights = name.partition("/")
    _check(open_clip, architecture, weights, backbone)
    tag = open_clip.get_pretrained_cfg(architecture, weights)
    file = Path(weights).expanduser() if not tag else _fetched(tag, backbone)
    quick = bool(tag.get("quick_gelu"))
    model: Any = attempt(
        lambda: open_clip.create_model(
            architecture, pretrained=str(file), force_quick_gelu=quick, force_preprocess_cfg=dict(tag)
        ),
        f"backbone {backbone!r} cannot be loaded",
    )
    rules = open_clip.get_model_preprocess_cfg(model)
    size = rules["size"] if isinstance(rules["size"], int) else rules["size"][0]
    resize = f"its own processor: resize {rules.get('resize_mode', 'shortest')} ({rules.get('interpolation')})"
    network = TwoTowers(model, architecture)
    label = name if tag else f"{architecture}/{file.stem}"
    config = msgspec.json.encode([open_clip.get_model_config(architecture), quick], order="sorted")
    card = card_of(
        f"open_clip:{label}",
        f"open_clip {architecture} {hashlib.sha256(config).hexdigest()[:16]}",
        network,
        facts_about("open_clip", name),
        image_size=size,
        normalisation=describe(rules["mean"], rules["std"]),
        notes=resize,
    )
    network.feature_dim = measured_dim(network, card)
    return card, network


class TwoTowers(nn.Module):
    """Images (n, 3, s, s), normalised as the model wants -> projected embeddings (n, d)."""

    feature_dim: int

    def __init__(self, model: Any, architecture: str) -> None:
        super().__init__()
        self.model, self._architecture = model, architecture

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines of images and texts by."""
        return float(self.model.logit_scale.detach().exp())

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, width of the image tower, h, w)."""
        last = self.model.visual.forward_intermediates(
            images, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NCHW"
        )
        return last["image_intermediates"][-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode_image(images)

    def encode(self, texts: list[str]) -> Tensor:
        """(n, d) of n texts, longer ones cut. Raises BackboneError if the vocabulary cannot be had."""
        import open_clip

        what = f"backbone 'open_clip:{self._architecture}' has no tokenizer for texts"
        tokens = attempt(lambda: open_clip.get_tokenizer(self._architecture)(texts), what)
        return self.model.encode_text(tokens.to(self.model.logit_scale.device))


def _fetched(tag: Mapping[str, Any], backbone: str) -> Path:
    """The file with the weights that OpenCLIP knows by a tag."""
    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    if not repository or (file and not file.endswith(".safetensors")):
        raise BackboneError(f"backbone {backbone!r}: not on the Hugging Face Hub as safetensors; fetch and give a file")
    folder = fetched(repository, backbone, EXTRA, weights=file or WEIGHTS)
    return next(iter(sorted(folder.glob(file or WEIGHTS))))


def _check(open_clip: Any, architecture: str, weights: str, backbone: str) -> None:
    """Refuse names that the library does not know, before it lists all of them."""
    if architecture not in open_clip.list_models():
        hint = did_you_mean(architecture, open_clip.list_models())
        raise BackboneError(f"backbone {backbone!r}: OpenCLIP has no architecture {architecture!r}.{hint}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not open_clip.get_pretrained_cfg(architecture, weights) and not Path(weights).expanduser().is_file():
        raise BackboneError(
            f"backbone {backbone!r}: {weights or 'nothing'!r} is neither a file nor weights of {architecture} that "
            f"OpenCLIP knows: {', '.join(tags) or 'none'}"
        )
