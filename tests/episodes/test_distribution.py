"""Ways, shots and images of 10,000 episodes against the law they are drawn from.

`episodes_by_the_law` is that law once more, in its plainest form and with its faults to choose from: every test holds
the sampler to exact probabilities, and shows that it would notice a sampler with a fault. Seeds are fixed, so p-values
are numbers, not luck.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from episodes.errors import NotEnoughImages
from episodes.plan import ClassCursor, plan_domain
from episodes.sampling import EpisodeConfig, EpisodeDescription, EpisodeSampler, SplitClasses
from episodes.spec import DatasetSpec

EPISODES = 10_000
ALPHA = 1e-4
"""A p-value above this is the law's, one below it a fault's."""


def episodes_by_the_sampler(classes, config, fault):
    assert fault is None
    sampler = EpisodeSampler(classes, config, np.random.RandomState(2020))
    return [sampler.sample() for _ in range(EPISODES)]


def episodes_by_the_law(classes, config, fault):
    rng = np.random.default_rng(7)
    described = []
    for _ in range(EPISODES):
        ids = _classes_by_the_law(classes, config, rng, fault)
        x = classes.images_per_class[ids].astype(float)
        q = min(config.max_num_query, int(x.min() // 2))
        remaining, k = x - q, len(ids)
        beta = rng.uniform()
        contributed = beta * np.minimum(config.max_support_per_class, remaining) + 1
        size = (np.rint if fault == "rounded" else np.floor)(contributed).sum()
        size = size if fault == "unbounded" else min(size, config.max_support_size)
        factors = np.exp(rng.uniform(config.min_log_weight, config.max_log_weight, k))
        if fault == "uniform factors":
            factors = rng.uniform(np.exp(config.min_log_weight), np.exp(config.max_log_weight), k)
        weights = (remaining if fault == "weights of the remaining" else x) * factors
        shots = np.minimum(np.floor(weights / weights.sum() * (size - k)) + 1, remaining)
        described.append(EpisodeDescription(ids, shots.astype(int), q))
    return described


def _classes_by_the_law(classes, config, rng, fault):
    sizes, spans, n = classes.superclass_sizes, classes.spanned_leaves, len(classes.images_per_class)
    if spans is not None:
        lengths = np.array([len(span) for span in spans])
        node = np.array(spans[rng.choice(len(spans), p=lengths / lengths.sum() if fault == "by size" else None)])
        if len(node) <= config.max_ways:
            return node
        return node[: config.max_ways] if fault == "first leaves" else rng.permutation(node)[: config.max_ways]
    first = 0
    if sizes is not None:
        chosen = rng.choice(len(sizes), p=sizes / sizes.sum() if fault == "by size" else None)
        first, n = sizes[:chosen].sum(), sizes[chosen]
    highest = min(config.max_ways, n) - (fault == "ways off by one")
    way = rng.integers(config.min_ways, highest, endpoint=True)
    return first + rng.permutation(n - (fault == "last class forgotten"))[:way]


@cache
def drawn(case, fault, config):
    """10,000 episodes of a case: the sampler's, or the law's own with a fault ("none" for the plain law)."""
    make = episodes_by_the_sampler if fault is None else episodes_by_the_law
    return make(CASES[case], config, fault)


CASES = {
    "12 classes": SplitClasses(np.full(12, 40)),
    "70 classes": SplitClasses(np.full(70, 40)),
    "superclasses": SplitClasses(np.full(94, 20), superclass_sizes=np.array([6, 8, 20, 60])),
    "nodes": SplitClasses(
        np.full(100, 30), spanned_leaves=[list(range(5)), list(range(5, 17)), list(range(17, 40)), list(range(40, 100))]
    ),
    "5 large": SplitClasses(np.full(5, 1000)),
    "10 large": SplitClasses(np.full(10, 1000)),
    "huge": SplitClasses(np.array([2_000_000, 10**8, 10**8, 10**8, 10**8])),
    "uneven": SplitClasses(np.array([6, 9, 15, 22, 40, 80, 150, 400, 1000, 3000])),
}
DEFAULT = EpisodeConfig()


def uniform(values, lowest, highest):
    """p-value of `values` being uniform on the whole numbers lowest..highest."""
    values = np.asarray(values)
    if not ((values >= lowest) & (values <= highest)).all():
        return 0.0
    return stats.chisquare(np.bincount(values - lowest, minlength=highest - lowest + 1)).pvalue


def equally_likely(times_chosen, chosen_at_once):
    """p-value of n things being chosen equally often: (n,) counts over draws of `chosen_at_once` things each.

    A draw takes k of n without replacement, so the counts' covariance is sum k/n (1 - k/n) n/(n-1) (I - 11'/n).
    """
    n, k = len(times_chosen), np.asarray(chosen_at_once)
    variance = (k / n * (1 - k / n)).sum() * n / (n - 1)
    distance = ((times_chosen - k.sum() / n) ** 2).sum()
    return 1.0 if distance == 0 else stats.chi2.sf(distance / variance, n - 1)


def held(p_value_of, *faults):
    """The sampler follows the law, so does the plain form of it, and none of the faults does."""
    assert p_value_of(None) > ALPHA
    assert p_value_of("none") > ALPHA
    for fault in faults:
        assert p_value_of(fault) < ALPHA, fault


# --- ways and classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "highest"), [("12 classes", 12), ("70 classes", 50)])
def test_ways_are_uniform_from_5_to_50_or_all_classes(case, highest):
    def p_value(fault):
        return uniform([len(d.class_ids) for d in drawn(case, fault, DEFAULT)], 5, highest)

    held(p_value, "ways off by one")


@pytest.mark.parametrize("case", ["12 classes", "70 classes"])
def test_every_class_is_equally_likely(case):
    def p_value(fault):
        ids = [d.class_ids for d in drawn(case, fault, DEFAULT)]
        counts = np.bincount(np.concatenate(ids), minlength=len(CASES[case].images_per_class))
        return equally_likely(counts, [len(i) for i in ids])

    held(p_value, "last class forgotten")


@cache
def _by_superclass(fault):
    sizes = CASES["superclasses"].superclass_sizes
    first = np.cumsum(sizes) - sizes
    ids = [d.class_ids for d in drawn("superclasses", fault, DEFAULT)]
    of = np.searchsorted(first, [i[0] for i in ids], side="right") - 1
    return [[i - first[s] for i, o in zip(ids, of, strict=True) if o == s] for s in range(len(sizes))]


def test_every_superclass_is_equally_likely_whatever_its_size():
    held(lambda fault: stats.chisquare([len(ids) for ids in _by_superclass(fault)]).pvalue, "by size")


@pytest.mark.parametrize(("superclass", "size"), [(1, 8), (2, 20), (3, 60)])
def test_ways_and_classes_within_a_superclass_are_uniform(superclass, size):
    held(
        lambda fault: uniform([len(ids) for ids in _by_superclass(fault)[superclass]], 5, min(50, size)),
        "ways off by one",
    )

    def p_value(fault):
        ids = _by_superclass(fault)[superclass]
        return equally_likely(np.bincount(np.concatenate(ids), minlength=size), [len(i) for i in ids])

    held(p_value, "last class forgotten")


@cache
def _by_node(fault):
    first = [span[0] for span in CASES["nodes"].spanned_leaves]
    ids = [d.class_ids for d in drawn("nodes", fault, DEFAULT)]
    of = np.searchsorted(first, [i[0] for i in ids], side="right") - 1
    return [[i for i, o in zip(ids, of, strict=True) if o == node] for node in range(len(first))]


def test_every_node_is_equally_likely_and_gives_all_its_leaves_up_to_50():
    held(lambda fault: stats.chisquare([len(ids) for ids in _by_node(fault)]).pvalue, "by size")
    spans = CASES["nodes"].spanned_leaves
    for node, ids in enumerate(_by_node(None)):
        assert {len(i) for i in ids} == {min(50, len(spans[node]))}


def test_of_a_node_with_more_than_50_leaves_every_leaf_is_equally_likely():
    def p_value(fault):
        ids = _by_node(fault)[3]
        return equally_likely(np.bincount(np.concatenate(ids) - 40, minlength=60), [50] * len(ids))

    held(p_value, "first leaves")


# --- shots -----------------------------------------------------------------------------------------------------------


def test_without_weights_shots_are_uniform_up_to_100_and_bounded_by_500_in_all():
    """Of equal classes each gets floor(100 beta + 1), as long as that is not more than its part of 500."""

    def shots(case, fault, **config):
        described = drawn(case, fault, replace(DEFAULT, min_log_weight=0.0, max_log_weight=0.0, **config))
        assert all(np.ptp(d.num_support) == 0 for d in described)
        return [int(d.num_support[0]) for d in described]

    held(lambda fault: uniform(shots("5 large", fault, max_support_size=1000), 1, 100), "rounded")

    def p_value(fault):
        counts = np.bincount(shots("10 large", fault, min_ways=10), minlength=51)[1:]
        bounded = np.array([0.01] * 49 + [0.51]) * EPISODES
        return stats.chisquare(counts, bounded).pvalue if len(counts) == 50 else 0.0

    held(p_value, "unbounded")


def test_weights_are_class_sizes_times_log_uniform_factors():
    """With far more images than shots, the log of two classes' shots per image is a difference of two uniforms."""
    config = replace(DEFAULT, max_num_query=10**8, max_support_size=100_000, max_support_per_class=10**8)

    def p_value(fault):
        logs = []
        for d in drawn("huge", fault, config):
            shots = dict(zip(d.class_ids.tolist(), d.num_support.tolist(), strict=True))
            logs.append(np.log(shots[0] / 2_000_000) - np.log(shots[1] / 10**8))
        return stats.kstest(logs, stats.triang(0.5, -2 * np.log(2), 4 * np.log(2)).cdf).pvalue

    held(p_value, "uniform factors", "weights of the remaining")


