"""`build_records` from image folders and from prepared TensorFlow Datasets: what is written, said and refused."""

import io
import json
import sys
import types
from typing import NamedTuple

import msgspec
import pytest
from rich.console import Console
from tiny_images import images_of
from tiny_tfds import FORMATS, jpeg, plain_features, prepare

from episodes.conversion import stored_image
from episodes.dataset import DatasetRecords
from episodes.errors import BadSpec, MissingSource
from episodes.known_datasets import KNOWN
from episodes.sources import folder as folder_source
from episodes.spec import load_spec
from episodes.splits import official_split
from episodes.writing import ClassSource
from harness.commands import records_build
from harness.commands.records_build import build_records
from harness.errors import HarnessError

OPTIONS = {"name": None, "splits": None, "all_in": None, "tfds_splits": None, "skip_unreadable": False}


@pytest.fixture
def build(tmp_path):
    """`build(source, **options)` into `records/`: what is printed."""

    def call(source, out=tmp_path / "records", **options):
        text = io.StringIO()
        build_records(Console(file=text, width=120), source, out, **{**OPTIONS, **options})
        return text.getvalue()

    return call


@pytest.fixture
def make(tmp_path):
    """`make({"cats": 3, "train/dogs": 2})`: a folder `photos` of classes with so many images."""

    def folder(counts, name="photos"):
        for number, (path, count) in enumerate(counts.items()):
            (tmp_path / name / path).mkdir(parents=True)
            for i, image in enumerate(images_of(number, count, side=4)):
                (tmp_path / name / path / f"{i}.png").write_bytes(image)
        return tmp_path / name

    return folder


def names_of(spec):
    return [[spec.class_names[i] for i in ids] for ids in spec.class_ids.values()]


def images(folder, class_id):
    data = DatasetRecords(folder)
    return [data.encoded(class_id, i).data for i in range(data.spec.images_per_class[class_id])]


def test_classes_are_split_by_the_official_draw_and_every_image_is_stored(build, make, tmp_path):
    classes = {f"class {i:02}": 2 + i % 3 for i in range(20)}
    text = build(make(classes))
    folder = tmp_path / "records/photos"
    spec = load_spec(folder)
    drawn = official_split(sorted(classes))
    assert names_of(spec) == [list(split) for split in drawn.chosen]
    assert [spec.images_per_class[i] for i in range(20)] == [classes[name] for name in spec.class_names]
    for class_id, name in enumerate(spec.class_names):
        number = list(classes).index(name)
        assert images(folder, class_id) == [stored_image(data) for data in images_of(number, classes[name], side=4)]
    rows = [line.split("│")[1:4] for line in text.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["train", "14", str(sum(classes[name] for name in drawn.train))],
        ["valid", "3", str(sum(classes[name] for name in drawn.valid))],
        ["test", "3", str(sum(classes[name] for name in drawn.test))],
    ]


def test_the_next_command_takes_a_split_that_has_enough_classes_of_enough_images(build, make, tmp_path):
    text = build(make({f"c{i}": 16 for i in range(8)}), name="my birds")
    assert text.splitlines()[-1] == (
        f"next: metabench run fixed-5w1s --records {tmp_path}/records --backbone resnet18-pocket --split train"
    )
    text = build(tmp_path / "photos", name="all", all_in="test")
    assert text.splitlines()[-1].endswith("--datasets all --backbone resnet18-pocket")
    text = build(make({f"c{i}": 15 + i % 2 for i in range(8)}, "small"), all_in="test")
    too_few = "no split has 5 classes of 16 images, the least that fixed-5w1s can draw episodes from"
    assert text.splitlines()[-1] == too_few
    text = build(make({f"c{i}": 16 for i in range(6)}, "few"))
    assert text.splitlines()[-1] == f"{too_few}; --all-in test puts all classes into one split"
    text = build(make({f"{split}/{split}{i}": 16 for split in ("train", "test") for i in range(4)}, "own"))
    assert text.splitlines()[-1] == too_few


def test_folders_of_splits_are_kept(build, make, tmp_path):
    build(make({"train/z": 1, "train/b": 1, "val/c": 2, "test/a": 3}))
    spec = load_spec(tmp_path / "records/photos")
    assert names_of(spec) == [["b", "z"], ["c"], ["a"]]
    assert spec.images_per_class.tolist() == [1, 1, 2, 3]


