"""Cosine scores between samples and prototypes with their gradient by hand: what URL and CoPA descend on.

Write z_i for the n embedded samples, p_c for the embedded prototypes, s_ci = cos(p_c, z_i) and g_ci = dL/ds_ci. From
s_ci = p_c.z_i / (|p_c| |z_i|) follow

    dL/dz_i = sum_c g_ci / (|p_c| |z_i|) p_c  -  (sum_c g_ci s_ci) / |z_i|^2  z_i

and the same for p_c with the roles exchanged: two products with (way, n) weights and one multiple of each vector
itself. Nothing is larger than (n + way, d) or (way, n). Samples and prototypes are the rows of one tensor [z; p],
so that a linear map and its gradient cost one matrix product each. Scores are (way, n) and not (n, way) because
softmax is several times faster along a first or a long last dimension than along a last dimension of five.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NORM_FLOOR = 1e-15  # 1/floor^2 is still finite in float32, so that a zero vector gets a zero gradient and not NaN


class CosineScores:
    """The buffers of one descent: write `embedded`, call `forward`, then `backward`, then read `gradient`.

    All tensors hold several tasks, along their first dimension.
    """

    def __init__(self, tasks: int, n: int, way: int, d: int, like: Tensor):
        self.embedded = like.new_empty(tasks, n + way, d)
        self.gradient = like.new_empty(tasks, n + way, d)  # dL/d(embedded)
        self.samples, self.prototypes = self.embedded[:, :n], self.embedded[:, n:]
        self.samples_gradient, self.prototypes_gradient = self.gradient[:, :n], self.gradient[:, n:]
        self._inverse_norms = like.new_empty(tasks, n + way, 1)
        self._by_sample, self._by_class = self._inverse_norms[:, :n].mT, self._inverse_norms[:, n:]  # as scores
        self._samples_t = self.samples.mT

    def forward(self) -> Tensor:
        """cos(p_c, z_i) of all pairs, (tasks, way, n)."""
        torch.linalg.vector_norm(self.embedded, dim=2, keepdim=True, out=self._inverse_norms)
        self._inverse_norms.clamp_min_(_NORM_FLOOR).reciprocal_()
        self._scores = torch.bmm(self.prototypes, self._samples_t).mul_(self._by_sample).mul_(self._by_class)
        return self._scores

    def backward(self, score_gradient: Tensor) -> None:
        """dL/dscores (tasks, way, n) -> `gradient`. Uses up score_gradient."""
        along = score_gradient * self._scores
        own = torch.cat([along.sum(1), along.sum(2)], 1)[:, :, None]
        own.mul_(self._inverse_norms).mul_(self._inverse_norms)
        weights = score_gradient.mul_(self._by_sample).mul_(self._by_class)
        torch.bmm(weights.mT, self.prototypes, out=self.samples_gradient)
        torch.bmm(weights, self.samples, out=self.prototypes_gradient)
        self.gradient.addcmul_(self.embedded, own, value=-1)