@pytest.mark.parametrize("case", ["uneven", "superclasses", "nodes"])
def test_support_sizes_and_shots_follow_the_law_on_classes_of_all_sizes(case):
    """Two samples, since there is no closed form: of images in the support set, and of shots of its first class."""

    def p_value(fault):
        described, lawful = drawn(case, fault, DEFAULT), drawn(case, "none" if fault is None else None, DEFAULT)
        totals = [[int(d.num_support.sum()) for d in sample] for sample in (described, lawful)]
        shots = [[int(d.num_support[d.class_ids.argmin()]) for d in sample] for sample in (described, lawful)]
        return min(stats.ks_2samp(*totals).pvalue, stats.ks_2samp(*shots).pvalue)

    held(p_value, "weights of the remaining" if case == "uneven" else "by size")


# --- images ----------------------------------------------------------------------------------------------------------

COUNTS = (36, 40, 44, 60, 90)


def spec_of(counts, **hierarchy):
    n = len(counts)
    names = tuple(map(str, range(n)))
    return DatasetSpec("set", np.asarray(counts), {"test": range(n)}, names, digest="digest", **hierarchy)


@cache
def long_plan():
    return plan_domain("set", spec_of(COUNTS), split="test", protocol=DEFAULT, seed=3, tasks=EPISODES)


