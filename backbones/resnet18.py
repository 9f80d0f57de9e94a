"""ResNet-18 for small images, in the layout of the published URL and SDL checkpoints, and ResNet-34 like it.

Basic blocks 2-2-2-2 or 3-4-6-3 (He et al. 2016, arXiv:1512.03385) behind a 5x5 stride-2 stem without max-pooling, as in
URL (Li et al. 2021, arXiv:2103.13841). An 84-pixel image becomes maps of 41, 21, 11 and 6 pixels (stem padding 1).
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (n, c_in, h, w) -> (n, c_out, h / stride, w / stride), non-negative."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    """(n, 3, s, s) in [-1, 1] -> (n, widths[-1]) non-negative features, the mean over the last maps.

    `stem_padding`: the released test code of URL, TSA and CoPA builds the net with 1; the class their multi-domain
    checkpoint was trained with used 2. Both have equal parameter shapes, so nothing but this option tells them apart.
    """

    block: ClassVar[type[BasicBlock]] = BasicBlock
    depths: ClassVar = (2, 2, 2, 2)

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512), stem_padding: int = 1) -> None:
        super().__init__()
        self.feature_dim = widths[-1]
        self.conv1 = nn.Conv2d(3, widths[0], 5, 2, stem_padding, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._layer(widths[0], widths[0], 1, self.depths[0])
        self.layer2 = self._layer(widths[0], widths[1], 2, self.depths[1])
        self.layer3 = self._layer(widths[1], widths[2], 2, self.depths[2])
        self.layer4 = self._layer(widths[2], widths[3], 2, self.depths[3])
        initialise(self)

    def _layer(self, c_in: int, c_out: int, stride: int, depth: int) -> nn.Sequential:
        return nn.Sequential(self.block(c_in, c_out, stride), *(self.block(c_out, c_out, 1) for _ in range(depth - 1)))

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps before pooling: (n, 3, s, s) -> (n, widths[-1], h, w), 6x6 for 84 pixels."""
        x = self.relu(self.bn1(self.conv1(images)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))


class ResNet34(ResNet18):
    """The same stem, stages and features with 16 blocks in place of 8."""

    depths: ClassVar = (3, 4, 6, 3)


def initialise(network: nn.Module) -> None:
    """Kernels drawn as He et al. 2015 (arXiv:1502.01852) do, by fan-out; normalisations start as torch makes them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
