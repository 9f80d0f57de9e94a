import json
import pickle
import struct
import tracemalloc

import google_crc32c
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_images import images_of, png

from episodes import check
from episodes.check import ClassJob, Problem, check_class, inspect_folder, summarize
from episodes.record_index import mask_crc
from episodes.tfrecord import RecordFile, write_records
from episodes.track_order import TRACK_RATIO, neighbour_ratio, sample_neighbours


@pytest.fixture
def reds(tmp_path, flat_spec):
    """A data set of 1 train, 1 valid and 2 test classes that a test may spoil."""
    return write_set(tmp_path / "reds", flat_spec, (1, 1, 2), [images_of(i, 12 + i) for i in range(4)])


def write_set(folder, flat_spec, per_split, classes):
    folder.mkdir()
    for class_id, images in enumerate(classes):
        write_records(folder / f"{class_id}.tfrecords", [(image, class_id) for image in images])
    spec = flat_spec(folder.name, per_split, [len(images) for images in classes])
    (folder / "dataset_spec.json").write_text(json.dumps(spec))
    return folder


def check_folder(folder, images=True):
    inspected = inspect_folder(folder)
    return summarize(inspected, [check_class(job) for job in inspected.jobs(images)])


def only_problem(folder, **options):
    report = check_folder(folder, **options)
    assert len(report.problems) == sum(report.counts.values()) == 1, report.problems
    return report.problems[0]


def starts_of(file):
    return RecordFile(file).index.starts.tolist()


def flip(file, position, mask=4):
    data = bytearray(file.read_bytes())
    data[position] ^= mask
    file.write_bytes(bytes(data))


# --- whole folders --


def test_a_whole_data_set_has_no_problems(reds):
    report = check_folder(reds)
    assert report.ok
    assert report.problems == ()
    assert report.classes == report.expected_classes == {"train": 1, "valid": 1, "test": 2}
    assert report.images == report.expected_images == {"train": 12, "valid": 13, "test": 29}


@pytest.mark.parametrize("name", ["bilevel_tiny", "dag_tiny"])
def test_every_kind_of_spec_is_read_and_its_missing_files_are_counted(golden, name):
    report = check_folder(golden / "episodes/records" / name)
    assert report.counts == {"folder": sum(report.expected_classes.values())}
    assert sum(report.classes.values()) == 0


def test_records_of_the_official_writer_are_fine(golden):
    report = check_class(ClassJob(golden / "episodes/records/flat_tiny/7.tfrecords", 7, 12))
    assert (report.records, report.counts) == (12, {})


def test_a_missing_and_a_stray_class_file_are_told(reds):
    (reds / "2.tfrecords").rename(reds / "02.tfrecords")
    report = check_folder(reds)
    assert [(problem.path.name, problem.reason) for problem in report.problems] == [
        ("02.tfrecords", "no class of the spec has this file"),
        ("2.tfrecords", "missing; the spec lists class 2"),
    ]
    assert report.classes["test"] == 1
    assert report.images["test"] == 15


def test_a_class_file_that_links_out_of_the_folder_is_told_and_not_read(reds, tmp_path):
    (reds / "2.tfrecords").rename(tmp_path / "elsewhere")
    (reds / "2.tfrecords").symlink_to(tmp_path / "elsewhere")
    assert only_problem(reds).reason.startswith("a link that leads out of")


def test_the_folder_itself_may_be_a_link(reds, tmp_path):
    (tmp_path / "linked").symlink_to(reds)
    assert check_folder(tmp_path / "linked").ok


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b'{"name": NaN}'])
def test_a_folder_without_a_readable_spec_has_that_one_problem(reds, content):
    (reds / "dataset_spec.json").unlink()
    if content is not None:
        (reds / "dataset_spec.json").write_bytes(content)
    problem = only_problem(reds)
    assert (problem.kind, problem.path) == ("folder", reds / "dataset_spec.json")
    assert str(problem.path) not in problem.reason


