"""ncc, url and copa give the published implementations' numbers, on the vectors that are shipped with the tests."""

import torch
from published_adapters import (
    COPA_FLOAT32,
    FLOAT64,
    URL_FLOAT32,
    copa_differences,
    ncc_differences,
    url_differences,
    within,
)


def replay(golden, pattern, compare, count, **kwargs):
    files = sorted((golden / "adapters").glob(pattern))
    assert len(files) == count
    return {file.name: compare(file, **kwargs) for file in files}


def test_url_has_the_published_weights_losses_and_logits(golden):
    differences = replay(golden, "url_*.npz", url_differences, 3)
    assert all(within(case, FLOAT64) for case in differences.values()), differences


def test_copa_has_the_published_weights_losses_and_logits(golden):
    differences = replay(golden, "copa_*.npz", copa_differences, 3)
    assert all(within(case, FLOAT64) for case in differences.values()), differences


def test_url_in_float32_stays_within_the_measured_tolerance(golden):
    differences = replay(golden, "url_*.npz", url_differences, 3, dtype=torch.float32)
    assert all(within(case, URL_FLOAT32) for case in differences.values()), differences


def test_copa_in_float32_stays_within_the_measured_tolerance(golden):
    differences = replay(golden, "copa_*.npz", copa_differences, 3, dtype=torch.float32)
    assert all(within(case, COPA_FLOAT32) for case in differences.values()), differences


def test_ncc_has_the_published_logits_for_both_distances(golden):
    differences = replay(golden, "classifiers_*.npz", ncc_differences, 2)
    assert all(value <= 1e-14 for case in differences.values() for value in case.values()), differences
