"""A data set is written whole or not at all, whatever happens, and a killed build is taken up where it stopped."""

import os
import resource
import signal
import time
import tracemalloc
from pathlib import Path

import pytest
from tiny_images import images_of

from episodes import writing
from episodes.dataset import DatasetRecords
from episodes.errors import BadImage, BadSpec, MissingSource
from episodes.spec_writing import bilevel_spec, flat_spec
from episodes.tfrecord import RecordFile, parse_example
from episodes.writing import KEY_FILE, ClassSource, write_dataset, write_images

KEY = "0123456789abcdef" * 4
COUNTS = [2, 3, 1]


def nothing():
    """What `hook` does when a test does not care."""


def sources(hook=nothing, counts=COUNTS):
    """Three classes; `hook` is called before every image is given."""

    def images(class_id):
        for image in images_of(class_id, counts[class_id], side=4):
            hook()
            yield image

    return [ClassSource(f"class {i}", lambda i=i: images(i)) for i in range(len(counts))]


def make_spec(counts):
    names = [f"class {i}" for i in range(len(counts))]
    return flat_spec("set", (names[:1], (), names[1:]), counts)


def build(folder, hook=nothing, key=KEY, **more):
    write_dataset(folder, sources(hook), make_spec, key=key, **more)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What a build that nothing disturbs writes."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    build(folder)
    return content(folder)


