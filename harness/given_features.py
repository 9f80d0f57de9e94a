"""Runs without any image: features that somebody computed, labels, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
import numpy as np

from backbones.contract import Backbone, BackboneCard
from episodes.errors import BadFeatures
from episodes.feature_files import FeatureRecords, feature_files
from harness.blocks import GivenBackbone
from harness.config import Benchmark, Domain
from harness.domains import OpenDomain, to_run_the_rest
from harness.errors import HarnessError, NoNetwork, unknown
from harness.sources import FromFeatures
from harness.trained_on import TrainedOn

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class FeatureRun(NamedTuple):
    """What features decide of a request: the benchmark, its domains that have some, and what stands for a network."""

    benchmark: Benchmark
    domains: tuple[Domain, ...]
    source: FromFeatures
    backbone: GivenBackbone


class FeatureBackbone:
    """Features of several data sets in the place of the network that made them (`backbones.contract.Backbone`).

    `members`: one for each of the K networks of (n, K, d) features. `vectors`: where `harness.stores` finds what
    need not be computed. `offers`: what adapters can be given.
    """

    offers = frozenset({"features"})

    def __init__(self, card: BackboneCard, records: Sequence[FeatureRecords], member: int | None = None) -> None:
        import torch

        features = records[0].features
        self.name, self.card, self.feature_dim = card.name, card, features.shape[-1]
        self.dtype: torch.dtype = getattr(torch, features.dtype.name)
        networks = features.shape[1] if features.ndim == 3 and member is None else 1
        self.members = (self,) if networks == 1 else tuple(FeatureBackbone(card, records, k) for k in range(networks))
        self.vectors = GivenVectors(records, member or 0)

    @property
    def module(self) -> nn.Module:
        """There is none."""
        raise NoNetwork(f"{self.name} are features that were computed before; for the network give --backbone")

    def embed(self, images: Tensor) -> Tensor:
        """There is no network to embed with."""
        return self.module(images)

    def maps(self, images: Tensor) -> Tensor:
        """There is no network to make maps with."""
        return self.module(images)


class GivenVectors:
    """What `backbones.embeddings.EmbeddingStore` offers for reading, out of files of features; nothing is missing.

    `member`: which of the K networks, where features are (n, K, d).
    """

    def __init__(self, records: Sequence[FeatureRecords], member: int) -> None:
        self._member = member
        self._classes = {data.fingerprint(c): (data, c) for data in records for c in range(len(data.spec.class_names))}

    def missing(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        """None of `records`."""
        return records[:0]

    def load(self, images: Iterable[tuple[str, np.ndarray]]) -> np.ndarray:
        """The vectors of records of class files, in their order: (m, d) float32 (float64 if they are stored so)."""
        return np.concatenate([self._of_class(fingerprint, records) for fingerprint, records in images])

    def _of_class(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        data, class_id = self._classes[fingerprint]
        vectors = data.vectors(class_id, records)
        return vectors if vectors.ndim == 2 else vectors[:, self._member]


def features_run(
    place: Path, benchmark: Benchmark, datasets: tuple[str, ...] | None, split: str, trained_on: TrainedOn | None
) -> FeatureRun:
    """Read the features of the benchmark's domains, or of all data sets that are there if it takes all.

    `datasets`: some domains by name. `trained_on`: what their network was trained on, if that is known. Raises
    BadFeatures naming the file, HarnessError for a name without features and for features that do not fit together.
    """
    files = feature_files(place, split)
    if not benchmark.domains:
        benchmark = msgspec.structs.replace(benchmark, domains=tuple(Domain(name=name) for name in sorted(files)))
    chosen = benchmark.select(datasets)
    domains = tuple(domain for domain in chosen if domain.name in files)
    absent = [domain.name for domain in chosen if domain.name not in files]
    if absent and (datasets is not None or not domains):
        raise unknown(f"features in {place}:", absent[0], files)
    records = {domain.name: _read(domain, domains, files[domain.name], split, benchmark) for domain in domains}
    _check_equal(records)
    source = FromFeatures(
        place.absolute(),
        tuple(OpenDomain(name, data) for name, data in records.items()),
        f"left out {', '.join(absent)}: no features" if absent else "",
    )
    backbone = FeatureBackbone(_card(place, records, trained_on), list(records.values()))
    dtype = next(iter(records.values())).features.dtype.name
    return FeatureRun(benchmark, domains, source, GivenBackbone(cast(Backbone, backbone), dtype))


def _read(domain: Domain, domains: Sequence[Domain], file: Path, split: str, benchmark: Benchmark) -> FeatureRecords:
    try:
        records = FeatureRecords(file, split)
    except BadFeatures as error:
        raise BadFeatures(f"{error}{to_run_the_rest(domains, domain.name)}") from error
    alone = np.flatnonzero(records.spec.images_per_class < 2)
    if len(alone) and benchmark.protocol.min_examples_in_class < 2:
        label = records.spec.class_names[alone[0]]
        raise HarnessError(
            f"{file}: label {label!r} has one vector; a class needs two, for support and query: leave it out, or set "
            f"min_examples_in_class = 2 in the benchmark"
        )
    return records


def _check_equal(records: Mapping[str, FeatureRecords]) -> None:
    """All features are one network's, or those of K networks of one size."""
    kinds = {name: f"{data.features.dtype} {data.features.shape[1:]}" for name, data in records.items()}
    (first, kind), *others = kinds.items()
    for name, other in others:
        if other != kind:
            raise HarnessError(f"features of one network are wanted, but {first} has {kind} and {name} {other}")


def _card(place: Path, records: Mapping[str, FeatureRecords], trained_on: TrainedOn | None) -> BackboneCard:
    contents = [f"{name} {data.content}" for name, data in sorted(records.items())]
    return BackboneCard(
        name=place.stem if place.is_file() else place.resolve().name,
        arch="features",
        weights_sha256=hashlib.sha256("\n".join(contents).encode()).hexdigest(),
        training_data_known=trained_on is not None,
        trained_on={domain: tuple(parts) for domain, parts in (trained_on or {}).items()},
    )
