"""Class splits: the official draw, held against published splits, and splits from a file."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from episodes.errors import BadSpec
from episodes.splits import class_order, given_split, official_split, one_split, split_sizes

# Parts of the files in google-research/meta-dataset, meta_dataset/dataset_conversion/splits (Apache 2.0).
DTD = {
    "train": "chequered braided interlaced matted honeycombed marbled veined frilly zigzagged cobwebbed pitted waffled "
    "fibrous flecked grooved potholed blotchy stained crystalline dotted striped swirly meshed bubbly studded pleated "
    "lacelike polka-dotted perforated freckled smeared cracked wrinkled",
    "valid": "gauzy grid lined paisley porous scaly spiralled",
    "test": "banded bumpy crosshatched knitted sprinkled stratified woven",
}
FLOWERS = {  # first five of each split
    "train": [90, 38, 80, 30, 29],
    "valid": [10, 16, 17, 23, 26],
    "test": [5, 9, 15, 19, 35],
}
BIRDS = {"train": [190, 144, 14, 12, 59], "valid": [44, 51, 52, 55, 57], "test": [8, 9, 15, 20, 28]}


@pytest.fixture
def write(tmp_path):
    """Write a file of splits, from an object or as it is."""

    def file(content):
        path = tmp_path / "splits.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return file


def test_the_official_draw_gives_the_published_split_of_dtd():
    published = {split: tuple(names.split()) for split, names in DTD.items()}
    names = sorted(name for split in published.values() for name in split)
    drawn = official_split(names, (33, 7, 7))
    assert (drawn.train, drawn.valid, drawn.test) == (published["train"], published["valid"], published["test"])


@pytest.mark.parametrize(("published", "classes"), [(FLOWERS, 102), (BIRDS, 200)])
def test_the_official_draw_gives_the_published_splits_of_flowers_and_birds(published, classes):
    drawn = official_split([str(i + 1) for i in range(classes)])
    for split, first in published.items():
        assert getattr(drawn, split)[:5] == tuple(map(str, first))


def test_classes_that_are_numbers_stand_in_the_order_of_their_values_and_all_others_in_that_of_their_letters():
    numbers = [str(i + 1) for i in range(102)]
    assert class_order(sorted(numbers)) == numbers
    assert class_order(["00010", "00009", "10", "9"]) == ["00009", "9", "00010", "10"]
    assert class_order(["10", "9", "a"]) == ["10", "9", "a"]
    assert class_order(["2.b", "10.a", "B", "a"]) == ["10.a", "2.b", "B", "a"]


def test_the_draw_neither_uses_nor_moves_numpys_global_generator():
    names = [str(i) for i in range(30)]
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    drawn = official_split(names)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(22)
    some = np.random.choice(30, 25, replace=False)
    train = np.random.choice(some, 21, replace=False)
    assert drawn.train == tuple(names[i] for i in train)


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        (100, (70, 15, 15)),
        (200, (140, 30, 30)),
        (102, (71, 15, 16)),
        (345, (241, 52, 52)),
        (47, (32, 7, 8)),
        (1394, (975, 209, 210)),
        (1, (0, 0, 1)),
        (0, (0, 0, 0)),
    ],
)
def test_sizes_are_seventy_fifteen_fifteen_percent_rounded_as_for_quickdraw(classes, sizes):
    assert split_sizes(classes) == sizes


@given(st.lists(st.text(max_size=3), unique=True, max_size=60))
def test_a_draw_holds_every_class_once_and_is_always_the_same(names):
    drawn = official_split(names)
    assert sorted(drawn.train + drawn.valid + drawn.test) == sorted(names)
    assert (len(drawn.train), len(drawn.valid), len(drawn.test)) == split_sizes(len(names))
    positions = {name: i for i, name in enumerate(names)}
    for split in (drawn.valid, drawn.test):
        assert [positions[name] for name in split] == sorted(positions[name] for name in split)
    assert official_split(names) == drawn


def test_given_sizes_decide_even_when_a_split_is_empty():
    drawn = official_split(list("cab"), (0, 0, 3))
    assert drawn == one_split(list("cab"), "test")
    assert drawn.test == ("c", "a", "b")


def test_a_file_decides_splits_and_their_order_and_what_it_does_not_name_is_left_out(write):
    file = write({"train": ["c", "a"], "test": ["b"]})
    splits = given_split(file, ["a", "b", "c", "d", "e"])
    assert splits == (("c", "a"), (), ("b",), ("d", "e"))
    assert splits.chosen == (("c", "a"), (), ("b",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"train": ["tabby cta"]}, "no class 'tabby cta'. Did you mean 'tabby cat'?"),
        ({"train": ["x", "y", "z"]}, r"no class 'x' \(3 such names\). There are 2 classes, as 'dog'"),
        ({"train": ["dog"], "test": ["dog"]}, "class 'dog' stands twice; a class belongs to one split"),
        ({"test": ["dog", "dog"]}, "class 'dog' stands twice"),
        ({"trian": ["dog"]}, 'unknown field `trian`.*wanted is {"train":'),
        ({"train": "dog"}, r"Expected `array`, got `str` - at `\$.train`"),
        ({"train": [1]}, "Expected `str`, got `int`"),
        ({}, "names no class"),
        (["dog"], "Expected `object`, got `array`"),
        ('{"train": ["dog"], "train": ["tabby cat"]}', "key 'train' stands twice"),
        ("dog", "Expecting value: line 1"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_wrong_file_of_splits_is_one_line_that_names_it(write, content, words):
    with pytest.raises(BadSpec, match=words) as caught:
        given_split(write(content), ["dog", "tabby cat"])
    assert str(caught.value).startswith(str(write({}))) and "\n" not in str(caught.value)


def test_a_file_of_splits_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadSpec, match=r"none\.json: cannot be read \(No such file"):
        given_split(tmp_path / "none.json", ["dog"])


@pytest.mark.parametrize("split", [official_split, lambda names: one_split(names, "test")])
def test_two_classes_of_one_name_are_refused(split):
    with pytest.raises(BadSpec, match="class 'dog' stands twice"):
        split(["dog", "cat", "dog"])
