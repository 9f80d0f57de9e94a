"""Rows for adapters: one task adapted to and its queries answered, on two threads, against the textbook form."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import adapters
from adapters import Support
from backbones.resnet18 import ResNet18
from benches import textbook
from benches.rows import Measurement, Setting, median_seconds, row

THREADS = 2
URL_RATES: dict[str, Any] = {"lr": 1.0}
COPA_RATES: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.1}
TSA_RATES: dict[str, Any] = {"lr": 0.5, "lr_beta": 1.0}


@row
def url_20way(setting: Setting) -> Measurement:
    """URL, 300 support images and 200 queries."""
    return on_features(setting, "url", textbook.url, URL_RATES, way=20, support=300, queries=200)


@row
def url_50way(setting: Setting) -> Measurement:
    """URL, 500 support images and 500 queries."""
    return on_features(setting, "url", textbook.url, URL_RATES, way=50, support=500, queries=500)


@row
def url_5way(setting: Setting) -> Measurement:
    """URL, 25 support images and 50 queries."""
    return on_features(setting, "url", textbook.url, URL_RATES, way=5, support=25, queries=50)


@row
def copa_20way(setting: Setting) -> Measurement:
    """CoPA, 300 support images and 200 queries."""
    return on_features(setting, "copa", textbook.copa, COPA_RATES, way=20, support=300, queries=200)


@row
def copa_50way(setting: Setting) -> Measurement:
    """CoPA, 500 support images and 500 queries."""
    return on_features(setting, "copa", textbook.copa, COPA_RATES, way=50, support=500, queries=500)


@row
def copa_5way(setting: Setting) -> Measurement:
    """CoPA, 25 support images and 50 queries."""
    return on_features(setting, "copa", textbook.copa, COPA_RATES, way=5, support=25, queries=50)


@row
def tsa_fp32(setting: Setting) -> Measurement:
    """TSA in the full ResNet-18, 10 ways, 100 support images and 100 queries."""
    return on_images(setting, {})


@row
def tsa_bf16(setting: Setting) -> Measurement:
    """The same with the network's arithmetic in bfloat16, against the textbook form in float32."""
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    measured = on_images(setting, {"dtype": "bf16"})
    return measured if fast else measured._replace(note="this processor has no bfloat16 instructions")


def on_features(
    setting: Setting,
    name: str,
    plain: Callable[..., Tensor],
    rates: dict[str, Any],
    *,
    way: int,
    support: int,
    queries: int,
) -> Measurement:
    """A method on features as wide as ResNet-18's."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(way, setting.scaled(512, least=8), generator=generator)

    def cloud(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(setting.scaled(count, least=way)) % way
        rows = centres[labels]
        return labels, (rows + torch.randn(rows.shape, generator=generator)).relu()

    (labels, features), (_, asked) = cloud(support), cloud(queries)
    adapter, task = adapters.load(name, **rates), Support(labels, way, features=features)
    return compared(
        setting.repeats,
        lambda: adapter.adapt(task)(asked),
        lambda: plain(features, labels, way, asked, **rates),
    )


def on_images(setting: Setting, mode: dict[str, Any]) -> Measurement:
    """TSA on images of 84 pixels."""
    way, generator = 10, torch.Generator().manual_seed(0)
    network = ResNet18([setting.scaled(width, least=4) for width in (64, 128, 256, 512)]).eval().requires_grad_(False)
    labels = torch.arange(setting.scaled(100, least=way)) % way
    size = setting.scaled(84, least=21)
    images, asked = (torch.rand(2, len(labels), 3, size, size, generator=generator) * 2 - 1).unbind()
    adapter = adapters.load("tsa", backbone=network, **TSA_RATES, **mode)
    task = Support(labels, way, images=images)
    return compared(
        setting.repeats,
        lambda: adapter.adapt(task)(asked),
        lambda: textbook.tsa(network, images, labels, way, asked, **TSA_RATES),
    )


def compared(repeats: int, ours: Callable[[], Tensor], plain: Callable[[], Tensor]) -> Measurement:
    """Seconds of each on THREADS threads; a first run of each is not counted where several are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        if repeats > 1:
            median_seconds(ours, plain, 1)
        seconds = median_seconds(ours, plain, repeats)
    finally:
        torch.set_num_threads(threads)
    return Measurement(seconds[0], "s", seconds[1])
