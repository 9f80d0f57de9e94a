"""The parts of the pocket build that need no downloaded package."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from episodes.errors import MissingSource
from episodes.sources.pocket_build import emoji, fetch
from episodes.sources.pocket_build.contact_sheet import contact_sheet
from episodes.sources.pocket_build.images import few_colours, flatten, grey_levels, png, shrink
from episodes.sources.pocket_build.split import split_names
from episodes.sources.pocket_build.sprites import BACKGROUND, decode_picture
from episodes.sources.pocket_build.twins import distinct, without_shared
from episodes.spec_writing import flat_spec
from episodes.writing import write_images


def noise(seed: int, side: int = 40) -> Image.Image:
    """A picture unlike those of other seeds."""
    small = np.random.RandomState(seed).randint(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((side, side))


def test_twins_and_blanks_go_and_the_first_of_twins_stays():
    first, other = noise(1), noise(2)
    lighter = first.point(lambda v: v // 2 + 100)  # correlation 1
    images = [Image.new("RGB", (9, 9), "white"), first, lighter, first.resize((80, 80)), other]
    assert distinct(images) == [first, other]


def test_a_mirror_image_is_a_twin_only_when_asked():
    pair = [noise(1), ImageOps.mirror(noise(1))]
    assert distinct(pair) == pair
    assert distinct(pair, mirrored=True) == pair[:1]


def test_an_image_of_two_classes_leaves_both():
    shared = noise(3)
    assert without_shared({"a": [shared, noise(4)], "b": [noise(5), shared.copy()]}) == {
        "a": [noise(4)],
        "b": [noise(5)],
    }


@given(st.integers(30, 300))
def test_splits_hold_every_name_once_and_enough_of_them(count):
    names = [f"class {i}" for i in range(count)]
    train, valid, test = split_names(names)
    assert sorted(train + valid + test) == sorted(names)
    assert len(valid) == len(test) == max(8, round(0.15 * count))
    assert split_names(names[::-1]) == (train, valid, test)


def test_a_doom_picture_is_drawn_post_by_post():
    palette = np.arange(768, dtype=np.uint8).reshape(256, 3)
    column = bytes([1, 2, 0, 7, 9, 0, 255])  # two pixels from row 1 on, colours 7 and 9
    start = 8 + 2 * 4
    lump = struct.pack("<HHhhII", 2, 4, 0, 0, start, start + len(column)) + column + bytes([255])
    pixels = np.asarray(decode_picture(lump, palette))
    assert pixels.shape == (4, 2, 3)
    assert pixels[1:3, 0].tolist() == palette[[7, 9]].tolist()
    assert (pixels[[0, 3], 0] == BACKGROUND).all() and (pixels[:, 1] == BACKGROUND).all()


def test_emoji_of_one_person_count_as_the_same_whatever_the_gender():
    doctors = ("1F468-200D-2695-FE0F", "1F469-200D-2695-FE0F", "1F9D1-200D-2695-FE0F")
    assert len({emoji.ungendered(code) for code in doctors}) == 1
    assert emoji.ungendered("1F3C3-200D-2640-FE0F") == emoji.ungendered("1F3C3")
    assert emoji.ungendered("1F680") != emoji.ungendered("1F681")


@pytest.mark.parametrize("store", [grey_levels, lambda image: few_colours(image, 64)])
def test_flat_colours_survive_storage(store):
    page = Image.new("RGB", (20, 10), "white")
    page.paste((0, 0, 0), (0, 0, 10, 10))
    back = Image.open(io.BytesIO(png(store(page)))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(back), np.asarray(page))


def test_transparent_parts_take_the_background_and_the_longer_side_is_bounded():
    sheet = Image.new("RGBA", (200, 100), (255, 0, 0, 0))
    small = shrink(flatten(sheet, (1, 2, 3)), 84)
    assert small.size == (84, 42)
    assert small.getpixel((40, 20)) == (1, 2, 3)


def test_a_tool_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingSource, match="npm: not installed"):
        fetch.fetch_npm("@iconify/json", tmp_path)
    with pytest.raises(MissingSource, match="apt-get: not installed"):
        fetch.fetch_debian("freedoom", tmp_path)


def test_a_contact_sheet_has_a_row_for_each_class_and_the_images_in_it(tmp_path):
    classes = {"red": [Image.new("RGB", (6, 6), "red")] * 3, "blue": [Image.new("RGB", (6, 6), "blue")]}
    spec = flat_spec("set", ((), (), tuple(classes)), [3, 1])
    write_images(tmp_path / "set", spec, [[png(image) for image in images] for images in classes.values()])
    sheet = contact_sheet(tmp_path / "set", side=10, columns=4)
    assert sheet.size == (190 + 4 * 12, 24)
    colours = [[sheet.getpixel((195 + 12 * column, 5 + 12 * row)) for column in range(4)] for row in range(2)]
    empty = (160, 190, 220)
    assert colours == [[(255, 0, 0)] * 3 + [empty], [(0, 0, 255)] + [empty] * 3]
