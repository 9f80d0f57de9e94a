import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from official import different_cursors

from episodes.errors import BadPlan, NotEnoughImages
from episodes.plan import ClassCursor, Plan, blocks, plan_domain
from episodes.plan_file import load_plan, save_plan
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec


def spec_of(counts):
    n = len(counts)
    return DatasetSpec("set", np.array(counts), {"test": range(n)}, tuple(map(str, range(n))), digest="digest")


def planned(counts=(20, 31, 18, 40, 25, 60), *, tasks=30, seed=0, domain="set", **config):
    return plan_domain(domain, spec_of(counts), split="test", protocol=EpisodeConfig(**config), seed=seed, tasks=tasks)


def test_records_are_handed_out_as_the_official_reader_does(golden):
    sizes = json.loads((golden / "episodes/synthetic_specs.json").read_text())["cases"]
    by_name = {(case["dataset"], case["split"]): case["images_per_class"] for case in sizes}
    cases = json.loads((golden / "episodes/reader_cursor.json").read_text())
    for case in cases:
        images = by_name[case["dataset"], case["split"]]
        first = {"flat_synth": 20, "bilevel_synth": 172, "dag_synth": 48}[case["dataset"]]
        assert different_cursors(case, images, first) == 0
    assert len(cases) == 3


@settings(max_examples=40)
@given(counts=st.lists(st.integers(2, 80), min_size=5, max_size=20), seed=st.integers(0, 1000))
def test_no_image_is_both_support_and_query_and_every_class_has_both(counts, seed):
    plan = planned(tuple(counts), tasks=6, seed=seed)
    for task in range(len(plan)):
        e = plan.episode(task)
        support = set(zip(e.support_classes.tolist(), e.support_records.tolist(), strict=True))
        query = set(zip(e.query_classes.tolist(), e.query_records.tolist(), strict=True))
        assert not support & query
        assert len(support) + len(query) == len(e.support_labels) + len(e.query_labels)
        assert set(e.support_labels.tolist()) == set(e.query_labels.tolist()) == set(range(e.way))
        assert (e.support_records < np.array(counts)[e.support_classes]).all()


def test_images_are_drawn_without_replacement_until_the_epoch_ends():
    cursor = ClassCursor(b"0" * 32, 0, 10)
    first, second = cursor.take(4), cursor.take(5)
    assert len({*first.tolist(), *second.tolist()}) == 9
    assert sorted(cursor.take(10).tolist()) == list(range(10))  # one image was left: a new epoch begins


def test_every_epoch_has_a_permutation_of_its_own():
    cursor, again = ClassCursor(b"0" * 32, 0, 50), ClassCursor(b"0" * 32, 0, 50)
    first, second = cursor.take(50).tolist(), cursor.take(50).tolist()
    assert first != second
    assert [again.take(50).tolist(), again.take(50).tolist()] == [first, second]
    assert ClassCursor(b"0" * 32, 1, 50).take(50).tolist() != first


def test_the_first_episodes_of_a_longer_plan_are_the_shorter_plan():
    assert planned(tasks=30).hashes[:10] == planned(tasks=10).hashes


@pytest.mark.parametrize("tasks", [range(1), range(7, 8), range(3, 9), range(29, 30), range(30)])
def test_a_part_of_a_plan_has_the_same_episodes(tasks):
    plan = planned()
    part = plan.part(tasks)
    assert part.hashes == plan.hashes[tasks.start : tasks.stop]
    assert len(part) == len(tasks)
    names = [name for name in plan.episode(0)._fields if not name.endswith("_images")]
    for number, task in enumerate(tasks):
        for name in names:
            assert np.array_equal(getattr(part.episode(number), name), getattr(plan.episode(task), name))


def test_another_seed_domain_or_protocol_gives_other_episodes():
    plans = [planned(), planned(seed=1), planned(domain="other"), planned(max_num_query=5)]
    assert len({hash for plan in plans for hash in plan.hashes}) == 4 * 30


def test_images_are_the_distinct_records_and_episodes_point_at_them():
    plan = planned()
    classes, records = plan.images
    keys = list(zip(classes.tolist(), records.tolist(), strict=True))
    assert keys == sorted(set(keys))
    for task in range(len(plan)):
        e = plan.episode(task)
        np.testing.assert_array_equal(classes[e.query_images], e.query_classes)
        np.testing.assert_array_equal(records[e.query_images], e.query_records)
        np.testing.assert_array_equal(records[e.support_images], e.support_records)


def test_the_plan_does_not_depend_on_the_hash_seed():
    code = "from test_plan import planned; print(planned().hashes[-1])"
    sys.path.insert(0, str(Path(__file__).parent))
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout
        for seed in (1, 2)
    }
    assert runs == {planned().hashes[-1] + "\n"}


def test_the_first_episode_is_the_same_on_every_platform():
    assert planned(tasks=1).hashes[0] == "c6d50adbea331d2b5a59110c6166b9df2ba3712732ea8db664c6b944bb1dd231"


def test_blocks_do_not_depend_on_anything_but_their_size():
    assert list(blocks(45, 20)) == [range(20), range(20, 40), range(40, 45)]


def test_too_few_images_name_the_domain():
    with pytest.raises(NotEnoughImages, match=r"^set \(test split\): "):
        planned((1, 1, 1, 1, 1))


@pytest.fixture
def plan():
    return Plan("bench", "test", 0, 5, (planned(tasks=5), planned(tasks=5, domain="b", num_support=(1, 3))))


def test_a_saved_plan_is_the_same_plan(plan, tmp_path):
    save_plan(plan, tmp_path / "plan.npz")
    loaded = load_plan(tmp_path / "plan.npz")
    assert loaded.hash == plan.hash
    assert loaded.domains[1].protocol == plan.domains[1].protocol
    assert [d.hashes for d in loaded.domains] == [d.hashes for d in plan.domains]


def test_a_damaged_plan_is_refused(plan, tmp_path):
    path = tmp_path / "plan.npz"
    save_plan(plan, path)
    good = path.read_bytes()
    flipped = (good[:i] + bytes([good[i] ^ (1 << i % 8)]) + good[i + 1 :] for i in range(0, len(good), 7))
    for bad in (b"", good[: len(good) // 2], *flipped):
        path.write_bytes(bad)
        try:
            assert load_plan(path).hash == plan.hash  # a byte that nothing depends on, as a date in the archive
        except BadPlan as error:
            assert "plan.npz" in str(error)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(BadPlan, match="not a readable plan"):
        load_plan(path)
    with pytest.raises(BadPlan, match="no such plan"):
        load_plan(tmp_path / "nothing.npz")


def test_a_plan_with_changed_episodes_is_refused(plan, tmp_path):
    first = plan.domains[0]
    changed = replace(plan, domains=(replace(first, records=first.records[::-1].copy()), plan.domains[1]))
    object.__setattr__(changed, "hash", plan.hash)
    save_plan(changed, tmp_path / "plan.npz")
    with pytest.raises(BadPlan, match="do not match"):
        load_plan(tmp_path / "plan.npz")