class _SameOrderEveryEpoch:
    """A fault: the class is shuffled once for all."""

    def __init__(self, root, class_id, images):
        self._order, self._at = ClassCursor(root, class_id, images).take(images), images

    def take(self, count):
        self._at = 0 if self._at + count > len(self._order) else self._at
        self._at += count
        return self._order[self._at - count : self._at]


def _image_counts(class_id, make_cursor):
    """How often each image is support and query, and how many of either each epoch hands out."""
    plan, n = long_plan(), COUNTS[class_id]
    queries = plan.num_query.repeat(plan.ways)[plan.class_ids == class_id]
    shots = plan.num_support[plan.class_ids == class_id]
    cursor = make_cursor(b"root", class_id, n)
    counts, per_epoch, position = np.zeros((2, n)), [], n
    for s, q in zip(shots.tolist(), queries.tolist(), strict=True):
        taken = cursor.take(s + q)
        counts[0, taken[:s]] += 1
        counts[1, taken[s:]] += 1
        if position + s + q > n:
            per_epoch.append([0, 0])
            position = 0
        position += s + q
        per_epoch[-1][0] += s
        per_epoch[-1][1] += q
    return counts, np.array(per_epoch)


@pytest.mark.parametrize("class_id", [0, 3, 4])
def test_every_image_of_a_class_is_equally_likely_support_and_query(class_id):
    """Within an epoch, the class's support images are a random subset of it; so are its query images."""

    def p_values(make_cursor):
        counts, per_epoch = _image_counts(class_id, make_cursor)
        return [equally_likely(counts[part], per_epoch[:, part]) for part in (0, 1)]

    assert min(p_values(ClassCursor)) > ALPHA
    assert max(p_values(_SameOrderEveryEpoch)) < ALPHA
    assert max(p_values(lambda *given: ClassCursor(*given, shuffle=False))) < ALPHA


def test_every_image_of_a_plan_is_equally_likely_support_and_query():
    """The same of the plan itself; its epochs are those of the cursors above."""
    plan = long_plan()
    counts = [np.zeros((2, n)) for n in COUNTS]
    for task in range(EPISODES):
        e = plan.episode(task)
        for class_id, found in enumerate(counts):
            found[0, e.support_records[e.support_classes == class_id]] += 1
            found[1, e.query_records[e.query_classes == class_id]] += 1
    for class_id, found in enumerate(counts):
        _, per_epoch = _image_counts(class_id, ClassCursor)
        for part in (0, 1):
            assert equally_likely(found[part], per_epoch[:, part]) > ALPHA


