"""The baseline without a network: an image is its own 16x16 thumbnail."""

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d


class RawPixels(nn.Module):
    """(n, 3, s, s) -> (n, 3 * side * side): block means of each colour, flattened. Has no parameters."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.side, self.feature_dim = side, 3 * side * side

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, 3, side, side)."""
        return adaptive_avg_pool2d(images, self.side)

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).flatten(1)
