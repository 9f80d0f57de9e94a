"""ResNet-12 for few-shot learning on 84-pixel images, in the layout of the published RFS and SCL checkpoints.

Four blocks of three 3x3 convolutions (Lee et al. 2019, arXiv:1904.03758, in the widths of Tian et al. 2020,
arXiv:2003.11539, and Ouali et al. 2021, arXiv:2012.13831). An 84-pixel image becomes maps of 42, 21, 10 and 5 pixels.
DropBlock, which these networks are trained with, changes nothing at test and has no parameters; it is not here.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.resnet18 import initialise


class PooledBlock(nn.Module):
    """Three 3x3 convolutions, a shortcut, and 2x2 max-pooling: (n, c_in, h, w) -> (n, c_out, h // 2, w // 2)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv3 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.relu = nn.LeakyReLU(0.1)
        self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.maxpool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.maxpool(self.relu(self.bn3(self.conv3(x)) + shortcut))


class ResNet12(nn.Module):
    """(n, 3, s, s) -> (n, widths[-1]), the mean over the last maps; small negative features occur."""

    def __init__(self, widths: Sequence[int] = (64, 160, 320, 640)) -> None:
        super().__init__()
        self.feature_dim = widths[-1]
        self.layer1 = nn.Sequential(PooledBlock(3, widths[0]))
        self.layer2 = nn.Sequential(PooledBlock(widths[0], widths[1]))
        self.layer3 = nn.Sequential(PooledBlock(widths[1], widths[2]))
        self.layer4 = nn.Sequential(PooledBlock(widths[2], widths[3]))
        initialise(self)

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps before pooling: (n, 3, s, s) -> (n, widths[-1], h, w), 5x5 for 84 pixels."""
        return self.layer4(self.layer3(self.layer2(self.layer1(images))))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))
