import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from official import different_descriptions

from episodes.errors import BadProtocol, NotEnoughImages
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses


def sampler(classes, seed=0, **config):
    if not isinstance(classes, SplitClasses):
        classes = SplitClasses(np.array(classes))
    return EpisodeSampler(classes, EpisodeConfig(**config), np.random.RandomState(seed))


def test_descriptions_equal_the_official_samplers(golden):
    cases = json.loads((golden / "episodes/synthetic_specs.json").read_text())["cases"]
    assert [different_descriptions(case) for case in cases] == [0] * len(cases)
    assert len(cases) == 13


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(2, 400), min_size=5, max_size=70),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_episode_keeps_the_limits_of_the_protocol(counts, seed):
    config = EpisodeConfig()
    stream = sampler(counts, seed)
    for _ in range(5):
        class_ids, num_support, num_query = stream.sample()
        images = np.array(counts)[class_ids]
        assert len(set(class_ids.tolist())) == len(class_ids)
        assert config.min_ways <= len(class_ids) <= config.max_ways
        assert 1 <= num_query <= config.max_num_query
        assert num_support.min() >= 1
        assert num_support.sum() <= config.max_support_size
        assert (num_support + num_query <= images).all()


def test_same_seed_gives_the_same_episodes():
    first, second = sampler([50] * 20, seed=3), sampler([50] * 20, seed=3)
    for _ in range(10):
        a, b = first.sample(), second.sample()
        assert a.class_ids.tolist() == b.class_ids.tolist()
        assert a.num_support.tolist() == b.num_support.tolist()


def test_a_range_of_shots_is_drawn_once_for_all_classes():
    drawn = {
        tuple(set(sampler([40] * 8, seed, num_support=(2, 4)).sample().num_support.tolist())) for seed in range(40)
    }
    assert drawn == {(2,), (3,), (4,)}


def test_equal_configurations_are_equal_however_they_are_written():
    assert asdict(EpisodeConfig(num_support=[1, 5], ignore_hierarchy_probability=0)) == asdict(
        EpisodeConfig(num_support=(1, 5))
    )
    assert type(EpisodeConfig(ignore_hierarchy_probability=0).ignore_hierarchy_probability) is float


def test_a_description_may_be_written_to_without_harm():
    classes = SplitClasses(np.full(6, 30), spanned_leaves=[[0, 1, 2, 3, 4]])
    stream = sampler(classes)
    stream.sample().class_ids[:] = 5
    assert stream.sample().class_ids.tolist() == [0, 1, 2, 3, 4]


def test_superclasses_are_never_mixed():
    classes = SplitClasses(np.full(17, 20), superclass_sizes=np.array([5, 7, 5]))
    stream = sampler(classes)
    for _ in range(50):
        ids = stream.sample().class_ids
        assert len(set(np.searchsorted([5, 12, 17], ids, side="right").tolist())) == 1


def test_an_ignored_hierarchy_mixes_superclasses():
    classes = SplitClasses(np.full(20, 20), superclass_sizes=np.array([10, 10]))
    stream = sampler(classes, ignore_hierarchy=True)
    assert any(len(set((stream.sample().class_ids >= 10).tolist())) == 2 for _ in range(20))


def test_a_hierarchy_ignored_half_the_time_gives_both_kinds():
    classes = SplitClasses(np.full(20, 20), superclass_sizes=np.array([10, 10]))
    stream = sampler(classes, ignore_hierarchy_probability=0.5)
    mixed = [len(set((stream.sample().class_ids >= 10).tolist())) == 2 for _ in range(60)]
    assert 10 < sum(mixed) < 50


def test_a_node_gives_its_leaves_in_order_unless_there_are_too_many():
    classes = SplitClasses(np.full(60, 30), spanned_leaves=[list(range(0, 60, 8)), list(range(60))])
    stream = sampler(classes)
    seen = {tuple(stream.sample().class_ids.tolist()) for _ in range(30)}
    assert tuple(range(0, 60, 8)) in seen
    assert all(len(ids) in (8, 50) for ids in seen)


def test_classes_with_too_few_examples_are_left_out():
    stream = sampler([4, 30, 30, 30, 30, 30, 3], min_examples_in_class=10)
    assert {int(c) for _ in range(20) for c in stream.sample().class_ids} == {1, 2, 3, 4, 5}


