"""`hf:`: vision models of the transformers library (ViT, DINOv2, CLIP, SigLIP ...), from a folder or the Hub.

Features are what the model offers for a whole image: the projected embedding of a two-tower model, else its pooled
output, else the class token, else the mean of its last maps. Maps are the last hidden states laid out in space; those
of a two-tower model have the width of its image tower.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from backbones.foreign import attempt, card_of, facts_about, folder_here, measured_dim, needed
from backbones.hub import fetched
from backbones.names import is_local
from backbones.normalisation import describe

EXTRA = "transformers"
WANTED = ("config.json", "*processor_config.json")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model", "vocab.txt")
# Entries of a config that do not decide what the network computes.
_BESIDE_THE_POINT = {"transformers_version", "_name_or_path", "dtype", "architectures", "id2label", "label2id"}
# How everything is loaded: from the folder alone, and without running code that lies in it.
_SAFELY = {"local_files_only": True, "trust_remote_code": False}


def load(name: str) -> tuple[BackboneCard, nn.Module]:
    """`name`: a folder as `save_pretrained` writes it, or `owner/model`, `owner/model@revision` of the Hub.

    Raises BackboneError if the library or the folder is missing, the Hub cannot be reached, or it is no vision model;
    BadWeights if the weights are not those of the model.
    """
    backbone = f"hf:{name}"
    transformers = needed("transformers", EXTRA, backbone)
    repository, _, revision = name.partition("@")
    if is_local(name):
        folder = folder_here(name, "`save_pretrained`", backbone)
        label = folder.resolve().name
    else:
        folder, label = fetched(repository, backbone, EXTRA, revision=revision or None, wanted=WANTED), name
    if not (folder / "config.json").is_file():
        raise BackboneError(f"backbone {backbone!r}: {folder} has no config.json; give a folder of `save_pretrained`")
    with _quiet(transformers):
        pixels = _pixels(transformers, folder, backbone)
        model, pooler = _model(transformers, folder, backbone)
    network = _network(model, pooler, folder, backbone, pixels["image_size"])
    facts = facts_about("hf", repository, folder)
    card = card_of(f"hf:{label}", _architecture(model, network), network, facts, **pixels)
    network.feature_dim = measured_dim(network, card)
    return card, network


class VisionModel(nn.Module):
    """A model with one tower: images (n, 3, s, s), normalised as it wants -> (n, d)."""

    feature_dim: int

    def __init__(self, model: Any, features: str) -> None:
        super().__init__()
        self.model, self.features = model, features

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, d, h, w)."""
        return in_space(self.model(pixel_values=images).last_hidden_state, self._tokens(images))

    def forward(self, images: Tensor) -> Tensor:
        output = self.model(pixel_values=images)
        if self.features == "pooled":
            return output.pooler_output.flatten(1)
        if self.features == "class token":
            return output.last_hidden_state[:, 0]
        return in_space(output.last_hidden_state, self._tokens(images)).mean(dim=(2, 3))

    def _tokens(self, images: Tensor) -> int | None:
        return patches(self.model.config, images.shape[-1])


