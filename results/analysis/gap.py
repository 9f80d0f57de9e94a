"""The gap between prototypes and images: how far apart the centres of the two kinds of representation are.

Tian, Liu, Zhou, Liu, Zhang, Han: Mind the Gap Between Prototypes and Images in Cross-domain Finetuning (NeurIPS 2024,
arXiv:2410.12474), after Liang et al.: Mind the Gap, on modalities (NeurIPS 2022, arXiv:2203.02053).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from results.analysis.vectors import labels_of, rows_of, shots_of, unit
from results.errors import AnalysisError

Weighting = Literal["class", "sample"]


def gap_vector(
    z: ArrayLike,
    c: ArrayLike,
    *,
    normalize: bool = True,
    weighting: Weighting = "class",
    labels: ArrayLike | None = None,
) -> np.ndarray:
    """Mean of the images z (n, d) minus mean of the prototypes c (way, d): (d,).

    `normalize`: rows are set to length one first, prototypes after they were averaged. `weighting`: each prototype
    counts once ("class", the paper's definition), or as often as its class has samples ("sample", as where prototypes
    are repeated for each image; needs `labels` (n,) in 0..way-1).

    Raises AnalysisError for arrays that do not fit, and for "sample" without labels.
    """
    images, prototypes = (unit(z), unit(c)) if normalize else (rows_of(z), rows_of(c))
    if images.shape[1] != prototypes.shape[1]:
        raise AnalysisError(f"images of {images.shape[1]} dimensions and prototypes of {prototypes.shape[1]}")
    if weighting == "class":
        return images.mean(0) - prototypes.mean(0)
    if labels is None:
        raise AnalysisError("weighting='sample' needs the labels of the images")
    shots = shots_of(labels_of(labels, len(images)), len(prototypes))
    return images.mean(0) - shots @ prototypes / len(images)


def gap_norm(
    z: ArrayLike,
    c: ArrayLike,
    *,
    normalize: bool = True,
    weighting: Weighting = "class",
    labels: ArrayLike | None = None,
) -> float:
    """Euclidean length of `gap_vector`; with `normalize` at most 2.

    The paper's figures print values up to 1.77, which fits `normalize=True`; its code is not published.

    Without normalisation, prototypes that are plain class means of z leave no gap: it is 0 with weighting="sample" in
    every task, and with weighting="class" in every task of equal shots. One shared linear map changes nothing in that.
    With unit length, a class of one shot whose prototype is its image adds nothing either.
    """
    return float(np.linalg.norm(gap_vector(z, c, normalize=normalize, weighting=weighting, labels=labels)))
