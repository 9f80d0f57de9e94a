import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_images import png

from episodes import dumped_records
from episodes.dataset import MAX_OPEN_FILES, DatasetRecords, EncodedImage
from episodes.dumped import DUMPED, DumpedRecords, dump_domain, dumped_domains, load_dump
from episodes.dumped_protocol import misfit
from episodes.errors import BadExample, BadPlan, BadProtocol, BadSpec, CorruptRecord
from episodes.plan import Plan, plan_domain
from episodes.plan_file import load_plan, save_plan
from episodes.sampling import EpisodeConfig, EpisodeSampler
from episodes.spec import DatasetSpec
from episodes.tfrecord import RecordFile, write_records

TASKS = 4


class Numbered:
    """Records whose image bytes say which image they are."""

    def encoded(self, class_id, record):
        return EncodedImage(Path("set"), record, f"{class_id}/{record}".encode())


def sampled(counts=(20, 31, 18, 40, 25, 60), *, tasks=TASKS, seed=0, **config):
    spec = DatasetSpec("set", np.array(counts), {"test": range(len(counts))}, ("",) * len(counts), digest="digest")
    return plan_domain("set", spec, split="test", protocol=EpisodeConfig(**config), seed=seed, tasks=tasks)


def load(folder, **options):
    return load_dump(folder, domain="set", split="test", **options)


def images_of(records, plan, task):
    """The stored bytes and the labels of an episode's support, then of its query."""
    e = plan.episode(task)
    return [
        ([records.encoded(c, r).data for c, r in zip(classes.tolist(), numbers.tolist(), strict=True)], labels.tolist())
        for classes, numbers, labels in (
            (e.support_classes, e.support_records, e.support_labels),
            (e.query_classes, e.query_records, e.query_labels),
        )
    ]