shots_of_any_kind = st.one_of(
    st.none(), st.integers(1, 6), st.tuples(st.integers(1, 3), st.integers(0, 4)).map(lambda t: (t[0], t[0] + t[1]))
)
configs = st.builds(
    EpisodeConfig,
    num_support=shots_of_any_kind,
    num_query=st.none() | st.integers(1, 12),
    min_ways=st.integers(2, 5),
    max_ways=st.integers(5, 12),
    max_num_query=st.integers(1, 15),
    max_support_size=st.integers(12, 600),
    max_support_per_class=st.integers(1, 120),
    ignore_hierarchy_probability=st.sampled_from([0.0, 0.5]),
)


@st.composite
def specs(draw):
    superclasses = draw(st.lists(st.integers(5, 9), min_size=1, max_size=3))
    n = sum(superclasses)
    counts = draw(st.lists(st.integers(2, 60), min_size=n, max_size=n))
    kind = draw(st.sampled_from(["flat", "bilevel", "dag"]))
    if kind == "bilevel":
        return spec_of(counts, superclass_sizes={"test": np.array(superclasses)})
    if kind == "dag":
        spans = draw(st.lists(st.sets(st.integers(0, n - 1), min_size=5).map(sorted), min_size=1, max_size=4))
        return spec_of(counts, spans={"test": spans})
    return spec_of(counts)


@settings(max_examples=150)
@given(spec=specs(), config=configs, seed=st.integers(0, 2**63 - 1))
def test_no_image_is_twice_in_an_episode_whatever_the_spec_and_the_protocol(spec, config, seed):
    try:
        plan = plan_domain("set", spec, split="test", protocol=config, seed=seed, tasks=4)
    except NotEnoughImages:
        assume(False)
    for task in range(len(plan)):
        e = plan.episode(task)
        support = set(zip(e.support_classes.tolist(), e.support_records.tolist(), strict=True))
        query = set(zip(e.query_classes.tolist(), e.query_records.tolist(), strict=True))
        assert not support & query
        assert (len(support), len(query)) == (len(e.support_labels), len(e.query_labels))
        assert all(0 <= record < spec.images_per_class[c] for c, record in support | query)


# --- what a plan does not depend on ----------------------------------------------------------------------------------

SPANS = [list(range(6)), list(range(2, 30)), [1, 5, 9, 13, 17, 21]]


def three_kinds(dtype=np.int64):
    """The same 30 classes flat, bilevel and as a graph."""
    counts = np.arange(30, 60).astype(dtype)
    return {
        "flat": spec_of(counts),
        "bilevel": spec_of(counts, superclass_sizes={"test": np.array([12, 18], dtype)}),
        "dag": spec_of(counts, spans={"test": SPANS}),
    }


def hash_of(name, spec, tasks=8):
    return plan_domain(name, spec, split="test", protocol=DEFAULT, seed=1, tasks=tasks).hashes[-1]


def all_hashes(names=("flat", "bilevel", "dag"), dtype=np.int64):
    return {name: hash_of(name, three_kinds(dtype)[name]) for name in names}


PLAN_ALL_KINDS = """
import sys
from pathlib import Path
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import load_spec
for kind in ("flat", "bilevel", "dag"):
    spec = load_spec(Path(sys.argv[1]) / f"{kind}_tiny")
    print(plan_domain(kind, spec, split="test", protocol=EpisodeConfig(), seed=1, tasks=20).hashes)
"""


def test_the_hash_seed_of_python_does_not_matter(golden):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PLAN_ALL_KINDS, golden / "episodes/records"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for seed in ("0", "4711")
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert first == second
    assert len(first.splitlines()) == 3


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_counts_of_another_integer_size_give_the_same_plan(dtype):
    assert all_hashes(dtype=dtype) == all_hashes()


class _NarrowIntegers(np.random.RandomState):
    """NumPy where a C long has 32 bits."""

    def randint(self, low, high=None, size=None, dtype=np.int32):
        return super().randint(low, high, size, dtype)

    def permutation(self, x):
        return super().permutation(x).astype(np.int32)


@pytest.mark.parametrize("kind", ["flat", "bilevel", "dag"])
def test_episodes_are_the_same_where_numpys_integers_are_small(kind):
    classes = three_kinds()[kind].split("test")
    narrow, wide = (EpisodeSampler(classes, DEFAULT, state(5)) for state in (_NarrowIntegers, np.random.RandomState))
    for _ in range(50):
        a, b = narrow.sample(), wide.sample()
        assert (a.class_ids.tolist(), a.num_support.tolist(), a.num_query) == (
            b.class_ids.tolist(),
            b.num_support.tolist(),
            b.num_query,
        )


def test_nor_do_the_order_of_domains_the_workers_or_numpys_global_generator():
    expected = all_hashes()
    np.random.seed(99)
    assert all_hashes(("dag", "flat", "bilevel")) == expected
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            hashes = pool.map(lambda item: hash_of(*item), three_kinds().items())
            assert dict(zip(expected, hashes, strict=True)) == expected