def test_folders_that_may_be_splits_and_are_taken_for_classes_are_told(build, make, tmp_path):
    text = build(make({"training/a": 1, "training/b": 1, "eval/c": 1}))
    assert (
        "taken for classes: eval, training. If these are splits, call every folder there train, valid or test\n" in text
    )
    assert sorted(load_spec(tmp_path / "records/photos").class_names) == ["eval", "training"]
    assert "taken for classes" not in build(make({"training/a": 1, "validation/b": 1, "testing/c": 1}, "named"))


def test_hidden_folders_are_said_to_be_left_out(build, make):
    text = build(make({"a": 1, "b": 1, ".ipynb_checkpoints/a": 1}))
    assert "hidden or system folders, left out: .ipynb_checkpoints\n" in text


def test_given_splits_are_kept_and_what_they_leave_out_is_said(build, make, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps({"train": ["b", "a"], "test": ["e"]}))
    text = build(make(dict.fromkeys("abcde", 2)), splits=tmp_path / "s.json")
    assert names_of(load_spec(tmp_path / "records/photos")) == [["b", "a"], [], ["e"]]
    assert "s.json, left out: c, d\n" in text


def test_all_classes_can_be_in_one_split(build, make, tmp_path):
    build(make(dict.fromkeys("abc", 2)), all_in="valid", name="mine")
    assert names_of(load_spec(tmp_path / "records/mine")) == [[], ["a", "b", "c"], []]
    assert load_spec(tmp_path / "records/mine").name == "mine"


