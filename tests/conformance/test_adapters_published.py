"""ncc, url and copa against every vector of the conformance set."""

import os
from pathlib import Path

import pytest
from published_adapters import FLOAT64, copa_differences, ncc_differences, url_differences, within

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
VECTORS = SHARED / "conformance" / "adapters"


def files(pattern):
    return pytest.mark.parametrize("path", sorted(VECTORS.glob(pattern)), ids=lambda path: path.stem)


@files("url_*_float64.npz")
def test_url_has_the_published_weights_losses_and_logits(path):
    differences = url_differences(path)
    assert within(differences, FLOAT64), differences


@files("copa_*_lr*_float64.npz")
def test_copa_has_the_published_weights_losses_and_logits(path):
    differences = copa_differences(path)
    assert within(differences, FLOAT64), differences


@files("classifiers_*_float64.npz")
def test_ncc_has_the_published_logits_for_both_distances(path):
    differences = ncc_differences(path)
    assert all(value <= 1e-14 for value in differences.values()), differences