class TwoTowers(nn.Module):
    """A model of images and texts in one space (CLIP, SigLIP): images (n, 3, s, s) -> projected embeddings (n, d)."""

    feature_dim: int
    features = "projected"

    def __init__(self, model: Any, folder: Path, name: str) -> None:
        super().__init__()
        self.model, self._folder, self._name = model, folder, name

    @property
    def logit_scale(self) -> float:
        """What the model multiplies cosines of images and texts by."""
        return float(self.model.logit_scale.detach().exp())

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, width of the image tower, h, w)."""
        states = self.model.vision_model(pixel_values=images).last_hidden_state
        return in_space(states, patches(self.model.config.vision_config, images.shape[-1]))

    def forward(self, images: Tensor) -> Tensor:
        return _embedding(self.model.get_image_features(pixel_values=images))

    def encode(self, texts: list[str]) -> Tensor:
        """(n, d) of n texts, longer ones cut. Raises BackboneError if no tokenizer lies beside the weights."""
        from transformers import AutoTokenizer

        what = f"backbone {self._name!r}: {self._folder} has no tokenizer for texts"
        if not any((self._folder / file).is_file() for file in _VOCABULARIES):  # the library would make an empty one
            raise BackboneError(f"{what} ({', '.join(_VOCABULARIES)})")
        tokenizer: Any = attempt(lambda: AutoTokenizer.from_pretrained(self._folder, **_SAFELY), what)
        config = self.model.config
        rules = {"max_length": config.text_config.max_position_embeddings, "truncation": True, "return_tensors": "pt"}
        if config.model_type.startswith("siglip"):  # trained on texts of full length, without a mask
            tokens = {"input_ids": tokenizer(texts, padding="max_length", **rules)["input_ids"]}
        else:
            tokens = tokenizer(texts, padding=True, **rules)
        device = self.model.logit_scale.device
        return _embedding(self.model.get_text_features(**{key: value.to(device) for key, value in tokens.items()}))


def in_space(states: Tensor, tokens: int | None) -> Tensor:
    """Hidden states as maps (n, d, h, w): of a transformer (n, t, d) the last `tokens` ones, which are the patches,
    after class and register tokens; None: as many as fill a square. Those of a CNN are maps already."""
    if states.ndim == 4:
        return states
    side = math.isqrt(tokens or states.shape[1])
    return states[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))


def patches(config: Any, image_size: int) -> int | None:
    """How many patches the last layer has; None if the config does not say (networks that pool on the way)."""
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int) or hasattr(config, "depths"):
        return None
    return (image_size // patch) ** 2


def _model(transformers: Any, folder: Path, backbone: str) -> tuple[Any, bool]:
    """The model in float32, without its head, and whether a pooler of its own came with the weights."""
    what = f"backbone {backbone!r}: {folder} cannot be loaded"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, info = attempt(
            lambda: transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **_SAFELY
            ),
            what,
        )
    missing = sorted(info["missing_keys"])
    unpooled = any(key.startswith("pooler.") for key in missing)
    lacking = [key for key in missing if not key.startswith("pooler.")]
    if lacking:
        raise BadWeights(f"backbone {backbone!r}: {folder} lacks {len(lacking)} of the weights, as {lacking[0]!r}")
    if unpooled:  # published without one; what stands there is random
        model.pooler = None
    return model, not unpooled


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no reports of the heads that are left out."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _network(model: Any, pooler: bool, folder: Path, backbone: str, size: int) -> VisionModel | TwoTowers:
    if all(hasattr(model, name) for name in ("get_image_features", "get_text_features", "logit_scale")):
        return TwoTowers(model, folder, backbone)
    if model.main_input_name != "pixel_values":
        kind = type(model).__name__
        raise BackboneError(f"backbone {backbone!r}: {kind} takes {model.main_input_name}, not images alone")
    return VisionModel(model, _features(model, pooler, size, backbone))


@torch.no_grad()
def _features(model: Any, pooler: bool, size: int, backbone: str) -> str:
    """Which of its outputs stands for an image, from a trial run on one blank image."""
    what = f"backbone {backbone!r} fails on images of {size} pixels"
    output: Any = attempt(lambda: model.eval()(pixel_values=torch.zeros(1, 3, size, size)), what)
    if pooler and getattr(output, "pooler_output", None) is not None:
        return "pooled"
    states = output.last_hidden_state
    tokens = patches(model.config, size) or math.isqrt(states.shape[1]) ** 2
    if states.ndim == 3 and states.shape[1] < tokens:
        kind = type(model).__name__
        raise BackboneError(
            f"backbone {backbone!r}: {kind} shows only some of its {tokens} patches; such masks must be off"
        )
    return "class token" if states.ndim == 3 and states.shape[1] > tokens else "mean"


def _pixels(transformers: Any, folder: Path, backbone: str) -> dict[str, Any]:
    """Fields of the card from the model's own image processor."""
    what = f"backbone {backbone!r}: {folder} does not say how images are prepared (preprocessor_config.json)"
    rules = attempt(
        lambda: transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **_SAFELY).to_dict(), what
    )
    if not rules.get("do_rescale", True) or abs(rules.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise BackboneError(f"backbone {backbone!r}: its processor does not scale pixels to [0, 1], as is wanted here")
    crop = rules.get("crop_size") if rules.get("do_center_crop") else None
    size = _side(crop or rules.get("size"), backbone)
    plain = not rules.get("do_normalize", True)
    mean, std = ([0.0] * 3, [1.0] * 3) if plain else (rules["image_mean"], rules["image_std"])
    resize = " ".join(f"{key} {value}" for key, value in (rules.get("size") or {}).items() if value is not None)
    notes = f"its own processor: resize {resize} (resample {rules.get('resample')})" + (
        f", crop {size}" if crop else ""
    )
    return {"image_size": size, "normalisation": describe(mean, std), "notes": notes}


def _side(size: Mapping[str, int | None] | None, backbone: str) -> int:
    """The side of the square that the benchmark squashes images to."""
    sides = {value for value in (size or {}).values() if value is not None}
    if len(sides) != 1:
        raise BackboneError(f"backbone {backbone!r}: its processor makes no squares of one size, but {size}")
    return int(sides.pop())


def _architecture(model: Any, network: VisionModel | TwoTowers) -> str:
    """Class, configuration and kind of features: what with the weights decides the numbers."""
    config = {key: value for key, value in model.config.to_diff_dict().items() if key not in _BESIDE_THE_POINT}
    digest = hashlib.sha256(msgspec.json.encode(config, order="sorted", enc_hook=str)).hexdigest()
    return f"transformers {type(model).__name__} {digest[:16]}, {network.features}"


def _embedding(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output