def test_a_published_data_set_is_held_against_its_published_counts(tmp_path, flat_spec):
    report = check_folder(write_set(tmp_path / "dtd", flat_spec, (0, 0, 2), [images_of(i, 3) for i in range(2)]))
    assert report.expected_classes == {"train": 33, "valid": 7, "test": 7}
    assert report.expected_images["test"] == 840
    assert "test classes: 2 here, 7 as published" in [problem.reason for problem in report.problems]


def test_the_spec_names_the_data_set_when_its_folder_does_not(tmp_path, flat_spec):
    folder = write_set(tmp_path / "dtd", flat_spec, (0, 0, 1), [images_of(0, 3)])
    assert inspect_folder(folder.rename(tmp_path / "my_copy")).known.name == "dtd"


def test_all_problems_are_counted_and_the_first_are_kept(reds):
    for class_id in (2, 3):
        write_records(reds / f"{class_id}.tfrecords", [(b"no image", class_id)] * (12 + class_id))
    flip(reds / "3.tfrecords", 13)
    report = check_folder(reds)
    assert report.counts == {"image": 28, "corrupt": 1}
    kept = [(problem.path.name[0], problem.record) for problem in report.problems if problem.kind == "image"]
    assert kept == [*(("2", i) for i in range(14)), *(("3", i) for i in range(1, 7))]
    assert len(kept) == check.PROBLEMS_KEPT
    assert [problem.record for problem in report.problems if problem.kind == "corrupt"] == [0]


def test_equal_wrong_labels_of_a_file_are_one_problem_that_says_how_many(reds):
    labels = [3, 7, 2, *[3] * 11]
    write_records(reds / "2.tfrecords", list(zip(images_of(2, 14), labels, strict=True)))
    report = check_folder(reds)
    assert report.counts == {"label": 13}
    assert [(problem.record, problem.records, problem.reason) for problem in report.problems] == [
        (0, 12, "label 3 in the file of class 2"),
        (1, 1, "label 7 in the file of class 2"),
    ]


def test_the_report_does_not_depend_on_the_order_of_the_class_files(reds):
    for class_id in range(4):
        flip(reds / f"{class_id}.tfrecords", 100)
    folder = inspect_folder(reds)
    checks = [check_class(job) for job in folder.jobs(images=True)]
    assert summarize(folder, checks) == summarize(folder, checks[::-1])


def test_a_job_and_its_result_travel_between_processes(reds):
    job = inspect_folder(reds).jobs(images=True)[0]
    result = check_class(pickle.loads(pickle.dumps(job)))
    assert pickle.loads(pickle.dumps(result)) == result


# --- single records --


def test_a_corrupt_record_is_located_and_the_following_ones_are_read(reds):
    file = reds / "1.tfrecords"
    start = starts_of(file)[4]
    flip(file, start + 60)
    assert check_folder(reds).images["valid"] == 13
    assert only_problem(reds) == Problem("corrupt", file, 4, start, "payload CRC does not match")


def test_a_broken_length_ends_its_file_and_no_other(reds):
    file = reds / "1.tfrecords"
    start = starts_of(file)[4]
    flip(file, start)
    report = check_folder(reds)
    assert report.images == {"train": 12, "valid": 4, "test": 29}
    assert report.problems == (
        Problem("corrupt", file, 4, start, "length CRC does not match; no record behind it can be found"),
        Problem("count", file, None, None, "4 records found; the spec says 13"),
    )


def test_a_cut_between_two_records_is_found_by_the_count(reds):
    file = reds / "0.tfrecords"
    file.write_bytes(file.read_bytes()[: starts_of(file)[-1]])
    assert only_problem(reds).reason == "11 records found; the spec says 12"