def dump_files(folder, *episodes):
    """Write episodes, each ([support labels], [query labels]); an image's bytes say which one it is."""
    folder.mkdir(parents=True)
    for task, parts in enumerate(episodes):
        for part, labels in zip(("train", "test"), parts, strict=True):
            examples = [(f"{task}/{part}/{i}".encode(), label) for i, label in enumerate(labels)]
            write_records(folder / f"episode-{task:04d}-{part}.tfrecords", examples)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A dump of four sampled episodes."""
    dump_domain(sampled(), Numbered(), tmp_path / "test/set")
    return tmp_path / "test/set"


# --- round trips


def test_a_dumped_plan_has_the_same_pixels_labels_and_counts(tiny_records, tmp_path):
    records = DatasetRecords(tiny_records / "reds")
    plan = plan_domain("reds", records.spec, split="test", protocol=EpisodeConfig(), seed=3, tasks=TASKS)
    dump_domain(plan, records, tmp_path / "test/reds")
    dumped, again = load_dump(tmp_path / "test/reds", domain="reds", split="test")
    assert len(again) == TASKS
    for task in range(TASKS):
        ours, theirs = plan.episode(task), again.episode(task)
        assert ours.way == theirs.way
        np.testing.assert_array_equal(ours.support_labels, theirs.support_labels)
        np.testing.assert_array_equal(ours.query_labels, theirs.query_labels)
        np.testing.assert_array_equal(pixels(records, ours), pixels(dumped, theirs))


def pixels(records, e):
    """All images of an episode, support first: (n, height * width * 3)."""
    pairs = zip([*e.support_classes, *e.query_classes], [*e.support_records, *e.query_records], strict=True)
    return np.stack([records.encoded(c, r).decode().ravel().astype(np.float64) for c, r in pairs])


def nearest_centroid_accuracies(records, plan):
    """Accuracy of every episode with raw pixels as features, worked out by hand."""
    accuracies = []
    for task in range(len(plan)):
        e = plan.episode(task)
        support, query = np.split(pixels(records, e), [len(e.support_labels)])
        centroids = np.stack([support[e.support_labels == label].mean(axis=0) for label in range(e.way)])
        distances = ((query[:, None] - centroids[None]) ** 2).sum(axis=2)
        accuracies.append(float((distances.argmin(axis=1) == e.query_labels).mean()))
    return accuracies


class Noise:
    """Records of small noisy images whose classes overlap."""

    def encoded(self, class_id, record):
        image = np.random.RandomState(1000 * class_id + record).randint(0, 200, size=(4, 4, 3)) + 5 * class_id
        return EncodedImage(Path("noise"), record, png(image))


def test_a_method_has_the_same_accuracy_on_every_dumped_episode(tmp_path):
    plan = sampled(tasks=6)
    dump_domain(plan, Noise(), tmp_path / "dump")
    accuracies = nearest_centroid_accuracies(Noise(), plan)
    assert len(set(accuracies)) > 1  # episodes that are all alike would prove nothing
    assert nearest_centroid_accuracies(*load(tmp_path / "dump")) == accuracies


@settings(max_examples=15)
@given(
    counts=st.lists(st.integers(2, 12), min_size=2, max_size=6),
    seed=st.integers(0, 1000),
    tasks=st.integers(1, 3),
    num_support=st.sampled_from([None, 1, (1, 1)]),
)
def test_any_plan_survives_a_dump(counts, seed, tasks, num_support):
    plan = sampled(tuple(counts), tasks=tasks, seed=seed, min_ways=2, num_support=num_support)
    with tempfile.TemporaryDirectory() as root:
        dump_domain(plan, Numbered(), Path(root) / "set")
        records, again = load(Path(root) / "set")
        for task in range(tasks):
            assert images_of(records, again, task) == images_of(Numbered(), plan, task)


@st.composite
def shuffled_episodes(draw):
    """Support and query labels of a few episodes, in any order."""
    episodes = []
    for _ in range(draw(st.integers(1, 3))):
        shots = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
        num_query = draw(st.integers(1, 3))
        support = [label for label, n in enumerate(shots) for _ in range(n)]
        query = [label for label in range(len(shots)) for _ in range(num_query)]
        episodes.append((draw(st.permutations(support)), draw(st.permutations(query))))
    return episodes


@settings(max_examples=20)
@given(episodes=shuffled_episodes())
def test_classes_that_are_interleaved_in_a_file_keep_their_images_in_order(episodes):
    with tempfile.TemporaryDirectory() as root:
        records, plan = load(dump_files(Path(root) / "set", *episodes))
        assert len(plan) == len(episodes)
        for task, parts in enumerate(episodes):
            for part, labels, (images, ours) in zip(
                ("train", "test"), parts, images_of(records, plan, task), strict=True
            ):
                expected = sorted((label, i) for i, label in enumerate(labels))  # by class, then by place in the file
                assert ours == [label for label, _ in expected]
                assert images == [f"{task}/{part}/{i}".encode() for _, i in expected]


def test_a_dump_of_a_dump_is_the_same_dump(folder, tmp_path):
    records, plan = load(folder)
    dump_domain(plan, records, tmp_path / "again")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()
    }


def test_the_same_plan_gives_the_same_bytes(folder, tmp_path):
    dump_domain(sampled(), Numbered(), tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


# --- what others read


def test_the_layout_is_the_official_one(folder):
    names = {f"episode-{task:04d}-{part}.tfrecords" for task in range(TASKS) for part in ("train", "test")}
    assert {path.name for path in folder.iterdir()} == names | {"images_per_class.json"}


def test_counts_are_stated_as_the_official_writer_does(folder):
    plan, expected = sampled(), {}
    for task in range(TASKS):
        e = plan.episode(task)
        for part, labels in (("train", e.support_labels), ("test", e.query_labels)):
            counts = {str(label): int((labels == label).sum()) for label in range(e.way)}
            expected[f"episode-{task:04d}-{part}.tfrecords"] = counts
    text = (folder / "images_per_class.json").read_text()
    assert json.loads(text) == expected
    assert text == json.dumps(expected, indent=2)


def test_another_reader_finds_support_and_query_in_order(folder):
    from tfrecord.reader import tfrecord_loader

    plan = sampled()
    for task in range(TASKS):
        expected = images_of(Numbered(), plan, task)
        for part, (images, labels) in zip(("train", "test"), expected, strict=True):
            path = folder / f"episode-{task:04d}-{part}.tfrecords"
            found = list(tfrecord_loader(str(path), None, {"image": "byte", "label": "int"}))
            assert [bytes(example["image"]) for example in found] == images
            assert [int(example["label"][0]) for example in found] == labels


def test_files_beyond_episode_9999_have_longer_numbers_and_the_order_of_numbers(tmp_path, monkeypatch):
    assert dumped_records.episode_file(12345, "test") == "episode-12345-test.tfrecords"
    monkeypatch.setattr(dumped_records, "episode_file", lambda task, part: f"episode-{task:01d}-{part}.tfrecords")
    folder = tmp_path / "set"
    folder.mkdir()
    for task in range(12):  # as text, 10 comes before 9
        for part in ("train", "test"):
            write_records(folder / f"episode-{task}-{part}.tfrecords", [(b"%d" % task, 0), (b"%d" % task, 1)])
    records, plan = load(folder)
    assert [images_of(records, plan, task)[0][0][0] for task in range(12)] == [b"%d" % task for task in range(12)]


# --- writing


def test_an_existing_folder_is_left_as_it_is(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BadPlan, match="test/set: is there already and stays as it is"):
        dump_domain(sampled(seed=1), Numbered(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_appears_meanwhile_is_left_as_it_is(tmp_path):
    def other_process(episodes):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set/file").touch()

    with pytest.raises(BadPlan, match="set: cannot be written"):
        dump_domain(sampled(), Numbered(), tmp_path / "set", other_process)
    assert {path.name for path in tmp_path.rglob("*")} == {"set", "file", ".set.lock"}


def test_a_dump_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(path, examples):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("episodes.dumped.write_records", full_disk)
    with pytest.raises(BadPlan, match=r"set: cannot be written \(No space left on device\)"):
        dump_domain(sampled(), Numbered(), tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


def test_every_episode_is_announced(tmp_path):
    steps = []
    dump_domain(sampled(), Numbered(), tmp_path / "set", steps.append)
    assert steps == [1] * TASKS


def test_a_killed_dump_leaves_nothing_that_reads_as_complete(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from test_dumped import *\n"
        "seen = []\n"
        "def advance(n):\n"
        "    seen.append(n)\n"
        "    if len(seen) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "dump_domain(sampled(), Numbered(), Path(sys.argv[1]) / 'test/set', advance)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment)
    assert done.returncode == -signal.SIGKILL
    (part,) = (tmp_path / "test").glob(".set-*.part")
    assert len(list(part.glob("episode-*"))) == 4  # two whole episodes
    with pytest.raises(BadPlan, match="no data set with dumped episodes"):
        dumped_domains(tmp_path, "test")
    with pytest.raises(BadPlan, match="lists it, but it is missing"):
        load(part)
    dump_domain(sampled(), Numbered(), tmp_path / "test/set")
    assert [path.name for path in (tmp_path / "test").iterdir()] == ["set"], "what was left is gone"
    assert dumped_domains(tmp_path, "test") == ["set"]


def test_two_that_dump_to_one_place_at_once_do_not_disturb_each_other(tmp_path, folder):
    def job(_):
        dump_domain(sampled(), Numbered(), tmp_path / "both/set")

    with ThreadPoolExecutor(2) as pool:
        outcomes = [work.exception() for work in [pool.submit(job, i) for i in range(2)]]
    assert [str(error).partition("set: ")[2][:16] for error in outcomes if error] == ["is there already"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "both/set").iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_everything_is_on_the_disk_before_a_dump_has_its_name(tmp_path, monkeypatch):
    synced, rename, fsync = set(), Path.rename, os.fsync

    def flushed(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked_rename(path, target):
        assert {p.stat().st_ino for p in (path, *path.iterdir())} <= synced
        rename(path, target)
        synced.clear()

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "rename", checked_rename)
    dump_domain(sampled(), Numbered(), tmp_path / "set")
    assert synced == {tmp_path.stat().st_ino}, "and its name is there for good"


# --- finding dumps


def test_data_sets_with_dumped_episodes_are_listed(tmp_path):
    for name in ("b", "a"):
        dump_files(tmp_path / "valid" / name, ([0, 1], [0, 1]))
    (tmp_path / "valid/logs").mkdir()
    (tmp_path / "valid/README").touch()
    assert dumped_domains(tmp_path, "valid") == ["a", "b"]


def test_a_split_without_dumped_episodes_is_named_with_those_that_have_some(tmp_path):
    dump_files(tmp_path / "valid/set", ([0, 1], [0, 1]))
    with pytest.raises(BadPlan, match=r"/test: no such folder; .*; there are episodes for --split valid$"):
        dumped_domains(tmp_path, "test")
    (tmp_path / "test").mkdir()
    with pytest.raises(BadPlan, match="/test: no data set with dumped episodes"):
        dumped_domains(tmp_path, "test")


# --- identity


def test_a_dumped_episode_never_has_the_hash_of_a_sampled_one(folder):
    _, plan = load(folder)
    assert plan.protocol == DUMPED
    assert not set(plan.hashes) & set(sampled().hashes)
    classes = DatasetSpec("set", np.full(9, 50), {"test": range(9)}, ("",) * 9).split("test")
    with pytest.raises(BadProtocol):
        EpisodeSampler(classes, DUMPED, np.random.RandomState(0)).sample()


def test_dumps_of_one_shape_with_other_images_share_neither_plan_nor_records(tmp_path):
    shape = [([0, 1, 1], [0, 1])] * 2
    dump_files(tmp_path / "a/set", *shape)
    dump_files(tmp_path / "b/set", *shape)
    write_records(tmp_path / "b/set/episode-0001-test.tfrecords", [(b"1/test/0", 0), (b"another", 1)])
    (a, plan_a), (b, plan_b) = (load(tmp_path / name / "set") for name in "ab")
    assert plan_a.hashes == plan_b.hashes, "an episode's hash is one of record numbers, here as everywhere"
    assert a.split_fingerprint("test") != b.split_fingerprint("test")
    assert [a.fingerprint(c) == b.fingerprint(c) for c in range(4)] == [True, True, True, False]
    assert Plan("x", "test", 0, 2, (plan_a,)).hash != Plan("x", "test", 0, 2, (plan_b,)).hash


def test_the_same_dump_elsewhere_is_the_same(folder, tmp_path):
    (tmp_path / "elsewhere").symlink_to(folder)
    (here, plan), (there, same) = load(folder), load(tmp_path / "elsewhere")
    assert here.split_fingerprint("test") == there.split_fingerprint("test")
    assert (plan.hashes, plan.spec_digest) == (same.hashes, same.spec_digest)


def test_a_class_is_identified_as_a_class_file_with_its_records_would_be(tmp_path):
    records, _ = load(dump_files(tmp_path / "set", ([1, 0, 1], [0, 1])))
    images = [(f"0/train/{i}".encode(), 1) for i in (0, 2)] + [(b"0/test/1", 1)]
    write_records(tmp_path / "1.tfrecords", images)
    assert records.fingerprint(1) == RecordFile(tmp_path / "1.tfrecords").fingerprint


def test_the_first_tasks_of_a_dump_are_the_same_episodes_on_the_same_records(folder):
    (whole, plan), (records, first) = load(folder), load(folder, tasks=2)
    assert first.hashes == plan.hashes[:2]
    assert records.split_fingerprint("test") == whole.split_fingerprint("test")
    assert images_of(records, first, 1) == images_of(whole, plan, 1)
    with pytest.raises(BadPlan, match="test/set: 4 dumped episodes, 5 are asked for"):
        load(folder, tasks=5)


def test_the_plan_of_a_dump_can_be_saved(folder, tmp_path):
    _, domain = load(folder)
    plan = Plan("bench", "test", domain.seed, len(domain), (domain,))
    save_plan(plan, tmp_path / "plan.npz")
    assert load_plan(tmp_path / "plan.npz").domains[0].hashes == domain.hashes


def test_all_classes_lie_in_the_split_that_is_named(folder):
    for split in ("train", "valid", "test"):
        spec = DumpedRecords(folder, split).spec
        assert {name: len(ids) for name, ids in spec.class_ids.items() if len(ids)} == {split: 6}
        np.testing.assert_array_equal(spec.split(split).images_per_class, spec.images_per_class)


# --- images that episodes share


def dump_images(folder, *episodes):
    """Write episodes, each ([(image, label), ...] of the support, the same of the query)."""
    folder.mkdir(parents=True)
    for task, parts in enumerate(episodes):
        for part, images in zip(("train", "test"), parts, strict=True):
            write_records(folder / f"episode-{task:04d}-{part}.tfrecords", [(image.encode(), n) for image, n in images])
    return folder


def test_an_image_that_many_episodes_draw_is_one_record(tmp_path):
    plan = sampled(tasks=30)
    dump_domain(plan, Numbered(), tmp_path / "set")
    records, again = load(tmp_path / "set")
    assert len(again.images.classes) == len(plan.images.classes) < len(plan.records)
    assert records.spec.images_per_class.sum() == len(plan.images.classes)
    for task in range(30):
        assert images_of(records, again, task) == images_of(Numbered(), plan, task)


def test_classes_that_share_images_are_the_data_sets_own(tmp_path):
    plan = sampled(tasks=60)
    dump_domain(plan, Numbered(), tmp_path / "set")
    records, again = load(tmp_path / "set")
    of_class = [
        {records.encoded(c, r).data.split(b"/")[0] for r in range(n)}
        for c, n in enumerate(records.spec.images_per_class.tolist())
    ]
    assert sorted(map(len, of_class)) == [1] * 6, "six classes, and each has images of one class alone"
    np.testing.assert_array_equal(np.unique(again.class_ids), np.arange(6))


@settings(max_examples=60)
@given(
    episodes=st.lists(
        st.lists(
            st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(0, 9)), min_size=2, max_size=4
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whichever_images_are_shared_each_is_one_record_and_every_episode_has_its_own(episodes):
    """Even an image that stands under two labels, or in support and query."""
    parts = [
        (
            [(f"image {i}", label) for label, (support, _) in enumerate(classes) for i in support],
            [(f"image {query}", label) for label, (_, query) in enumerate(classes)],
        )
        for classes in episodes
    ]
    with tempfile.TemporaryDirectory() as root:
        records, plan = load(dump_images(Path(root) / "set", *parts))
        distinct = {image for both in parts for part in both for image, _ in part}
        assert len(plan.images.classes) == records.spec.images_per_class.sum() == len(distinct)
        for task, both in enumerate(parts):
            for part, (images, labels) in zip(both, images_of(records, plan, task), strict=True):
                assert [(image.decode(), label) for image, label in zip(images, labels, strict=True)] == part


def test_labels_that_share_an_image_by_way_of_others_are_one_class(tmp_path):
    def episode(first, second):
        return [(first, 0), (f"{first} {second}", 1)], [(second, 0), (f"{second} {first}", 1)]

    chain = "cdbeafg"  # in no order, so that the ends learn of each other late
    records, plan = load(dump_images(tmp_path / "set", *map(episode, chain, chain[1:])))
    assert plan.class_ids[0::2].tolist() == [0] * 6
    assert plan.class_ids[1::2].tolist() == [1, 2, 3, 4, 5, 6]
    assert records.spec.images_per_class.tolist() == [7, *[2] * 6]
    assert plan.records[:4].tolist() == [0, 1, 0, 1]


def test_images_that_are_shared_make_other_records_than_images_that_are_not(tmp_path):
    shared = ([("a", 0), ("b", 1)], [("c", 0), ("d", 1)])
    other = ([("a", 0), ("b", 1)], [("C", 0), ("d", 1)])
    (one, plan), (two, same_shape) = (
        load(dump_images(tmp_path / name / "set", shared, second)) for name, second in (("one", shared), ("two", other))
    )
    assert (plan.ways.tolist(), plan.num_support.tolist()) == (
        same_shape.ways.tolist(),
        same_shape.num_support.tolist(),
    )
    assert one.split_fingerprint("test") != two.split_fingerprint("test")
    assert plan.hashes[1] != same_shape.hashes[1]


# --- reading


def test_however_many_episodes_few_files_are_open(tmp_path):
    records, plan = load(dump_files(tmp_path / "set", *[([0, 1], [0, 1])] * 40))
    before = len(list(Path("/dev/fd").iterdir()))
    for task in [*range(40), *range(40)]:
        assert images_of(records, plan, task)[0][0] == [b"%d/train/%d" % (task, i) for i in range(2)]
    assert before < len(list(Path("/dev/fd").iterdir())) <= before + MAX_OPEN_FILES


def test_a_record_that_is_not_there_is_refused(folder):
    records, plan = load(folder)
    with pytest.raises(IndexError, match="class 1 has no record"):
        records.encoded(1, int(plan.num_support[1] + plan.num_query[0]))


def test_the_second_opening_reads_no_images(folder, tmp_path, monkeypatch):
    first, _ = load(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(dumped_records, "_read", lambda files: pytest.fail("read again"))
    again, _ = load(folder, cache=tmp_path / "cache")
    assert again.spec.digest == first.spec.digest


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: data[:100], lambda data: data[:-60] + b"x" * 60])
def test_a_damaged_cache_is_made_again(folder, tmp_path, spoil):
    first, _ = load(folder, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache/dumped").iterdir()
    kept.write_bytes(spoil(kept.read_bytes()))
    assert load(folder, cache=tmp_path / "cache")[0].spec.digest == first.spec.digest


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path):
    folder = dump_files(tmp_path / "set", ([0, 1], [0, 1]))
    path = folder / "episode-0000-test.tfrecords"
    os.utime(path, ns=(1, 1))
    load(folder, cache=tmp_path / "cache")
    write_records(tmp_path / "new", [(b"0/test/0", 0), (b"0/TEST/1", 1)])
    (tmp_path / "new").replace(path)
    os.utime(path, ns=(1, 1))
    assert load(folder, cache=tmp_path / "cache")[0].encoded(1, 1).data == b"0/TEST/1"


def test_of_a_dump_that_became_unreadable_nothing_stays_in_the_cache(folder, tmp_path):
    load(folder, cache=tmp_path / "cache")
    (folder / "episode-0001-train.tfrecords").write_bytes(b"x" * 50)
    with pytest.raises(CorruptRecord):
        load(folder, cache=tmp_path / "cache")
    assert list((tmp_path / "cache/dumped").iterdir()) == []


@pytest.mark.parametrize("image", [b"0/TEST/1", b"a longer image"])
def test_a_file_that_changes_after_the_first_opening_is_read_again(tmp_path, image):
    folder = dump_files(tmp_path / "set", ([0, 1], [0, 1]))
    old, _ = load(folder, cache=tmp_path / "cache")
    write_records(folder / "episode-0000-test.tfrecords", [(b"0/test/0", 0), (image, 1)])
    with pytest.raises(CorruptRecord, match=r"episode-0000-test\.tfrecords: byte 0: the file was changed"):
        old.encoded(1, 1)
    new, _ = load(folder, cache=tmp_path / "cache")
    assert new.encoded(1, 1).data == image


# --- faults


def test_a_missing_partner_is_named(folder):
    (folder / "episode-0002-test.tfrecords").unlink()
    with pytest.raises(BadPlan, match=r"episode-0002-test\.tfrecords: missing"):
        load(folder)


def test_a_gap_in_the_numbers_is_named(folder):
    for part in ("train", "test"):
        (folder / f"episode-0001-{part}.tfrecords").unlink()
    with pytest.raises(BadPlan, match=r"episode-0001-train\.tfrecords: missing; .* up to episode-0003"):
        load(folder)


def test_missing_last_episodes_are_found_by_the_counts(folder):
    for part in ("train", "test"):
        (folder / f"episode-0003-{part}.tfrecords").unlink()
    with pytest.raises(BadPlan, match=r"episode-0003-test\.tfrecords: images_per_class\.json lists it, but it is miss"):
        load(folder)


def test_an_episode_that_the_counts_do_not_list_is_named(tmp_path):
    folder = dump_files(tmp_path / "set", ([0, 1], [0, 1]))
    (folder / "images_per_class.json").write_text('{"episode-0000-train.tfrecords": {"0": 1, "1": 1}}')
    with pytest.raises(BadPlan, match=r"episode-0000-test\.tfrecords: images_per_class\.json does not list it"):
        load(folder)


def test_a_dump_without_stated_counts_is_counted(folder):
    _, plan = load(folder)
    (folder / "images_per_class.json").unlink()
    assert load(folder)[1].hashes == plan.hashes


def test_counts_that_contradict_the_records_are_refused(folder):
    path = folder / "images_per_class.json"
    for change in (lambda labels: labels | {"0": labels["0"] + 1}, lambda labels: labels | {"77": 0}):
        stated = json.loads(path.read_text())
        stated["episode-0002-train.tfrecords"] = change(stated["episode-0002-train.tfrecords"])
        path.write_text(json.dumps(stated))
        with pytest.raises(BadPlan, match=r"images_per_class\.json: the counts stated for episode-0002-train"):
            load(folder)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"a": 1}', b'{"a": {"b": 1}}', b"\xff", b"[" * 10**5, b'{"a": {"0": NaN}}']
)
def test_counts_that_are_not_a_table_are_refused(folder, text):
    (folder / "images_per_class.json").write_bytes(text)
    with pytest.raises(BadPlan, match=r"images_per_class\.json: not a table"):
        load(folder)


@pytest.mark.parametrize(
    ("support", "query", "message"),
    [
        ([0, 2], [0, 2], r"train\.tfrecords: labels run from 0 to way - 1, but there is a label 2 and no 1"),
        ([1, 2], [1, 2], r"train\.tfrecords: .* a label 1 and no 0"),
        ([-1, 0], [-1, 0], r"train\.tfrecords: .* a label -1 and no 0"),
        ([0, 2**63 - 1], [0, 2**63 - 1], r"train\.tfrecords: .* a label 9223372036854775807 and no 1"),
        ([0, 1], [0, 1, 2], r"test\.tfrecords: label 2 is not among the labels of the support images"),
        ([0, 1], [0, 0, 1], r"test\.tfrecords: label 1 has 1 images, label 0 has 2"),
        ([0, 1], [0], r"test\.tfrecords: label 1 has 0 images, label 0 has 1"),
        ([0, 0], [0], r"train\.tfrecords: only one class"),
        ([], [0], r"train\.tfrecords: no images"),
        ([0, 1], [], r"test\.tfrecords: no images"),
    ],
)
def test_episodes_that_no_plan_can_hold_are_named(tmp_path, support, query, message):
    folder = dump_files(tmp_path / "set", ([0, 1], [0, 1]), (support, query))
    with pytest.raises(BadPlan, match="episode-0001-" + message):
        load(folder)


def test_a_flipped_bit_is_found_when_a_dump_is_opened(folder):
    path = folder / "episode-0001-train.tfrecords"
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    second = length + 16
    data[second + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptRecord, match=rf"episode-0001-train\.tfrecords: byte {second}: payload CRC"):
        load(folder)


def test_a_file_that_was_cut_between_two_records_is_found_by_the_counts(folder):
    path = folder / "episode-0001-train.tfrecords"
    path.write_bytes(path.read_bytes()[: int(RecordFile(path).index.starts[-1])])
    with pytest.raises(BadPlan, match="episode-0001"):
        load(folder)


def test_a_payload_that_is_no_example_is_named(folder):
    import google_crc32c

    from episodes.record_index import mask_crc

    def framed(payload):
        length = struct.pack("<Q", len(payload))
        crcs = [struct.pack("<I", mask_crc(google_crc32c.value(part))) for part in (length, payload)]
        return length + crcs[0] + payload + crcs[1]

    (folder / "episode-0001-train.tfrecords").write_bytes(framed(b"no example"))
    with pytest.raises(BadExample, match=r"episode-0001-train\.tfrecords: record 0: "):
        load(folder)


@pytest.mark.parametrize("name", ["episode-7-train.tfrecords", "episode-00004-test.tfrecords", "episode-x.tfrecords"])
def test_a_file_with_a_doubtful_name_is_refused(folder, name):
    (folder / name).touch()
    with pytest.raises(BadPlan, match=f"{name}: not the name of an episode's file"):
        load(folder)


def test_a_folder_without_episodes_is_named(tmp_path):
    with pytest.raises(BadPlan, match="nothing: no such folder of dumped episodes"):
        load(tmp_path / "nothing")
    with pytest.raises(BadPlan, match="no dumped episodes; they are named episode-0000-train"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["episode-0001-test.tfrecords", "images_per_class.json"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.with_name("nothing"))])
def test_what_is_no_file_is_named_and_not_waited_for(folder, name, make):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(BadPlan, match=f"{name}: not a file"):
        load(folder)


@pytest.mark.parametrize("name", ["episode-0001-test.tfrecords", "images_per_class.json"])
def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(BadSpec, match=f"{name}: a link to .*outside, out of the data set's folder"):
        load(folder)


def test_a_table_of_counts_without_end_is_not_read(folder):
    with (folder / "images_per_class.json").open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(BadPlan, match=r"images_per_class\.json: larger than 32 MiB"):
        load(folder)


# --- the protocol


SMALL = EpisodeConfig(num_ways=5, num_support=2, num_query=3)


def test_what_a_protocol_samples_fits_it():
    for config in (
        {},
        {"num_ways": 5, "num_support": 2, "num_query": 3},
        {"num_support": (1, 4)},
        {"max_ways": 5, "max_support_per_class": 1},
        {"min_ways": 2, "max_support_size": 20, "max_num_query": 3},
        {"use_all_classes": True},
    ):
        assert misfit(sampled(tasks=40, **config), EpisodeConfig(**config)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_ways": 6}, "episode 0 has 5 classes, but num_ways = 6"),
        ({"num_ways": None, "min_ways": 6}, "5 classes, but min_ways = 6"),
        ({"num_ways": None, "min_ways": 2, "max_ways": 4}, "5 classes, but max_ways = 4"),
        ({"num_support": 3}, "2 to 2 support images of a class, but num_support = 3"),
        ({"num_support": (3, 5)}, "2 to 2 support images of a class, but num_support = (3, 5)"),
        ({"num_support": (0, 1)}, "2 to 2 support images of a class, but num_support = (0, 1)"),
        ({"num_support": None, "max_support_size": 9}, "10 support images, but max_support_size = 9"),
        ({"num_support": None, "max_support_per_class": 1}, "10 support images of 5 classes, but max_support_per_"),
        ({"num_query": 4}, "3 query images of every class, but num_query = 4"),
        ({"num_query": None, "max_num_query": 2}, "3 query images of every class, but max_num_query = 2"),
        ({"num_ways": None, "use_all_classes": True}, None),
        ({"num_support": (1, 2)}, None),
        ({"num_support": None, "num_query": None}, None),
    ],
)
def test_what_a_protocol_never_samples_is_named(change, words):
    plan = sampled(num_ways=5, num_support=2, num_query=3)
    found = misfit(plan, dataclasses.replace(SMALL, **change))
    assert (words is None and found is None) or words in found


def test_classes_with_shots_of_their_own_are_no_episode_of_a_shared_number(tmp_path):
    _, plan = load(dump_files(tmp_path / "set", ([0, 0, 1], [0, 1]), ([0, 1, 1], [0, 1])))
    assert misfit(plan, EpisodeConfig(min_ways=2, num_support=(1, 5))) == (
        "episode 0 has 1 to 2 support images of a class, but num_support = (1, 5)"
    )


def test_the_first_episode_that_does_not_fit_is_named(tmp_path):
    _, plan = load(dump_files(tmp_path / "set", ([0, 1], [0, 1]), ([0, 1, 2], [0, 1, 2])))
    assert misfit(plan, EpisodeConfig(num_ways=2)) == "episode 1 has 3 classes, but num_ways = 2"
