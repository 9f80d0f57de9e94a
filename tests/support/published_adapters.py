"""How the published runs of adapters are replayed; used on the golden files and on the full conformance set.

Each function takes one file of numbers, finds the episode it belongs to beside it, and returns the largest absolute
differences between those numbers and ours. File names carry the episode and, for CoPA, the rates.
"""

import re
from typing import Any

import numpy as np
import torch

import adapters
from adapters import copa, url
from adapters._batches import batch


def episode_of(path, dtype):
    """(support, queries (m, d)) of the episode that a file of numbers was made on."""
    name = path.name.split("_")[1]
    with np.load(path.parent / f"episode_{name}.npz") as episode:
        features, queries = (torch.from_numpy(episode[key]).to(dtype) for key in ("support", "query"))
        labels = torch.from_numpy(episode["support_labels"])
    return adapters.Support(labels=labels, way=int(labels.max()) + 1, features=features), queries


def largest_difference(ours, published):
    published = torch.from_numpy(published)
    assert ours.shape == published.shape
    return (ours.double() - published).abs().max().item()


def url_differences(path, dtype=torch.float64):
    support, queries = episode_of(path, dtype)
    losses: list[torch.Tensor] = []
    with np.load(path) as published:
        lr, steps = float(published["lr"]), int(published["iters"])
        weight = url.align(batch([support]), lr=lr, steps=steps, losses=losses)[0]
        logits = adapters.load("url", lr=lr, steps=steps).adapt(support)(queries)
        assert torch.equal(logits.argmax(1), torch.from_numpy(published["query_logits"]).argmax(1))
        return {
            "weights": largest_difference(weight, published["weight"]),
            "losses": largest_difference(torch.stack(losses), published["train_loss"]),
            "logits": largest_difference(logits, published["query_logits"]),
        }


def copa_differences(path, dtype=torch.float64):
    support, queries = episode_of(path, dtype)
    [(lr, weight_decay)] = re.findall(r"_lr([\d.e-]+)_wd([\d.]+)_", path.name)
    losses: list[torch.Tensor] = []
    with np.load(path) as published:
        settings: dict[str, Any] = {"lr": float(lr), "weight_decay": float(weight_decay)}
        settings |= {"tau": float(published["tau"]), "steps": int(published["iters"])}
        heads = copa.align(batch([support]), **settings, losses=losses)[:, 0]
        logits = adapters.load("copa", **settings).adapt(support)(queries)
        assert torch.equal(logits.argmax(1), torch.from_numpy(published["query_logits"]).argmax(1))
        heads_published = np.stack([published["weight_feature"], published["weight_prototype"]])
        return {
            "weights": largest_difference(heads, heads_published),
            "losses": largest_difference(torch.stack(losses), published["train_loss"]),
            "logits": largest_difference(logits, published["query_logits"]),
        }


def ncc_differences(path, dtype=torch.float64):
    """Differences relative to the largest logit: squared distances are in the hundreds."""
    support, queries = episode_of(path, dtype)
    differences = {}
    with np.load(path) as published:
        for distance, key in (("cosine", "ncc_cos_logits"), ("l2", "ncc_l2_logits")):
            predictor: Any = adapters.load("ncc", distance=distance).adapt(support)
            largest = np.abs(published[key]).max()
            differences[key] = largest_difference(predictor(queries), published[key]) / largest
            differences["prototypes"] = largest_difference(predictor.prototypes, published["prototypes"])
    return differences


FLOAT64 = {"weights": 1e-12, "losses": 1e-14, "logits": 1e-13}
URL_FLOAT32 = {"weights": 1e-6, "losses": 1e-6, "logits": 1e-5}
COPA_FLOAT32 = {"weights": 1e-4, "losses": 2e-6, "logits": 1e-4}


def within(differences, tolerances):
    return all(differences[key] <= tolerances[key] for key in tolerances)