def test_every_flipped_bit_is_located(tmp_path):
    file = tmp_path / "0.tfrecords"
    write_records(file, [(b"a" * n, 0) for n in (5, 1, 9)])
    good, starts = file.read_bytes(), starts_of(file)
    for position in range(len(good)):
        for bit in range(8):
            data = bytearray(good)
            data[position] ^= 1 << bit
            file.write_bytes(data)
            report = check_class(ClassJob(file, 0, 3, images=False, order=False))
            assert report.counts["corrupt"] == 1
            assert report.problems[0].offset == max(start for start in starts if start <= position)


def test_every_cut_is_located(tmp_path):
    file = tmp_path / "0.tfrecords"
    write_records(file, [(b"a" * n, 0) for n in (5, 1, 9)])
    good, starts = file.read_bytes(), starts_of(file)
    for length in range(len(good)):
        file.write_bytes(good[:length])
        report = check_class(ClassJob(file, 0, 3, images=False, order=False))
        whole = sum(end <= length for end in [*starts[1:], len(good)])
        assert report.records == whole
        assert report.counts == {"count": 1} | ({} if length in starts else {"corrupt": 1})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=3))
def test_no_bytes_whatever_stop_the_check(tmp_path, rubbish, payloads):
    file = tmp_path / "0.tfrecords"
    file.write_bytes(b"".join(framed(payload) for payload in payloads) + rubbish)
    report = check_class(ClassJob(file, 0, 3))
    assert report.records >= len(payloads)
    assert sum(report.counts.values()) == len(report.problems) > 0


def framed(payload):
    length = struct.pack("<Q", len(payload))
    crcs = [struct.pack("<I", mask_crc(google_crc32c.value(part))) for part in (length, payload)]
    return length + crcs[0] + payload + crcs[1]


def test_an_absurd_count_in_the_spec_costs_nothing(reds):
    report = check_class(ClassJob(reds / "0.tfrecords", 0, 2**40))
    assert report.problems[0].reason == "12 records found; the spec says 1,099,511,627,776"


def test_a_label_other_than_the_files_class_is_a_problem(reds):
    write_records(reds / "2.tfrecords", [(image, 2 if i != 5 else 3) for i, image in enumerate(images_of(2, 14))])
    problem = only_problem(reds)
    assert (problem.kind, problem.record, problem.reason) == ("label", 5, "label 3 in the file of class 2")


def test_an_undecodable_image_is_a_problem_unless_images_are_left_alone(reds):
    images = images_of(2, 14)
    images[3] = images[3][:60]
    write_records(reds / "2.tfrecords", [(image, 2) for image in images])
    problem = only_problem(reds)
    assert (problem.kind, problem.record) == ("image", 3)
    assert check_folder(reds, images=False).ok


def test_whatever_an_image_library_raises_the_check_goes_on(reds, monkeypatch):
    def confused(data):
        raise IndexError

    monkeypatch.setattr(check, "decode_image", confused)
    report = check_folder(reds)
    assert report.counts == {"image": 54}
    assert report.problems[0].reason == "IndexError"


def test_an_unreadable_class_file_is_a_problem(reds):
    report = check_class(ClassJob(reds, 0, 12))
    assert report.counts == {"corrupt": 1, "count": 1}
    assert report.problems[0].reason == "cannot be read (Is a directory)"


