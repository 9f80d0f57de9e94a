"""Models of the transformers library with random weights, a few thousand of them, saved as a user has them."""

from pathlib import Path
from typing import Any

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
VISION = {"image_size": 32, "patch_size": 8, **SMALL}
TEXT = {
    "vocab_size": 64,
    "max_position_embeddings": 12,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    **SMALL,
}
DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2, "patch_size": 14}
SQUARE = {"size": {"height": 32, "width": 32}}
CROP = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}


def save_model(kind: str, folder: Path, **config: Any) -> Path:
    """A model of that kind with its image processor in `folder / kind`; `config` overrides its configuration."""
    import torch
    import transformers as t

    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    pixels56 = {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}}
    pixels28 = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    made: dict[str, Any] = {
        "dinov2": lambda: (t.Dinov2Model(t.Dinov2Config(**(DINO | config))), t.BitImageProcessorPil(**pixels56)),
        "dinov2-registers": lambda: (
            t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**(DINO | config))),
            t.BitImageProcessorPil(**pixels28),
        ),
        "vit": lambda: (t.ViTModel(t.ViTConfig(**(VISION | config))), t.ViTImageProcessorPil(**SQUARE)),
        "vit-classifier": lambda: (
            t.ViTForImageClassification(t.ViTConfig(**(VISION | config))),
            t.ViTImageProcessorPil(**SQUARE),
        ),
        "clip": lambda: (
            t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=VISION | config, projection_dim=24)),
            t.CLIPImageProcessorPil(**CROP),
        ),
        "clip-vision": lambda: (
            t.CLIPVisionModel(t.CLIPVisionConfig(**(VISION | config))),
            t.CLIPImageProcessorPil(**CROP),
        ),
        "siglip": lambda: (
            t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=VISION | config)),
            t.SiglipImageProcessorPil(**SQUARE),
        ),
        "siglip-vision": lambda: (
            t.SiglipVisionModel(t.SiglipVisionConfig(**(VISION | config))),
            t.SiglipImageProcessorPil(**SQUARE),
        ),
        "resnet": lambda: (
            t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")),
            t.ViTImageProcessorPil(**SQUARE),
        ),
        "swin": lambda: (
            t.SwinModel(
                t.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
            ),
            t.ViTImageProcessorPil(**SQUARE),
        ),
        "mae": lambda: (t.ViTMAEModel(t.ViTMAEConfig(**(VISION | config))), t.ViTImageProcessorPil(**SQUARE)),
        "bert": lambda: (
            t.BertModel(t.BertConfig(vocab_size=64, **SMALL)),
            t.ViTImageProcessorPil(**SQUARE),
        ),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, processor = made[kind]()
        for parameter in model.parameters():  # so that nothing is hidden by zeros of a fresh network
            parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder / kind)
    processor.save_pretrained(folder / kind)
    return folder / kind


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of 64 words beside the model of a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unknown>": 3, "a": 4, "photo": 5, "of": 6, "dog": 7, "cat": 8}
    own = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=own, pad_token="<pad>", bos_token="<start>", eos_token="<end>", unk_token="<unknown>"
    ).save_pretrained(folder)
