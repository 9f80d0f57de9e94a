"""ResNet-18 with a factor and a shift per channel after its normalisations: what SUR-pnf trains per domain.

Dvornik et al. 2020 (arXiv:2003.09338) keep one network, trained on ImageNet, and give every other domain FiLM layers
(Perez et al. 2018, arXiv:1709.07871) and batch statistics of its own. Names as in the published checkpoints:
`film_normalize` at the image, `film1` and `film2` after the normalisations of each block (not after the stem's or the
shortcut's).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from backbones.resnet18 import BasicBlock, ResNet18


class Film(nn.Module):
    """gamma x + beta per channel: (n, c, h, w) -> (n, c, h, w). Starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels))
        self.beta = nn.Parameter(torch.zeros(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma[:, :, None, None] * x + self.beta[:, :, None, None]


class FilmBlock(BasicBlock):
    """A basic block whose two normalisations are each followed by a FiLM layer."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, stride)
        self.film1, self.film2 = Film(c_out), Film(c_out)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.film1(self.bn1(self.conv1(x))))
        return self.relu(self.film2(self.bn2(self.conv2(x))) + shortcut)


class FilmResNet18(ResNet18):
    """(n, 3, s, s) in [-1, 1] -> (n, widths[-1]); the plain ResNet-18 as long as its FiLM layers are the identity."""

    block: ClassVar[type[BasicBlock]] = FilmBlock

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512), stem_padding: int = 1) -> None:
        super().__init__(widths, stem_padding)
        last = self.layer4  # stays the last child, which is what methods that finetune the last stage train
        del self.layer4
        self.film_normalize, self.layer4 = Film(3), last

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps before pooling: (n, 3, s, s) -> (n, widths[-1], h, w), 6x6 for 84 pixels."""
        return super().maps(self.film_normalize(images))


def is_of_domain(key: str) -> bool:
    """Whether a key of the state dict belongs to the domain's own part, which SUR-pnf saves without the rest."""
    return "film" in key or "running_" in key