def test_the_same_command_again_changes_nothing_and_another_is_refused(build, make, tmp_path):
    source = make(dict.fromkeys("abc", 2))
    first = build(source)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "records/photos").iterdir()}
    assert build(source) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "records/photos").iterdir()} == times
    with pytest.raises(MissingSource, match="photos: is there already, and was not built from these images"):
        build(source, all_in="test")
    (source / "a/9.png").write_bytes(images_of(9, 1)[0])
    with pytest.raises(MissingSource, match="is there already"):
        build(source)


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(n)`: Ctrl-C is pressed when the n-th image from now on is read; returns the images read, a list."""

    def arm(number):
        read = []

        def convert(data):
            read.append(data)
            if len(read) == number:
                raise KeyboardInterrupt
            return stored_image(data)

        monkeypatch.setattr(folder_source, "stored_image", convert)
        return read

    return arm


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(build, make, tmp_path, stop_at, capsys):
    source = make(dict.fromkeys("abc", 3))
    stop_at(5)
    with pytest.raises(SystemExit) as leaving:
        build(source)
    assert leaving.value.code == 130
    assert capsys.readouterr().err == "stopped; finished classes are kept, and the same command goes on from there\n"
    assert not (tmp_path / "records/photos").exists()
    read = stop_at(None)
    build(source)
    assert len(read) == 6
    assert [len(images(tmp_path / "records/photos", i)) for i in range(3)] == [3, 3, 3]


def test_another_way_of_storing_images_starts_a_stopped_build_anew(build, make, stop_at, monkeypatch):
    source = make(dict.fromkeys("abc", 3))
    stop_at(5)
    with pytest.raises(SystemExit):
        build(source)
    monkeypatch.setattr(records_build, "conversion_recipe", lambda: "Pillow of tomorrow")
    read = stop_at(None)
    build(source)
    assert len(read) == 9


def test_records_that_were_stored_in_another_way_are_not_taken_for_the_same(build, make, monkeypatch):
    source = make(dict.fromkeys("abc", 3))
    build(source)
    monkeypatch.setattr(records_build, "conversion_recipe", lambda: "Pillow of tomorrow")
    with pytest.raises(MissingSource, match="photos: is there already, and was not built from these images"):
        build(source)


def test_a_known_data_set_gets_its_published_sizes(build, make, tmp_path):
    text = build(make({f"c{i:02}": 1 for i in range(47)}, "dtd"))
    assert [len(ids) for ids in load_spec(tmp_path / "records/dtd").class_ids.values()] == [33, 7, 7]
    assert "drawn at random" not in text


def test_flowers_numbered_without_zeros_come_into_the_published_splits(build, make, tmp_path):
    build(make({str(i + 1): 1 for i in range(102)}, "vgg_flower"))
    train, valid, test = names_of(load_spec(tmp_path / "records/vgg_flower"))
    assert train[:5] == ["90", "38", "80", "30", "29"]
    assert valid[:5] == ["10", "16", "17", "23", "26"]
    assert test[:5] == ["5", "9", "15", "19", "35"]


def test_a_known_data_set_with_other_images_than_published_is_said_to_have_them(build, make, tmp_path, monkeypatch):
    published = msgspec.structs.replace(
        KNOWN["dtd"], images={"train": 66, "valid": 14, "test": 14}, test_images_per_class=(2, 2)
    )
    monkeypatch.setattr(records_build, "KNOWN", {"dtd": published})
    assert "not as published" not in build(make({f"c{i:02}": 2 for i in range(47)}, "dtd"))
    (tmp_path / "dtd/c00/9.png").write_bytes(images_of(0, 1)[0])
    text = build(tmp_path / "dtd", tmp_path / "2")
    assert "dtd is not as published: images per test class" in text
    assert "; test images: 15 here, 14 as published\n" in text


def test_a_known_data_set_that_is_split_unlike_the_published_one_is_said_to_be(build, make, tmp_path):
    source = make(dict.fromkeys("abcde", 1), "dtd")
    assert "dtd as published has other classes in its splits than these, which are drawn at random" in build(source)
    assert "as published" not in build(source, tmp_path / "2", all_in="test")


def test_a_known_data_set_with_test_classes_only_needs_no_option(build, make, tmp_path):
    text = build(make({str(i): 1 for i in range(10)}, "mnist"))
    assert names_of(load_spec(tmp_path / "records/mnist"))[2] == [str(i) for i in range(10)]
    assert "drawn at random" not in text


def test_traffic_signs_are_not_stored_in_the_order_of_their_tracks(build, make, tmp_path):
    build(make({f"{i:05}": 12 for i in range(3)}, "traffic_sign"), all_in="test")
    tracks = [stored_image(data) for data in images_of(0, 12, side=4)]
    stored = images(tmp_path / "records/traffic_sign", 0)
    assert stored != tracks and sorted(stored) == sorted(tracks)


def test_an_unreadable_image_stops_the_build_with_what_to_do_about_it(build, make):
    source = make({"a": 2, "b": 2})
    (source / "b/1.png").write_bytes(b"")
    with pytest.raises(HarnessError, match=r"b/1\.png: the file is empty; mend or delete it, or .* --skip-unreadable"):
        build(source)


def test_unreadable_images_can_be_left_out_after_all_and_are_named(build, make, tmp_path):
    source = make({"a": 2, "b": 2})
    (source / "b/1.png").write_bytes(b"")
    with pytest.raises(HarnessError):
        build(source, all_in="test")
    kept = [path.name for path in tmp_path.glob("records/.photos-*.part/*")]
    assert kept == ["0.tfrecords"]
    text = build(source, all_in="test", skip_unreadable=True)
    assert f"left out {source}/b/1.png: the file is empty" in text
    assert "1 of 4 images could not be stored and are left out" in text
    assert "1 of 4 images" in build(source, all_in="test", skip_unreadable=True)
    with pytest.raises(HarnessError, match="photos: 1 images are left out, since it was built with --skip-unreadable"):
        build(source, all_in="test")


def test_files_that_are_no_images_are_said_to_be_ignored(build, make):
    source = make({"a": 1, "b": 1})
    for i in range(7):
        (source / f"a/{i}.txt").touch()
    text = build(source)
    assert "ignored: a/0.txt, a/1.txt, a/2.txt, a/3.txt, a/4.txt and 2 more\n" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"all_in": "tset"}, "no split 'tset'. Did you mean 'test'?"),
        ({"all_in": "test", "splits": "s.json"}, "--splits and --all-in exclude each other"),
        ({"tfds_splits": ("test",)}, "--tfds-split is for TensorFlow Datasets; .*photos has no dataset_info.json"),
        ({"name": "a/b"}, "--name 'a/b': cannot name a data set"),
        ({"name": ".."}, r"--name '\.\.': cannot name"),
        ({"name": "a,b"}, "--name 'a,b': cannot name"),
        ({"name": " "}, "--name ' ': cannot name"),
        ({"name": ""}, "--name '': cannot name"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(build, make, tmp_path, options, words):
    with pytest.raises(HarnessError, match=words):
        build(make({"a": 1, "b": 1}), **options)
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize("options", [{"all_in": "test"}, {"splits": "s.json"}])
def test_folders_of_splits_are_not_overruled(build, make, options):
    with pytest.raises(HarnessError, match="its folders say which split a class is in; leave out --splits"):
        build(make({"train/a": 1, "test/b": 1}), **options)


def test_a_wrong_name_in_given_splits_is_answered_with_the_nearest_class(build, make, tmp_path):
    (tmp_path / "s.json").write_text('{"test": ["tabby cta"]}')
    with pytest.raises(BadSpec, match=r"s\.json: no class 'tabby cta'. Did you mean 'tabby cat'\?"):
        build(make({"tabby cat": 1, "dog": 1}), splits=tmp_path / "s.json")


@pytest.mark.parametrize(("out", "name"), [(".", None), ("photos", "new"), ("photos/a", "new")])
def test_records_are_not_written_into_their_source(build, make, tmp_path, out, name):
    source = make({"a": 1, "b": 1})
    with pytest.raises(HarnessError, match="would be written into the source"):
        build(source, tmp_path / out, name=name)
    assert sorted(path.name for path in source.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("out", ["file", "file/records"])
def test_a_file_cannot_be_the_folder_of_records(build, make, tmp_path, out):
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=f"--out .*{out}: .*/file is no folder; give a folder, in which photos/ is"):
        build(make({"a": 1, "b": 1}), tmp_path / out)


def test_a_source_that_is_not_there_is_named(build, tmp_path):
    with pytest.raises(MissingSource, match="nowhere: no such folder of images"):
        build(tmp_path / "nowhere")


class TfdsClasses(NamedTuple):
    """What the TFDS source gives."""

    name: str
    classes: list
    superclasses: list | None
    key: str


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder that looks like a prepared TFDS directory, and a source that finds these classes in it."""
    folder = tmp_path / "tfds" / "tiny" / "1.0.0"
    folder.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (folder / name).write_text("{}")
    asked = []

    def holding(names, superclasses=None):
        classes = [ClassSource(name, images_of(i, 2, side=4).__iter__) for i, name in enumerate(names)]

        def tfds_classes(directory, splits=None):
            asked.append((directory, splits))
            return TfdsClasses("tiny", classes, superclasses, "ab" * 32)

        monkeypatch.setitem(sys.modules, "episodes.sources.tfds", types.SimpleNamespace(tfds_classes=tfds_classes))
        return folder

    holding.asked = asked
    return holding


def test_a_prepared_directory_is_known_by_its_files_also_from_above(build, prepared, tmp_path):
    folder = prepared([f"c{i}" for i in range(20)])
    build(folder, tfds_splits=("test", "train"))
    build(folder.parent, tmp_path / "again")
    assert prepared.asked == [(folder, ("test", "train")), (folder.parent, None)]
    for out in ("records", "again"):
        spec = load_spec(tmp_path / out / "tiny")
        assert names_of(spec) == [list(split) for split in official_split([f"c{i}" for i in range(20)]).chosen]


def test_superclasses_are_split_and_keep_their_classes(build, prepared, tmp_path):
    (tmp_path / "s.json").write_text('{"train": ["Latin"], "test": ["Greek"]}')
    names = ["alpha", "beta", "a", "b", "c", "be"]
    source = prepared(names, [("Greek", 2), ("Latin", 3), ("Cyrillic", 1)])
    text = build(source, splits=tmp_path / "s.json")
    spec = load_spec(tmp_path / "records/tiny")
    assert names_of(spec) == [["a", "b", "c"], [], ["alpha", "beta"]]
    assert {split: sizes.tolist() for split, sizes in spec.superclass_sizes.items()} == {
        "train": [3],
        "valid": [],
        "test": [2],
    }
    assert images(tmp_path / "records/tiny", 0) == images_of(2, 2, side=4)
    assert "left out: Cyrillic" in text and "superclasses" in text


def test_omniglots_alphabets_are_as_many_per_split_as_published(build, prepared, tmp_path):
    source = prepared([f"c{i:02}" for i in range(50)], [(f"alphabet {i:02}", 1) for i in range(50)])
    text = build(source, name="omniglot")
    spec = load_spec(tmp_path / "records/omniglot")
    assert [len(sizes) for sizes in spec.superclass_sizes.values()] == [25, 5, 20]
    assert "omniglot as published has other classes in its splits" in text


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_tensorflow_datasets_prepared_becomes_records(build, tmp_path, file_format):
    names = ["cat", "dog", "eel"]
    examples = [{"image": jpeg(i), "label": i % 3} for i in range(7)]
    folder = prepare(tmp_path, {"test": examples}, plain_features(names), file_format=file_format)
    build(folder, all_in="test")
    assert load_spec(tmp_path / "records/shapes").class_names == tuple(names)
    assert [images(tmp_path / "records/shapes", i) for i in range(3)] == [
        [jpeg(j) for j in range(i, 7, 3)] for i in range(3)
    ]


def test_leaving_out_images_is_for_image_folders(build, prepared):
    with pytest.raises(HarnessError, match="--skip-unreadable is for image folders"):
        build(prepared(["a"]), skip_unreadable=True)


def test_names_with_brackets_are_printed_as_they_are(build, make):
    assert "[red]x, in " in build(make(dict.fromkeys("abc", 1)), name="[red]x")