def test_a_record_too_large_for_an_image_is_stepped_over(tmp_path):
    file, claimed = tmp_path / "0.tfrecords", 2**30
    length = struct.pack("<Q", claimed)
    with file.open("wb") as out:  # a file with a hole: it takes no room
        out.write(length + struct.pack("<I", mask_crc(google_crc32c.value(length))))
        out.seek(claimed + 4, 1)
        out.write(framed(b"") * 2)
    tracemalloc.start()
    report = check_class(ClassJob(file, 0, 3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.problems[0].reason == "claims 1,073,741,824 bytes; no image is that large"
    assert report.records == 3
    assert peak < 2**24


def test_memory_does_not_grow_with_the_class(tmp_path):
    file = tmp_path / "0.tfrecords"
    write_records(file, ((bytes(2**20), 0) for _ in range(40)))
    check_class(ClassJob(file, 0, 40))  # imports
    tracemalloc.start()
    check_class(ClassJob(file, 0, 40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


# --- order --


def tracks(rng, count, frames):
    """Frames of signs that come nearer: each track has its own light, background and growing sides."""
    for _ in range(count):
        scene, light = rng.randint(0, 256, size=(6, 6, 3)), rng.uniform(0.2, 1.0)
        for frame in range(frames):
            side = 16 + frame
            rows = np.arange(side) * 6 // side
            shade = light * (1 + 0.01 * frame)
            yield np.clip(scene[rows][:, rows] * shade + rng.normal(0, 4, (side, side, 3)), 0, 255)


def signs(tmp_path, flat_spec, classes, name="traffic_sign"):
    return write_set(tmp_path / name, flat_spec, (0, 0, len(classes)), [[png(image) for image in c] for c in classes])


def shuffled(rng, images):
    images = list(images)
    return [images[i] for i in rng.permutation(len(images))]


def test_tracks_in_their_order_are_recognised(tmp_path, flat_spec):
    rng = np.random.RandomState(0)
    report = check_folder(signs(tmp_path, flat_spec, [list(tracks(rng, 4, 15)) for _ in range(5)]))
    assert report.order == "tracks"
    assert report.counts["order"] == 1
    assert report.problems[0].reason.startswith("lies in track order")


def test_the_same_frames_shuffled_are_fine(tmp_path, flat_spec):
    rng = np.random.RandomState(0)
    report = check_folder(signs(tmp_path, flat_spec, [shuffled(rng, tracks(rng, 4, 15)) for _ in range(5)]))
    assert report.order == "shuffled"
    assert "order" not in report.counts


def test_the_order_of_traffic_signs_is_told_even_when_images_are_left_alone(tmp_path, flat_spec):
    rng = np.random.RandomState(0)
    folder = signs(tmp_path, flat_spec, [list(tracks(rng, 4, 15))])
    assert check_folder(folder, images=False).order == "tracks"


def test_other_data_sets_may_lie_in_any_order(tmp_path, flat_spec):
    rng = np.random.RandomState(0)
    report = check_folder(signs(tmp_path, flat_spec, [list(tracks(rng, 4, 15))], name="videos"))
    assert report.order == "tracks"
    assert report.ok


@pytest.mark.parametrize("noise", [3, 30])
def test_plain_similar_images_raise_no_alarm(tmp_path, flat_spec, noise):
    rng = np.random.RandomState(1)
    classes = [[np.clip(120 + rng.normal(0, noise, (16, 16)), 0, 255) for _ in range(40)] for _ in range(3)]
    report = check_folder(signs(tmp_path, flat_spec, classes))
    assert report.order in (None, "shuffled")
    assert "order" not in report.counts


def test_equal_images_tell_nothing(tmp_path, flat_spec):
    report = check_folder(signs(tmp_path, flat_spec, [[np.full((8, 8), 90)] * 40]))
    assert report.order is None
    assert "order" not in report.counts


def test_a_handful_of_images_tells_nothing(tmp_path, flat_spec):
    rng = np.random.RandomState(0)
    assert check_folder(signs(tmp_path, flat_spec, [list(tracks(rng, 1, 10))])).order is None


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8), st.integers(60, 400))
def test_a_class_of_two_looks_in_random_order_is_not_taken_for_tracks(seed, share, records):
    rng = np.random.RandomState(seed)
    levels = np.where(rng.rand(records) < share, 40.0, 200.0)
    thumbnails = {i: levels[i] + rng.normal(0, 2, 64) for i in range(records)}
    assert neighbour_ratio(sample_neighbours(records, seed % 1000), thumbnails) > TRACK_RATIO
