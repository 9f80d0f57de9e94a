"""Image folders: which files are images of which class and split, and what is refused by name."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from tiny_images import png

from episodes.errors import BadImage, MissingSource
from episodes.sources.folder import FolderClass, class_sources, folder_key, scan_folder, shuffled


@pytest.fixture
def make(tmp_path):
    """Make files under `images/`, each an image of its own: `make("cats/1.png", ...)` -> the folder."""
    source = tmp_path / "images"

    def files(*names):
        for name in names:
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(np.full((2, 2), len(list(source.rglob("*"))) % 256)))
        return source

    return files


def test_classes_and_files_are_sorted_and_folders_within_a_class_are_looked_through(make):
    found = scan_folder(make("dogs/b.png", "dogs/a.JPG", "cats/z/9.png", "cats/z/10.png", "cats/k.png", "Ants/1.webp"))
    assert found.classes == (
        ("Ants", ("Ants/1.webp",)),
        ("cats", ("cats/k.png", "cats/z/10.png", "cats/z/9.png")),
        ("dogs", ("dogs/a.JPG", "dogs/b.png")),
    )
    assert found.splits is None and found.ignored == ()


def test_classes_that_are_numbers_stand_in_the_order_of_their_values(make):
    assert [name for name, _ in scan_folder(make(*(f"{i}/1.png" for i in range(12)))).classes] == [*map(str, range(12))]


def test_classes_that_are_numbers_stand_in_the_order_of_their_values_within_splits_too(make):
    found = scan_folder(make(*(f"train/{i}/1.png" for i in range(8, 12)), "test/7/1.png"))
    assert found.splits == (("8", "9", "10", "11"), (), ("7",), ())
    assert [name for name, _ in found.classes] == ["7", "8", "9", "10", "11"]


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "valid", "test"), ("train", "val", "test"), ("Training", "Validation", "testing")],
)
def test_folders_named_like_splits_are_splits(make, train, valid, test):
    found = scan_folder(make(f"{test}/d/1.png", f"{test}/a/1.png", f"{train}/c/1.png", f"{valid}/b/1.png"))
    assert found.splits == (("c",), ("b",), ("a", "d"), ())
    assert found.doubtful == ()
    assert [name for name, _ in found.classes] == ["a", "b", "c", "d"]
    assert found.classes[1] == ("b", (f"{valid}/b/1.png",))


def test_a_subset_of_the_splits_will_do(make):
    assert scan_folder(make("test/a/1.png", "test/b/1.png")).splits == ((), (), ("a", "b"), ())


def test_one_folder_that_is_no_split_makes_all_of_them_classes(make):
    found = scan_folder(make("train/1.png", "test/1.png", "bus/1.png"))
    assert [name for name, _ in found.classes] == ["bus", "test", "train"] and found.splits is None


def test_classes_that_look_like_splits_are_told(make):
    source = make("training/a/1.png", "Eval/b/1.png", "bus/c/1.png", "test/1.png", "test/d/1.png")
    assert scan_folder(source).doubtful == ("Eval", "training")


def test_names_of_any_letters_and_names_that_differ_only_in_case_are_fine(make):
    names = ["Ähre", "a cat, sitting", "cat", "Cat", "貓", "n01.x"]
    found = scan_folder(make(*(f"{name}/bild {name}.png" for name in names)))
    assert [name for name, _ in found.classes] == sorted(names)
    assert all(len(list(each.images())) == 1 for each in class_sources(found))


def test_hidden_files_are_passed_over_and_known_non_images_are_listed(make):
    source = make("a/1.png", "a/.DS_Store", "a/notes.txt", "b/1.png", "b/GT-00000.CSV", ".cache/x.png", "README.md")
    make("__MACOSX/a/1.png", "LICENSE", "a/.thumbs/1.png")
    found = scan_folder(source)
    assert [each.files for each in found.classes] == [("a/1.png",), ("b/1.png",)]
    assert found.ignored == ("LICENSE", "README.md", "a/notes.txt", "b/GT-00000.CSV")


def test_hidden_folders_are_left_out_and_listed(make):
    source = make("train/a/1.png", ".net/1.png", "train/a/.thumbs/1.png", "test/__MACOSX/1.png", "test/b/.DS_Store")
    make("test/b/1.png", os.fsdecode(b"test/.\xff/1.png"))
    found = scan_folder(source)
    assert found.splits.chosen == (("a",), (), ("b",))
    assert found.hidden == (".net", "test/.?", "test/__MACOSX", "train/a/.thumbs")


def test_links_to_files_inside_the_folder_are_followed(make):
    source = make("a/1.png", "b/1.png")
    (source / "a/2.png").symlink_to(source / "b/1.png")
    found = scan_folder(source)
    assert found.classes[0].files == ("a/1.png", "a/2.png")
    a, b = ([*each.images()] for each in class_sources(found))
    assert a[1:] == b


def test_the_folder_itself_may_be_a_link(make, tmp_path):
    make("a/1.png", "b/1.png")
    (tmp_path / "link").symlink_to(tmp_path / "images")
    assert scan_folder(tmp_path / "link") == scan_folder(tmp_path / "images")


LINKS = {
    "out of the folder": ("a/2.png", "{outside}/1.png", "a/2.png: a link that leads out of"),
    "a class out of the folder": ("c", "{outside}", "images/c: a link that leads out of"),
    "to a class": ("c", "a", "images/c: a link to a folder, whose images would count twice"),
    "to itself": ("a/2.png", "2.png", "a/2.png: a link to nothing"),
    "to nothing": ("a/2.png", "3.png", "a/2.png: a link to nothing"),
    "upwards": ("a/b", "..", "a/b: a link to a folder"),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_that_is_not_followed_is_named(make, tmp_path, kind):
    link, target, words = LINKS[kind]
    source = make("a/1.png", "b/1.png")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/1.png").write_bytes(png(np.zeros((2, 2))))
    (source / link).symlink_to(target.format(outside=tmp_path / "outside"))
    with pytest.raises(MissingSource, match=words):
        scan_folder(source)


REFUSED = {
    "no folder": ((), "images: no such folder of images"),
    "no class": (["README.md"], "images: no classes; wanted is one folder per class"),
    "an image beside the classes": (["a/1.png", "2.png"], "images/2.png: lies outside any class"),
    "an image beside the classes of a split": (["test/a/1.png", "test/2.png"], "test/2.png: lies outside any class"),
    "images straight in a split": (["train/1.png", "test/1.png"], "test/1.png: lies outside any class"),
    "a class without images": (["a/1.png", "b/notes.txt"], "images/b: a class without images"),
    "a split without classes": (["train/a/1.png", "test/notes.txt"], "images: no classes"),
    "a class in two splits": (["train/a/1.png", "val/a/2.png"], "class 'a' is in train and in valid"),
    "two folders of one split": (["val/a/1.png", "valid/b/2.png"], "images/valid: a second folder of valid classes"),
    "a folder too far out": (["birds/a/1.png", "birds/b/1.png"], "its only folder holds folders.*give .*images/birds$"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_plain_folder_of_images_is_refused_by_name(make, kind):
    names, words = REFUSED[kind]
    with pytest.raises(MissingSource, match=words) as caught:
        scan_folder(make(*names))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused_before_it_is_read(make):
    source = make("a/1.png", "b/1.png")
    os.mkfifo(source / "a/2.png")
    with pytest.raises(MissingSource, match=r"a/2\.png: neither a file nor a folder"):
        scan_folder(source)


@pytest.mark.parametrize("name", [b"b\xff/1.png", b"a/b\xff"])
def test_a_name_that_is_no_text_is_refused_in_words_that_can_be_printed(make, name):
    with pytest.raises(MissingSource, match=r"the name 'b\\udcff' is not valid UTF-8; rename it") as caught:
        scan_folder(make("a/1.png", os.fsdecode(name)))
    str(caught.value).encode()


def test_an_image_that_cannot_be_stored_is_named(make):
    source = make("a/1.png", "a/2.png")
    (source / "a/2.png").write_bytes(b"")
    (images,) = (each.images() for each in class_sources(scan_folder(source)))
    next(images)
    with pytest.raises(BadImage, match=r"images/a/2\.png: the file is empty"):
        next(images)


def test_images_that_cannot_be_stored_can_be_left_out_and_are_named(make):
    source = make("a/1.png", "a/2.png", "a/3.png", "a/words.jpg")
    (source / "a/2.png").write_bytes(b"")
    (source / "a/words.jpg").write_text("words")
    told = []
    (given,) = class_sources(scan_folder(source), lambda path, reason: told.append((path.name, reason)))
    assert len(list(given.images())) == 2
    assert [name for name, _ in told] == ["2.png", "words.jpg"]
    assert told[0][1] == "the file is empty" and told[1][1].startswith("not an image")


def test_a_class_of_which_nothing_can_be_stored_is_refused_even_then(make):
    source = make("a/1.png")
    (source / "a/1.png").write_bytes(b"")
    (given,) = class_sources(scan_folder(source), lambda path, reason: None)
    with pytest.raises(MissingSource, match="class 'a' has no readable image among its 1 files"):
        list(given.images())


def test_jpegs_are_stored_as_they_are_and_others_as_jpegs(make):
    source = make("a/1.png")
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(out, "JPEG")
    (source / "a/2.jpg").write_bytes(out.getvalue())
    (given,) = class_sources(scan_folder(source))
    first, second = given.images()
    assert first[:2] == b"\xff\xd8" and second == out.getvalue()


CHANGES = {
    "another size": lambda source: (source / "a/1.png").write_bytes(b"longer than it was" * 99),
    "another time": lambda source: os.utime(source / "a/1.png", ns=(1, 1)),
    "a new file": lambda source: (source / "a/3.png").touch(),
    "another name": lambda source: (source / "a/1.png").rename(source / "a/0.png"),
    "another class": lambda source: (source / "a").rename(source / "c"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_key_follows_every_change_of_the_files_and_nothing_else(make, change):
    source = make("a/1.png", "a/2.png", "b/1.png")
    key = folder_key(scan_folder(source))
    (source / "README.md").touch()
    assert folder_key(scan_folder(source)) == key
    CHANGES[change](source)
    assert folder_key(scan_folder(source)) != key


def test_files_are_shuffled_as_the_official_converter_shuffles_traffic_sign(make):
    found = scan_folder(make(*(f"a/{i:02}.png" for i in range(20)), "b/1.png"))
    files = list(found.classes[0].files)
    np.random.RandomState(23).shuffle(files)
    assert shuffled(found).classes == (FolderClass("a", tuple(files)), found.classes[1])
    assert folder_key(shuffled(found)) != folder_key(found)
