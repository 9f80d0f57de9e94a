"""`timm:`: PyTorch Image Models (Wightman 2019, doi:10.5281/zenodo.4414861), by name or from a folder.

Features are what the model's classifier would be given. Maps are its last ones; of transformers, the patch tokens.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor, nn

from backbones.contract import BackboneCard
from backbones.errors import BackboneError
from backbones.foreign import attempt, card_of, facts_about, folder_here, measured_dim, needed
from backbones.hub import fetched
from backbones.names import is_local
from backbones.normalisation import describe

EXTRA = "timm"


def load(name: str) -> tuple[BackboneCard, nn.Module]:
    """`name`: a pretrained model (`resnet18.a1_in1k`), or a folder as `timm.models.save_for_hf` writes it.

    Raises BackboneError if the library or the folder is missing, the name is unknown, or the Hub cannot be reached.
    """
    backbone = f"timm:{name}"
    timm = needed("timm", EXTRA, backbone)
    local = is_local(name)
    repository = "" if local else _repository(timm, name, backbone)
    if local:
        folder = folder_here(name, "timm's `save_for_hf`", backbone)
    else:
        folder = fetched(repository, backbone, EXTRA, wanted=["config.json"])
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"backbone {backbone!r}: {folder} has no config.json; give a folder of timm's `save_for_hf`"
        )
    model: Any = attempt(
        lambda: timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0),
        f"backbone {backbone!r}: {folder} cannot be loaded",
    )
    data = timm.data.resolve_model_data_config(model)
    resize = f"its own processor: resize to 1/{data['crop_pct']} ({data['interpolation']}), centre crop"
    pixels = {
        "image_size": data["input_size"][-1],
        "normalisation": describe(data["mean"], data["std"]),
        "notes": resize,
    }
    network = TimmModel(model)
    facts = facts_about("timm", repository.removeprefix("timm/"), folder)
    label = folder.resolve().name if local else name
    card = card_of(f"timm:{label}", _architecture(model, folder), network, facts, **pixels)
    network.feature_dim = measured_dim(network, card)
    return card, network


class TimmModel(nn.Module):
    """A model without its classifier: images (n, 3, s, s), normalised as it wants -> (n, d)."""

    feature_dim: int

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, d, h, w)."""
        states = self.model.forward_features(images)
        if states.ndim == 4:
            return states.permute(0, 3, 1, 2) if str(getattr(self.model, "output_fmt", "NCHW")) == "NHWC" else states
        states = states[:, getattr(self.model, "num_prefix_tokens", 0) :]
        side = math.isqrt(states.shape[1])
        return states.transpose(1, 2).unflatten(2, (side, side))

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


def _repository(timm: Any, name: str, backbone: str) -> str:
    """Where on the Hub the weights of that name lie."""
    pretrained = timm.list_pretrained()
    if name not in pretrained and (not timm.is_model(name) or "." in name):
        close = difflib.get_close_matches(name, pretrained, n=1)
        hint = f" Did you mean 'timm:{close[0]}'?" if close else ""
        raise BackboneError(f"backbone {backbone!r}: timm has no weights of that name.{hint}")
    config: Any = attempt(lambda: timm.get_pretrained_cfg(name), f"backbone {backbone!r}")
    if config is None or not config.hf_hub_id:
        raise BackboneError(
            f"backbone {backbone!r}: timm knows no weights of it on the Hugging Face Hub; give a folder"
        )
    return config.hf_hub_id


def _architecture(model: Any, folder: Path) -> str:
    """Class, name and arguments: what with the weights decides the numbers."""
    config = msgspec.json.decode((folder / "config.json").read_bytes())
    made_with = [config.get("architecture"), config.get("model_args"), config.get("global_pool")]
    digest = hashlib.sha256(msgspec.json.encode(made_with, order="sorted")).hexdigest()
    return f"timm {type(model).__name__} {made_with[0]} {digest[:16]}"
