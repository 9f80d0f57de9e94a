"""Which classes an episode has and how many images of each: the official Meta-Dataset sampler, draw for draw.

Triantafillou et al. 2020 (arXiv:1903.03096), appendix "Episode sampling", in the form of the released code
(google-research/meta-dataset). For the same `RandomState` the descriptions are identical to that code's, and the
generator is left in the same state.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from episodes.errors import BadProtocol, NotEnoughImages

MAX_SPANNED_LEAVES = 392
"""A node of ImageNet's graph that spans more leaves is never sampled."""
MAX_NUMBER = 2**31 - 1
MAX_LOG_WEIGHT = 100
"""Larger numbers overflow in the sampler's arithmetic, and mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig:
    """The protocol of an episode; the defaults are the official evaluation's (variable way, variable shot).

    `num_ways`, `num_support`, `num_query`: fixed numbers instead of sampled ones; `num_support` may be a range
    (lowest, highest), drawn once per episode. `max_support_size` bounds the whole support set, `max_support_per_class`
    what a class contributes to that bound; the log weights bound the log-uniform factor on a class's share.
    """

    num_ways: int | None = None
    num_support: int | tuple[int, int] | None = None
    num_query: int | None = None
    min_ways: int = 5
    max_ways: int = 50
    max_num_query: int = 10
    max_support_size: int = 500
    max_support_per_class: int = 100
    min_log_weight: float = -0.69314718055994529
    max_log_weight: float = 0.69314718055994529
    min_examples_in_class: int = 0
    ignore_hierarchy: bool = False
    ignore_hierarchy_probability: float = 0.0
    use_all_classes: bool = False

    def __post_init__(self) -> None:
        """Equal configurations get equal fields, whatever they were read from: they are hashed."""
        if isinstance(self.num_support, list):
            object.__setattr__(self, "num_support", tuple(self.num_support))
        for name in ("min_log_weight", "max_log_weight", "ignore_hierarchy_probability"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def max_shots(self) -> int | None:
        """The largest fixed number of support images per class; None when shots are variable."""
        return self.num_support[1] if isinstance(self.num_support, tuple) else self.num_support

    def fault(self) -> str | None:
        """What no episode can be sampled with, naming the key; None if all is well."""
        lowest, highest = self.num_support if isinstance(self.num_support, tuple) else (self.num_support or 0,) * 2
        log_weights, probability = (self.min_log_weight, self.max_log_weight), self.ignore_hierarchy_probability
        rules = (
            ("num_ways", self.num_ways is None or self.num_ways >= 2, "an episode has at least 2 classes"),
            ("min_ways", self.min_ways >= 2, "an episode has at least 2 classes"),
            ("max_ways", self.max_ways >= self.min_ways, "must not be less than min_ways"),
            (
                "num_support",
                self.num_support is None or 1 <= lowest <= highest,
                "at least 1; a range is [lowest, highest]",
            ),
            ("num_query", self.num_query is None or self.num_query >= 1, "at least 1"),
            ("max_num_query", self.max_num_query >= 1, "at least 1"),
            ("max_support_size", self.max_support_size >= 2, "at least 2"),
            ("max_support_per_class", self.max_support_per_class >= 1, "at least 1"),
            ("min_log_weight", abs(log_weights[0]) <= MAX_LOG_WEIGHT, f"must lie within {MAX_LOG_WEIGHT} of 0"),
            ("max_log_weight", abs(log_weights[1]) <= MAX_LOG_WEIGHT, f"must lie within {MAX_LOG_WEIGHT} of 0"),
            ("min_log_weight", log_weights[0] <= log_weights[1], "must not be above max_log_weight"),
            ("min_examples_in_class", self.min_examples_in_class >= 0, "must not be negative"),
            ("ignore_hierarchy_probability", 0 <= probability <= 1, "a probability, from 0 to 1"),
        )
        numbers = ((key, value) for key, value in asdict(self).items() if key != "num_support")
        sizes = (*numbers, ("num_support", highest))
        large = ((key, False, f"at most {MAX_NUMBER}") for key, value in sizes if value and value > MAX_NUMBER)
        wrong = next(((key, rule) for key, holds, rule in (*rules, *large) if not holds), None)
        return f"{wrong[0]} = {getattr(self, wrong[0])}: {wrong[1]}" if wrong else None


@dataclass(frozen=True, slots=True)
class SplitClasses:
    """One split of one data set, resolved; class ids are relative to the split.

    `images_per_class`: (n_classes,) int64. `superclass_sizes`: (n_superclasses,) classes under each superclass, in
    order (bilevel, Omniglot). `spanned_leaves`: the sorted classes under each eligible node (DAG, ImageNet).
    """

    images_per_class: np.ndarray
    superclass_sizes: np.ndarray | None = None
    spanned_leaves: list[list[int]] | None = None


class EpisodeDescription(NamedTuple):
    """`class_ids`: (k,) relative to the split; `num_support`: (k,); `num_query`: images of every class."""

    class_ids: np.ndarray
    num_support: np.ndarray
    num_query: int


class EpisodeSampler:
    """An endless stream of episode descriptions.

    Raises BadProtocol for a configuration that contradicts itself, NotEnoughImages when the split cannot fill it.
    """

    def __init__(self, classes: SplitClasses, config: EpisodeConfig, rng: np.random.RandomState) -> None:
        fault = config.fault()
        if fault is not None:
            raise BadProtocol(fault)
        self._config = config
        self._rng = rng
        self._images = np.asarray(classes.images_per_class, dtype=np.int64)
        self._eligible = np.flatnonzero(self._images >= config.min_examples_in_class)
        bilevel = classes.superclass_sizes is not None and not config.ignore_hierarchy
        dag = classes.spanned_leaves is not None and not config.ignore_hierarchy
        self._superclass_sizes = np.asarray(classes.superclass_sizes).tolist() if bilevel else None
        self._spans = self._eligible_spans(classes.spanned_leaves or []) if dag else None
        self._check(bilevel, dag)
        share = np.array([1.0 - config.ignore_hierarchy_probability, config.ignore_hierarchy_probability]).cumsum()
        self._hierarchy_threshold = share[0] / share[1]

    def sample(self) -> EpisodeDescription:
        """The next episode's classes, support sizes and query size."""
        class_ids = self._sample_classes()
        images = self._images[class_ids]
        num_query = self._num_query(images)
        return EpisodeDescription(class_ids, self._num_support(images, num_query), num_query)

    # --- classes ---------------------------------------------------------------------------------------------------

    def _sample_classes(self) -> np.ndarray:
        if self._spans is None and self._superclass_sizes is None:
            return self._flat_classes()
        # The official code draws this number even when the hierarchy is certain to be used.
        if self._rng.random_sample() >= self._hierarchy_threshold:
            return self._flat_classes()
        return self._dag_classes() if self._spans is not None else self._bilevel_classes()

    def _flat_classes(self) -> np.ndarray:
        config, eligible = self._config, self._eligible
        if config.use_all_classes:
            return eligible.copy()
        way = config.num_ways
        if way is None:
            way = self._draw(config.min_ways, min(config.max_ways, len(eligible)) + 1)
        return self._choose(eligible, way)

    def _dag_classes(self) -> np.ndarray:
        assert self._spans is not None
        leaves = self._spans[self._draw(0, len(self._spans))]
        if len(leaves) <= self._config.max_ways:
            return leaves.copy()
        return self._choose(leaves, self._config.max_ways)

    def _bilevel_classes(self) -> np.ndarray:
        assert self._superclass_sizes is not None
        sizes = self._superclass_sizes
        superclass = self._draw(0, len(sizes))
        size, first = sizes[superclass], sum(sizes[:superclass])
        way = self._draw(self._config.min_ways, min(self._config.max_ways, size) + 1)
        return self._choose(np.arange(first, first + size), way)

    def _draw(self, low: int, high: int) -> int:
        """One of low..high-1. Naming the type saves a third of the time and changes no draw."""
        return int(self._rng.randint(low, high, dtype=np.int64))

    def _choose(self, classes: np.ndarray, way: int) -> np.ndarray:
        """`way` of the classes, as the official `choice(classes, way, replace=False)` draws them: shuffling the classes
        is indexing them with a permutation, in half the time."""
        shuffled = classes.copy()
        self._rng.shuffle(shuffled)
        return shuffled[:way].copy()

    # --- images of each class --------------------------------------------------------------------------------------

    def _num_query(self, images: np.ndarray) -> int:
        config, fewest = self._config, int(np.minimum.reduce(images))
        if config.num_query is not None:
            num_query = config.num_query
        elif config.max_shots is None:
            num_query = min(config.max_num_query, fewest // 2)
        else:
            num_query = min(config.max_num_query, fewest - config.max_shots)
        room = fewest - num_query - (config.max_shots or 1)
        if num_query < 1 or room < 0:
            raise NotEnoughImages(
                f"a sampled class has {fewest} images: too few for "
                f"{config.max_shots or 'at least 1'} support and {config.num_query or 'at least 1'} query images; "
                f"raise min_examples_in_class or lower num_support / num_query"
            )
        return num_query

    def _num_support(self, images: np.ndarray, num_query: int) -> np.ndarray:
        shots, way = self._config.num_support, len(images)
        if shots is None:
            return self._variable_support(images, images - num_query)
        if isinstance(shots, tuple):
            shots = self._draw(shots[0], shots[1] + 1)
        return np.full(way, shots, dtype=np.int64)

    def _variable_support(self, images: np.ndarray, remaining: np.ndarray) -> np.ndarray:
        config, rng, way = self._config, self._rng, len(images)
        if config.max_support_size < way:
            raise NotEnoughImages(f"max_support_size is {config.max_support_size}, but an episode has {way} classes")
        # `uniform(low, high)` spelled out: the same draws and bits, without its checks. What is rounded towards zero
        # here is never negative, so that is the official floor.
        beta = rng.random_sample()
        contributions = (beta * np.minimum(remaining, config.max_support_per_class) + 1).astype(np.int64)
        support_size = min(int(np.add.reduce(contributions)), config.max_support_size)
        low, high = config.min_log_weight, config.max_log_weight
        # Weights multiply the class size, not what is left of it after the query images.
        weights = images * np.exp(low + (high - low) * rng.random_sample(way))
        shares = weights / np.add.reduce(weights)
        shots = (shares * (support_size - way)).astype(np.int64) + 1
        return np.minimum(shots, remaining)

    # --- what the split must offer ---------------------------------------------------------------------------------

    def _eligible_spans(self, spanned_leaves: list[list[int]]) -> list[np.ndarray]:
        allowed = set(self._eligible.tolist())
        spans = [np.array([leaf for leaf in leaves if leaf in allowed], np.int64) for leaves in spanned_leaves]
        return [span for span in spans if self._config.min_ways <= len(span) <= MAX_SPANNED_LEAVES]

    def _check(self, bilevel: bool, dag: bool) -> None:
        config, available = self._config, len(self._eligible)
        if (bilevel or dag) and (config.num_ways is not None or config.use_all_classes):
            raise NotEnoughImages("a fixed number of ways cannot follow a class hierarchy; set ignore_hierarchy = true")
        if bilevel and dag:
            raise NotEnoughImages("a split has superclasses or a class graph, not both")
        if bilevel and config.min_examples_in_class > 0:
            raise NotEnoughImages("min_examples_in_class cannot be used with superclasses; set ignore_hierarchy = true")
        if config.use_all_classes and available < len(self._images):
            raise NotEnoughImages("use_all_classes with min_examples_in_class would drop classes; choose one")
        need = config.num_ways or config.min_ways
        if available < need and not dag:
            enough = f" with at least {config.min_examples_in_class} images" if config.min_examples_in_class else ""
            raise NotEnoughImages(
                f"an episode needs {need} classes; this split has {available}{enough}: choose another --split, or "
                f"build your records with --all-in SPLIT"
            )
        if self._spans is not None and not self._spans:
            raise NotEnoughImages(f"no node of the class graph spans {config.min_ways} to {MAX_SPANNED_LEAVES} classes")
        if self._superclass_sizes is not None and (
            not self._superclass_sizes or min(self._superclass_sizes) < config.min_ways
        ):
            raise NotEnoughImages(f"every superclass must have at least {config.min_ways} classes")