def test_leaves_with_too_few_examples_are_not_spanned():
    classes = SplitClasses(np.array([4, *[30] * 6]), spanned_leaves=[list(range(7)), [0, 1, 2, 3, 4]])
    stream = sampler(classes, min_examples_in_class=10)
    assert {tuple(stream.sample().class_ids.tolist()) for _ in range(20)} == {(1, 2, 3, 4, 5, 6)}


def test_all_classes_come_in_order():
    assert sampler([30] * 9, use_all_classes=True).sample().class_ids.tolist() == list(range(9))


@pytest.mark.parametrize(
    ("classes", "config", "words"),
    [
        ([30] * 4, {}, "needs 5 classes; this split has 4: choose another --split, or build .* --all-in SPLIT"),
        ([30] * 6, {"num_ways": 7}, "needs 7 classes; this split has 6"),
        ([30] * 9, {"min_examples_in_class": 31}, "this split has 0 with at least 31"),
        ([5] * 5, {"num_support": 5}, "a sampled class has 5 images"),
        ([9] * 5, {"num_support": 5, "num_query": 5}, "a sampled class has 9 images"),
        ([1] * 5, {}, "a sampled class has 1 images"),
        ([30] * 30, {"max_support_size": 4}, "max_support_size is 4"),
        (SplitClasses(np.full(9, 9), superclass_sizes=np.array([4, 5])), {}, "at least 5 classes"),
        (SplitClasses(np.full(9, 9), superclass_sizes=np.array([9])), {"num_ways": 5}, "ignore_hierarchy"),
        (SplitClasses(np.full(9, 9), spanned_leaves=[[0, 1, 2]]), {}, "no node of the class graph"),
    ],
)
def test_a_split_that_cannot_fill_the_protocol_says_why(classes, config, words):
    with pytest.raises(NotEnoughImages, match=words):
        sampler(classes, **config).sample()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_ways", 1),
        ("num_ways", -1),
        ("min_ways", 0),
        ("max_ways", 4),
        ("num_support", 0),
        ("num_support", -3),
        ("num_support", (0, 3)),
        ("num_support", (5, 2)),
        ("num_query", 0),
        ("max_num_query", 0),
        ("max_support_size", 1),
        ("max_support_per_class", -50),
        ("min_log_weight", 1.0),
        ("max_log_weight", float("inf")),
        ("max_log_weight", float("nan")),
        ("min_log_weight", -100.5),
        ("max_log_weight", 800.0),
        ("num_ways", 2**31),
        ("max_ways", 2**70),
        ("num_support", 2**31),
        ("num_support", (1, 2**64)),
        ("num_query", 2**31),
        ("max_num_query", 2**70),
        ("max_support_size", 2**31),
        ("max_support_per_class", 2**70),
        ("min_examples_in_class", 2**64),
        ("min_examples_in_class", -1),
        ("ignore_hierarchy_probability", 7),
    ],
)
def test_a_configuration_that_no_episode_can_have_is_refused_by_its_key(key, value):
    config = EpisodeConfig(**{key: value})
    with pytest.raises(BadProtocol, match="_log_weight = " if "log_weight" in key else f"^{key} = "):
        EpisodeSampler(SplitClasses(np.full(20, 30)), config, np.random.RandomState(0))


def test_the_largest_numbers_that_are_allowed_do_not_overflow():
    large = 2**31 - 1
    config = {"max_ways": large, "max_num_query": large, "max_support_size": large, "max_support_per_class": large}
    for weights in ((-100.0, 100.0), (100.0, 100.0), (-100.0, -100.0)):
        with np.errstate(all="raise"):
            d = sampler([30] * 9, **config, min_log_weight=weights[0], max_log_weight=weights[1]).sample()
        assert (d.num_support >= 1).all()
        assert (d.num_support + d.num_query <= 30).all()


@given(
    low=st.integers(1, 6),
    more=st.integers(0, 6),
    ways=st.none() | st.integers(2, 9),
    weight=st.floats(0, 3),
)
def test_whatever_is_not_refused_gives_whole_episodes(low, more, ways, weight):
    config = EpisodeConfig(
        num_ways=ways,
        num_support=None if more == 6 else (low, low + more),
        min_log_weight=-weight,
        max_log_weight=weight,
    )
    sampler = EpisodeSampler(SplitClasses(np.arange(20, 32)), config, np.random.RandomState(0))
    for _ in range(5):
        class_ids, shots, num_query = sampler.sample()
        assert len(class_ids) >= 2
        assert shots.min() >= 1
        assert num_query >= 1
