"""Every measure of one adapted episode, as a row."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from results.analysis.alignment import alignment, prototype_statistics, uniformity
from results.analysis.clusters import davies_bouldin
from results.analysis.gap import gap_norm
from results.analysis.gap_and_loss import cross_entropy, gap_and_loss
from results.analysis.nemd import nemd
from results.analysis.spectra import spectrum


class Representation(NamedTuple):
    """One episode as a method represents it; labels are 0..way-1."""

    support: np.ndarray  # (n, d)
    labels: np.ndarray  # (n,)
    prototypes: np.ndarray  # (way, d)
    queries: np.ndarray  # (m, d)
    query_labels: np.ndarray  # (m,)
    logits: np.ndarray  # (m, way)


class Measured(NamedTuple):
    """`numbers`: see MEASURES; `sweep`: shift, gap, loss; `singular_values` and `explained` (d,): see Spectrum."""

    numbers: dict[str, float]
    sweep: pd.DataFrame
    singular_values: np.ndarray
    explained: np.ndarray


GAPS = {
    "gap": "at length one, every prototype counted once",
    "gap_by_sample": "at length one, prototypes counted as often as their class has samples",
    "gap_raw": "as they are, every prototype counted once",
    "gap_raw_by_sample": "as they are, prototypes counted by samples: 0 for class means",
}
"""How the vectors of each definition of the gap are averaged; CoPA's figures fit the first."""
MEASURES = {
    **{name: f"gap between prototypes and images, vectors averaged {how}" for name, how in GAPS.items()},
    "nemd": "mean earth mover's distance between classes on the unit sphere",
    "spread": "mean distance from the class mean on the unit sphere",
    "nemd_over_spread": "nemd / spread",
    "effective_rank": "of unit vectors; near 1: collapsed",
    "alignment": "mean squared distance within classes",
    "uniformity": "log of the mean exp(-2 squared distance) over all pairs; lower is more even",
    "davies_bouldin": "Davies-Bouldin index; lower is better",
    "components_80": "principal components that hold 80% of the variance",
    "prototype_max_cos": "largest cosine between two prototypes",
    "prototype_min_cos": "smallest cosine between two prototypes",
    "prototype_mean_cos": "mean cosine between prototypes",
    "prototype_uniformity": "uniformity of the prototypes",
    "loss": "cross-entropy of the queries",
    "accuracy": "fraction of the queries that are right",
}
"""What each number of a row is; all but the last two are of the support set."""


def measure(episode: Representation, *, seed: int = 0) -> Measured:
    """All numbers of one episode. `seed`: for the pairs and points that NEMD draws; give each episode its own."""
    z, c, labels = episode.support, episode.prototypes, episode.labels
    distances, variance, prototypes = nemd(z, labels, seed=seed), spectrum(z), prototype_statistics(c)
    numbers = {
        "gap": gap_norm(z, c),
        "gap_by_sample": gap_norm(z, c, weighting="sample", labels=labels),
        "gap_raw": gap_norm(z, c, normalize=False),
        "gap_raw_by_sample": gap_norm(z, c, normalize=False, weighting="sample", labels=labels),
        "nemd": distances.nemd,
        "spread": distances.spread,
        "nemd_over_spread": distances.ratio,
        "effective_rank": distances.effective_rank,
        "alignment": alignment(z, labels),
        "uniformity": uniformity(z),
        "davies_bouldin": davies_bouldin(z, labels),
        "components_80": float(variance.components_80),
        "prototype_max_cos": prototypes.max_cos,
        "prototype_min_cos": prototypes.min_cos,
        "prototype_mean_cos": prototypes.mean_cos,
        "prototype_uniformity": prototypes.uniformity,
        "loss": cross_entropy(episode.logits, episode.query_labels),
        "accuracy": float(np.mean(episode.logits.argmax(1) == episode.query_labels)),
    }
    sweep = gap_and_loss(z, c, episode.queries, episode.query_labels)
    return Measured(numbers, sweep, variance.singular_values, variance.explained)
