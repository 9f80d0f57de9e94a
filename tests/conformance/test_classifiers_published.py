"""knn, logistic, svm and mahalanobis against every vector of the conformance set."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from published_adapters import episode_of, largest_difference

import adapters

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
FILES = sorted((SHARED / "conformance" / "adapters").glob("classifiers_*_float64.npz"))
DECISIONS = {
    "knn_pred": ("knn", {}),
    "lr_pred": ("logistic", {}),
    "lr_l2norm_pred": ("logistic", {"unit_length": True}),
    "svm_pred": ("svm", {}),
    "svm_l2norm_pred": ("svm", {"unit_length": True}),
}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_file
@pytest.mark.parametrize("key", DECISIONS)
def test_classifiers_take_the_published_decisions(path, key):
    name, settings = DECISIONS[key]
    support, queries = episode_of(path, torch.float64)
    decided = adapters.load(name, **settings).adapt(support)(queries).argmax(1)
    with np.load(path) as published:
        assert decided.tolist() == published[key].tolist()


@every_file
def test_mahalanobis_with_the_quirk_has_the_published_logits(path):
    support, queries = episode_of(path, torch.float64)
    logits = adapters.load("mahalanobis", one_shot_quirk=True).adapt(support)(queries)
    with np.load(path) as published:
        largest = np.abs(published["scm_logits"]).max()
        assert largest_difference(logits, published["scm_logits"]) <= 1e-13 * largest
