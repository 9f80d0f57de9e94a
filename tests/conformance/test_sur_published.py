"""sur against the run of the released implementation, in float64."""

import os
from pathlib import Path

import numpy as np
import torch

from adapters import Support, sur

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
VECTORS = SHARED / "conformance" / "adapters"
TOLERANCE = 1e-11


def tensors(file):
    with np.load(VECTORS / file) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def test_sur_has_the_published_weights_losses_and_logits():
    episode, published = tensors("episode_sur_small.npz"), tensors("sur_small_float64.npz")
    labels, way = episode["support_labels"], 5
    support, queries = episode["support"].double(), episode["query"].double()
    losses: list[torch.Tensor] = []
    adapter = sur.SelectingRelevantFeatures()
    selection = sur.select(
        sur.unit_features(support), labels, way, lr=adapter.lr / way, steps=adapter.steps, losses=losses
    )
    close(selection, published["lambdas"])
    close(torch.stack(losses), published["train_loss"])
    logits = adapter.adapt(Support(labels, way, support))(queries)
    close(logits, published["query_logits"])


def close(ours, published):
    torch.testing.assert_close(ours, published, rtol=0, atol=TOLERANCE)
