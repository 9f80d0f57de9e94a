"""Random tasks of equal or unequal shots, as every theorem and measure wants them."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def random_task():
    """Make (z (n, d), labels (n,)) from a seed: 2 to 6 classes of 1 to 8 samples, in random order."""

    def make(seed, d=8, equal_shots=None):
        rng = np.random.default_rng(seed)
        way = int(rng.integers(2, 7))
        shots = [equal_shots] * way if equal_shots else rng.integers(1, 9, way)
        labels = rng.permutation(np.repeat(np.arange(way), shots))
        centres = rng.normal(size=(way, d)) * rng.uniform(0, 2)
        return centres[labels] + rng.normal(size=(len(labels), d)), labels

    return make