def forked(job):
    """Run `job` in a process of its own; its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            job()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def killed_at(step, folder):
    """Build in another process, which is killed at the given step: an image, a flush to disk or a rename."""

    def job():
        steps = iter(range(step))

        def count(*arguments):
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        fsync, rename = os.fsync, Path.rename
        os.fsync = lambda descriptor: (count(), fsync(descriptor))
        Path.rename = lambda path, target: (count(), rename(path, target), count())
        build(folder, count)

    status = forked(job)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def test_a_build_killed_at_any_moment_leaves_nothing_that_reads_as_complete_and_goes_on(tmp_path, uninterrupted):
    step = 0
    while killed_at(step, folder := tmp_path / f"after {step}" / "set"):
        assert not folder.exists() or content(folder) == uninterrupted
        build(folder)
        assert content(folder) == uninterrupted
        assert [path.name for path in folder.parent.iterdir()] == ["set"]
        step += 1
    assert step > 15


def test_finished_classes_are_not_read_again(tmp_path, uninterrupted):
    given, done = [], []

    def stops_in_the_second_class():
        given.append(1)
        if len(given) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "set", stops_in_the_second_class)
    assert not (tmp_path / "set").exists()
    given.clear()
    build(tmp_path / "set", lambda: given.append(1), advance=done.append)
    assert (len(given), sum(done)) == (sum(COUNTS[1:]), len(COUNTS))
    build(tmp_path / "set", lambda: given.append(1), advance=done.append)
    assert (len(given), sum(done)) == (sum(COUNTS[1:]), 2 * len(COUNTS))
    assert content(tmp_path / "set") == uninterrupted


def test_a_finished_class_that_was_damaged_meanwhile_is_written_again(tmp_path, uninterrupted):
    assert killed_at(13, tmp_path / "set")
    (part,) = tmp_path.glob(".set-*.part")
    file = part / "0.tfrecords"
    file.write_bytes(file.read_bytes()[:-1])
    build(tmp_path / "set")
    assert content(tmp_path / "set") == uninterrupted


def test_what_builds_with_other_keys_left_is_removed_but_not_what_others_left(tmp_path):
    for name in (f".set-{'f' * 12}.part", f".set-b-{'f' * 12}.part", ".set-mine.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.tfrecords").touch()
    build(tmp_path / "set")
    assert {path.name for path in tmp_path.iterdir()} == {"set", f".set-b-{'f' * 12}.part", ".set-mine.part"}


def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(tmp_path, uninterrupted):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(uninterrupted["0.tfrecords"]), limits[1]))
    try:
        with pytest.raises(
            MissingSource, match=r"set: cannot be written \(File too large\); free some space"
        ) as caught:
            build(tmp_path / "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.rglob("*.tfrecords*")} == {"0.tfrecords"}
    build(tmp_path / "set")
    assert content(tmp_path / "set") == uninterrupted


def test_of_two_builders_at_once_one_waits_and_finds_it_done(tmp_path, uninterrupted):
    def slow():
        (tmp_path / "images").open("a").write(f"{os.getpid()}\n")
        deadline = time.monotonic() + 60
        while not (tmp_path / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    children = []
    for _ in range(2):
        if not (pid := os.fork()):
            try:
                build(tmp_path / "records/set", slow)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(pid)
    while not (tmp_path / "images").exists():
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert len(set((tmp_path / "images").read_text().split())) == 1
    assert content(tmp_path / "records/set") == uninterrupted


@pytest.mark.parametrize("there", ["another build", "a folder", "a file"])
def test_what_is_there_already_stays_as_it_is(tmp_path, there):
    folder = tmp_path / "set"
    if there == "another build":
        build(folder, key="f" * 64)
    elif there == "a folder":
        folder.mkdir()
        (folder / "thesis.txt").write_text("the only copy")
    else:
        folder.write_text("the only copy")
    before = content(folder) if folder.is_dir() else folder.read_text()
    with pytest.raises(MissingSource, match="set: is there already, and was not built from these images"):
        build(folder)
    assert (content(folder) if folder.is_dir() else folder.read_text()) == before


def test_a_finished_data_set_that_lost_a_file_is_not_taken_for_done(tmp_path):
    build(tmp_path / "set")
    (tmp_path / "set/1.tfrecords").unlink()
    with pytest.raises(MissingSource, match=r"1\.tfrecords: missing; delete .*set to build it again"):
        build(tmp_path / "set")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MissingSource, match=r"file/set: cannot be written \("):
        build(tmp_path / "file" / "set")


def test_a_source_that_cannot_be_read_is_not_taken_for_a_full_disk(tmp_path):
    def vanished():
        raise FileNotFoundError(2, "No such file or directory", "photo.jpg")

    with pytest.raises(MissingSource, match=r"^photo\.jpg: cannot be read \(No such file"):
        build(tmp_path / "set", vanished)


def test_what_is_wrong_with_an_image_comes_through_as_it_is(tmp_path):
    def unreadable():
        raise BadImage("photo.jpg: the file is empty")

    with pytest.raises(BadImage, match="^photo.jpg: the file is empty$"):
        build(tmp_path / "set", unreadable)


def test_memory_that_corrupts_what_is_written_is_noticed(tmp_path, monkeypatch):
    def write_half(path, examples):
        write_records(path, examples)
        path.write_bytes(path.read_bytes()[:-5])

    write_records = writing.write_records
    monkeypatch.setattr(writing, "write_records", write_half)
    with pytest.raises(MissingSource, match=r"0\.tfrecords: reads back damaged"):
        build(tmp_path / "set")


def test_a_spec_that_disagrees_with_the_images_is_not_written(tmp_path):
    with pytest.raises(BadSpec, match="set: the spec and the images given disagree, first at class 1"):
        write_dataset(tmp_path / "set", sources(), lambda counts: make_spec([2, 4, 1]), key=KEY)
    assert not (tmp_path / "set").exists() and not list(tmp_path.rglob("dataset_spec.json"))


def test_images_are_streamed_and_never_all_in_memory(tmp_path):
    (tmp_path / "warm up").mkdir()
    build(tmp_path / "warm up/set")
    classes = [ClassSource("large", lambda: (bytes([i]) * 2**18 for i in range(100)))]
    tracemalloc.start()
    try:
        write_dataset(tmp_path / "set", classes, lambda counts: flat_spec("set", ((), (), ("large",)), counts), key=KEY)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**18 < (tmp_path / "set/0.tfrecords").stat().st_size


def test_images_in_memory_are_known_by_their_content(tmp_path):
    classes = [images_of(0, 2), images_of(1, 3), images_of(2, 1)]
    for _ in range(2):
        write_images(tmp_path / "set", make_spec(COUNTS), classes)
    with pytest.raises(MissingSource, match="is there already"):
        write_images(tmp_path / "set", make_spec(COUNTS), [*classes[:2], images_of(3, 1)])
    data = DatasetRecords(tmp_path / "set")
    assert [[data.encoded(c, r).data for r in range(n)] for c, n in enumerate(COUNTS)] == classes


def test_every_record_carries_the_id_of_its_class(tmp_path):
    build(tmp_path / "set")
    for class_id, count in enumerate(COUNTS):
        file = RecordFile(tmp_path / f"set/{class_id}.tfrecords")
        assert [parse_example(file[i])[1] for i in range(len(file))] == [class_id] * count
    assert (tmp_path / "set" / KEY_FILE).read_text() == f"{KEY}\n"


def test_a_bilevel_spec_lays_its_classes_out_superclass_by_superclass(tmp_path):
    splits = ([("Latin", ["a", "b"])], [], [("Greek", ["alpha"])])
    write_dataset(tmp_path / "set", sources(), lambda counts: bilevel_spec("set", splits, counts), key=KEY)
    spec = DatasetRecords(tmp_path / "set").spec
    assert spec.class_names == ("a", "b", "alpha")
    assert {split: sizes.tolist() for split, sizes in spec.superclass_sizes.items()} == {
        "train": [2],
        "valid": [],
        "test": [1],
    }
