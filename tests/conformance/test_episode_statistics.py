"""Full scale: 13 x 600 episodes on the true class counts (../shared/conformance), against the published statistics."""

import json
import os
from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from episodes.known_datasets import KNOWN, stand_in
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import SPLITS, DatasetSpec

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
TASKS = 600

# Means of ways, support images and query images of 600 official test episodes, seed 2020, as rounded in the table
# "Episode statistics on the real specs" (../shared/specs/meta-dataset.md, section 2).
OFFICIAL = {
    "ilsvrc_2012": (14.7, 386.0, 147.0),
    "omniglot": (19.6, 91.5, 195.8),
    "aircraft": (9.9, 334.3, 98.9),
    "cu_birds": (17.8, 316.9, 177.8),
    "dtd": (6.0, 281.1, 60.3),
    "quickdraw": (26.7, 414.2, 266.5),
    "fungi": (27.5, 358.4, 100.6),
    "vgg_flower": (10.7, 295.6, 106.5),
    "traffic_sign": (23.6, 422.1, 236.4),
    "mscoco": (22.3, 410.3, 223.3),
}


@cache
def true_specs():
    """A spec of every data set, with the true number of images of each class."""
    counts = json.loads((SHARED / "conformance/episodes/class_counts.json").read_text())["datasets"]
    return {name: _spec(name, splits) for name, splits in counts.items()}


def _spec(name, counts):
    empty: dict[str, list] = {"images_per_class": [], "superclass_sizes": [], "spanned_leaves": []}
    splits = {split: {**empty, **counts.get(split.upper(), {})} for split in SPLITS}
    sizes = [len(splits[split]["images_per_class"]) for split in SPLITS]
    return DatasetSpec(
        name=name,
        images_per_class=np.concatenate([np.array(splits[split]["images_per_class"], np.int64) for split in SPLITS]),
        class_ids={s: range(stop - n, stop) for s, stop, n in zip(SPLITS, accumulate(sizes), sizes, strict=True)},
        class_names=tuple(map(str, range(sum(sizes)))),
        superclass_sizes={s: np.array(splits[s]["superclass_sizes"], np.int64) for s in SPLITS}
        if KNOWN[name].kind == "bilevel"
        else None,
        spans={s: splits[s]["spanned_leaves"] for s in SPLITS} if KNOWN[name].kind == "dag" else None,
    )


@cache
def planned(name, make_spec):
    return plan_domain(name, make_spec(name), split="test", protocol=EpisodeConfig(), seed=0, tasks=TASKS)


def true(name):
    return true_specs()[name]


def published(name):
    return stand_in(KNOWN[name])


def rows_of(plan):
    """Ways, support images and query images of each episode, (n, 3)."""
    starts = np.cumsum(plan.ways) - plan.ways
    return np.stack([plan.ways, np.add.reduceat(plan.num_support, starts), plan.ways * plan.num_query], axis=1)


def test_the_true_counts_are_those_that_are_published():
    assert list(true_specs()) == list(KNOWN)
    for name, known in KNOWN.items():
        for split in SPLITS:
            images = true(name).split(split).images_per_class
            assert (len(images), int(images.sum())) == (known.classes[split], known.images[split])


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_means_of_600_episodes_are_within_three_standard_errors_of_the_official_ones(name):
    rows = rows_of(planned(name, true))
    standard_error = rows.std(axis=0, ddof=1) / np.sqrt(TASKS)
    assert (np.abs(rows.mean(axis=0) - OFFICIAL[name]) < 3 * standard_error).all()


def test_another_protocol_would_not_pass():
    """The power of the test above: it sees that episodes of 45 ways at most are not the official ones."""
    config = EpisodeConfig(max_ways=45)
    rows = rows_of(plan_domain("fungi", true("fungi"), split="test", protocol=config, seed=0, tasks=TASKS))
    standard_error = rows.std(axis=0, ddof=1) / np.sqrt(TASKS)
    assert (np.abs(rows.mean(axis=0) - OFFICIAL["fungi"]) > 3 * standard_error).any()


@pytest.mark.parametrize("name", KNOWN)
def test_every_data_set_fills_600_episodes_without_an_image_twice_in_one(name):
    plan, spec = planned(name, true), true(name)
    assert len(plan) == TASKS
    assert (plan.records < spec.images_per_class[plan.class_ids.repeat(_drawn(plan))]).all()
    for task in range(0, TASKS, 50):
        e = plan.episode(task)
        images = np.concatenate([e.support_images, e.query_images])
        assert len(np.unique(images)) == len(images)


def _drawn(plan):
    return plan.num_support + plan.num_query.repeat(plan.ways)


@pytest.mark.parametrize("name", KNOWN)
def test_an_estimate_from_published_totals_is_near_the_truth(name):
    """`plan --dry-run` without the spec: equal classes are wrong by less than half, and mostly by far less."""
    truth, estimate = planned(name, true), planned(name, published)
    for measure in (lambda plan: len(plan.records), lambda plan: len(plan.images.classes)):
        assert 2 / 3 < measure(estimate) / measure(truth) < 3 / 2
