"""The episodes room against the official benchmark's own numbers (../shared/conformance)."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from official import check_decoding, different_cursors, different_descriptions

from episodes.dataset import DatasetRecords
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
EPISODES = SHARED / "conformance/episodes"


def _cases(name):
    return json.loads((EPISODES / name).read_text())["cases"]


@pytest.mark.parametrize("name", ["synthetic_specs.json", "real_specs.json"])
def test_every_description_equals_the_official_one(name):
    cases = _cases(name)
    assert [different_descriptions(case) for case in cases] == [0] * len(cases)


def test_every_record_number_equals_the_official_one():
    synthetic = {(case["dataset"], case["split"]): case for case in reversed(_cases("synthetic_specs.json"))}
    for case in json.loads((EPISODES / "reader_cursor.json").read_text()):
        layout = synthetic[case["dataset"], case["split"]]
        assert different_cursors(case, layout["images_per_class"], layout["first_class_id"]) == 0


def test_jpegs_decode_bit_for_bit_and_resize_within_1e_6():
    with np.load(SHARED / "conformance/decode/decode_84.npz") as vectors:
        check_decoding(vectors, 10)


@pytest.mark.parametrize("kind", ["flat", "bilevel", "dag"])
def test_every_image_of_the_official_records_is_read(kind):
    data = DatasetRecords(SHARED / f"conformance/records/{kind}_tiny")
    for class_id, count in enumerate(data.spec.images_per_class.tolist()):
        for record in range(count):
            assert data.encoded(class_id, record).decode().shape[2] == 3


MEANS = {  # data set: ways, support and query means of 600 official test episodes (seed 2020)
    "ilsvrc_2012": (14.7, 386.0, 147.0),
    "omniglot": (19.6, 91.5, 195.8),
    "aircraft": (9.9, 334.3, 98.9),
    "quickdraw": (26.7, 414.2, 266.5),
    "fungi": (27.5, 358.4, 100.6),
    "mscoco": (22.3, 410.3, 223.3),
}


@pytest.mark.parametrize("name", MEANS)
def test_episode_statistics_are_those_of_the_official_sampler(name):
    counts = json.loads((EPISODES / "class_counts.json").read_text())["datasets"][name]["TEST"]
    sizes = counts.get("superclass_sizes")
    classes = SplitClasses(
        np.array(counts["images_per_class"]), None if sizes is None else np.array(sizes), counts.get("spanned_leaves")
    )
    sampler = EpisodeSampler(classes, EpisodeConfig(), np.random.RandomState(7))
    rows = np.array(
        [
            (len(d.class_ids), d.num_support.sum(), len(d.class_ids) * d.num_query)
            for d in (sampler.sample() for _ in range(2400))
        ]
    )
    error = rows.std(axis=0) * np.sqrt(1 / 2400 + 1 / 600)
    assert (np.abs(rows.mean(axis=0) - MEANS[name]) < 3.5 * error + 0.05).all()
