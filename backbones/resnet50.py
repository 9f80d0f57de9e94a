"""ResNet-50 as it is trained on ImageNet, in the layout of torchvision's checkpoints.

Bottleneck blocks 3-4-6-3 (He et al. 2016, arXiv:1512.03385) behind a 7x7 stride-2 stem with max-pooling; a 224-pixel
image becomes maps of 56, 28, 14 and 7 pixels. A stage's stride is at the 3x3 convolution of its first block, as in
torchvision and timm; the paper's networks have it at the 1x1 before. Keys and shapes are the same, so that weights
trained that way load without complaint and give worse features.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.resnet18 import initialise

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: (n, c_in, h, w) -> (n, 4 width, h / stride, w / stride)."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        c_out = EXPANSION * width
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nn.Module):
    """(n, 3, s, s) -> (n, 4 widths[-1]) non-negative features. `widths`: those of the 3x3 convolutions per stage."""

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.feature_dim = EXPANSION * widths[3]
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _layer(widths[0], widths[0], 1, 3)
        self.layer2 = _layer(EXPANSION * widths[0], widths[1], 2, 4)
        self.layer3 = _layer(EXPANSION * widths[1], widths[2], 2, 6)
        self.layer4 = _layer(EXPANSION * widths[2], widths[3], 2, 3)
        initialise(self)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps before pooling: (n, 3, s, s) -> (n, 4 widths[-1], h, w), 7x7 for 224 pixels."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))


def _layer(c_in: int, width: int, stride: int, depth: int) -> nn.Sequential:
    rest = (Bottleneck(EXPANSION * width, width, 1) for _ in range(depth - 1))
    return nn.Sequential(Bottleneck(c_in, width, stride), *rest)
