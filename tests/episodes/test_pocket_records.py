"""The shipped pocket records: counts, pixels, splits, twins, and that the notices tell the truth about them."""

import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from episodes.decode import decode_image
from episodes.sources.pocket import PACKAGES, SEEN, SHIPPED, records_folder
from episodes.sources.pocket_build.twins import CORRELATION, signature
from episodes.spec import SPLITS, load_spec
from episodes.tfrecord import RecordFile, parse_example

COUNTS = {  # classes for training, validation and testing; images
    "icons": (117, 25, 25, 5530),
    "emoji": (37, 8, 8, 1203),
    "clipart": (25, 8, 8, 1750),
    "sprites": (0, 0, 17, 639),
    "fashion": (0, 0, 10, 1000),
}
NOTICE = Path(__file__).parents[2] / "NOTICE"


@functools.cache
def class_pixels(domain: str, class_id: int) -> list[np.ndarray]:
    """Every image of a class, decoded; the stored label must be the class id."""
    file = RecordFile(SHIPPED / domain / f"{class_id}.tfrecords")
    examples = [parse_example(file[i]) for i in range(len(file))]
    assert {label for _, label in examples} == {class_id}
    return [decode_image(image) for image, _ in examples]


@pytest.mark.parametrize("domain", COUNTS)
def test_every_image_decodes_and_the_counts_are_those_of_the_spec(domain, tmp_path):
    folder = records_folder(domain, tmp_path)
    spec = load_spec(folder)
    pixels = [class_pixels(domain, i) for i in range(len(spec.images_per_class))]
    assert [len(images) for images in pixels] == spec.images_per_class.tolist()
    assert (*(len(spec.class_ids[split]) for split in SPLITS), sum(map(len, pixels))) == COUNTS[domain]
    assert len(list(folder.glob("*.tfrecords"))) == len(pixels)
    assert max(max(image.shape[:2]) for images in pixels for image in images) <= 96


@pytest.mark.parametrize("domain", COUNTS)
def test_no_class_has_twins_or_blank_images(domain):
    for class_id in range(sum(COUNTS[domain][:3])):
        views = [signature(Image.fromarray(image)) for image in class_pixels(domain, class_id)]
        drawn = np.stack([view for view in views if view is not None])
        assert len(drawn) == len(views)
        correlations = drawn @ drawn.T - 2 * np.eye(len(drawn))
        # Twins were sought before the colours were reduced, which moves a correlation a little.
        assert correlations.max() < CORRELATION + 0.01, (class_id, divmod(correlations.argmax(), len(views)))


@pytest.mark.parametrize("domain", COUNTS)
def test_no_two_classes_share_an_image(domain):
    seen: dict[bytes, int] = {}
    for class_id in range(sum(COUNTS[domain][:3])):
        for image in class_pixels(domain, class_id):
            assert seen.setdefault(bytes(str(image.shape), "ascii") + image.tobytes(), class_id) == class_id


@pytest.mark.parametrize("domain", COUNTS)
def test_valid_and_test_splits_can_vary_their_way(domain, tmp_path):
    spec = load_spec(records_folder(domain, tmp_path))
    expected = SPLITS if domain in SEEN else ("test",)
    assert [split for split in SPLITS if len(spec.class_ids[split]) >= 8] == list(expected)
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert spec.images_per_class.min() >= 12


def test_the_shipped_records_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 10e6
    assert {path.name for path in SHIPPED.iterdir() if path.is_dir()} == set(COUNTS) == set(_not_made())


def test_the_notice_states_the_counts_of_the_build():
    notice = re.sub(r"\s+", " ", NOTICE.read_text("utf-8"))
    for domain, counts in json.loads((SHIPPED / "counts.json").read_text("utf-8")).items():
        assert f"{counts['classes']} classes, {counts['images']:,} images" in notice, domain
        assert f"{counts['twins_removed']} twins" in notice, domain
        assert (counts["classes"], counts["images"]) == (sum(COUNTS[domain][:3]), COUNTS[domain][3])


def test_every_icon_set_has_an_author_and_a_licence_whose_text_is_shipped():
    rows = [line.split(" | ") for line in (SHIPPED / "ICON_SETS.md").read_text("utf-8").splitlines() if " | " in line]
    licences = (SHIPPED / "LICENSES.txt").read_text("utf-8")
    assert len(rows) - 1 == 93
    for _, _, author, licence, _ in rows[1:]:
        assert (
            author.strip() and licence.split("-")[0] in licences and licence in {"MIT", "ISC", "Apache-2.0", "CC0-1.0"}
        )


def _not_made() -> list[str]:
    return [domain for domain in COUNTS if domain not in PACKAGES]
