import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_images import png
from tiny_tfds import (
    FORMATS,
    drawing,
    framed,
    jpeg,
    omniglot_features,
    payloads_of,
    plain_features,
    prepare,
    read_info,
    write_info,
    write_tfrecord_shards,
)

from episodes.decode import decode_image
from episodes.errors import BadExample, BadImage, CorruptRecord, MissingSource
from episodes.sources import tfds_formats
from episodes.sources.tfds import tfds_classes
from episodes.spec import load_spec
from episodes.spec_writing import flat_spec
from episodes.tfrecord import RecordFile, parse_example
from episodes.writing import write_dataset

NAMES = ["square", "circle", "star"]
TRAIN = [{"image": jpeg(i), "label": i % 3} for i in range(8)]
TEST = [{"image": jpeg(100 + i), "label": NAMES[i % 2]} for i in range(3)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder per format, of the same examples; not to be changed."""
    root = tmp_path_factory.mktemp("tfds")
    return {
        file_format: prepare(
            root / file_format, {"train": TRAIN, "test": TEST}, plain_features(NAMES), file_format=file_format, shards=2
        )
        for file_format in FORMATS
    }


@pytest.fixture(params=FORMATS)
def folder(request, prepared, tmp_path):
    """A copy of the data set in one of the formats, free to be damaged."""
    return shutil.copytree(prepared[request.param], tmp_path / "copy")


@pytest.fixture
def tfrecord(prepared, tmp_path):
    return shutil.copytree(prepared["tfrecord"], tmp_path / "copy")


def images(found):
    """Class name -> stored images."""
    return {each.name: list(each.images()) for each in found.classes}


def expected(*splits):
    examples = [example for split in splits for example in split]
    return {
        name: [example["image"] for example in examples if example["label"] in (label, name)]
        for label, name in enumerate(NAMES)
    }


def message(error, *arguments):
    """The one line that a user sees."""
    with pytest.raises(error) as caught:
        found = tfds_classes(*arguments)
        images(found)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_both_formats_give_every_class_in_label_order_with_its_images_in_data_set_order(folder):
    found = tfds_classes(folder)
    assert (found.name, found.superclasses) == ("shapes", None)
    assert [each.name for each in found.classes] == NAMES
    assert images(found) == expected(TRAIN, TEST)


def test_splits_are_taken_in_the_order_asked_for(folder):
    assert images(tfds_classes(folder, ["test", "train"])) == expected(TEST, TRAIN)


def test_a_class_without_images_in_the_splits_taken_is_left_out(folder):
    assert images(tfds_classes(folder, ["test"])) == {name: expected(TEST)[name] for name in NAMES[:2]}


def test_the_folder_above_a_single_version_will_do(folder):
    assert images(tfds_classes(folder.parent)) == expected(TRAIN, TEST)


def test_of_several_versions_one_must_be_named(folder):
    shutil.copytree(folder, folder.parent / "2.0.0")
    assert "name one of its folders: 2.0.0, copy" in message(MissingSource, folder.parent)


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path / "nothing"])
def test_a_folder_that_tfds_did_not_prepare_is_refused(tmp_path, make):
    assert str(make(tmp_path)) in message(MissingSource, make(tmp_path))


def test_an_unknown_split_brings_a_suggestion(folder):
    assert "no split 'tset'. Did you mean 'test'? Known: train, test" in message(MissingSource, folder, ["tset"])


def test_a_split_cannot_be_taken_twice(folder):
    assert "'test' is named twice" in message(MissingSource, folder, ["test", "train", "test"])


def test_tensorflow_is_never_imported(prepared, tmp_path):
    """Not even where it is installed: here a package of that name that cannot be imported without a trace."""
    (tmp_path / "tensorflow").mkdir()
    trace = tmp_path / "imported"
    (tmp_path / "tensorflow/__init__.py").write_text(f"open({str(trace)!r}, 'w')\n")
    code = (
        "import sys; from pathlib import Path; from episodes.sources.tfds import tfds_classes\n"
        "for folder in sys.argv[1:]:\n"
        "    assert sum(len(list(each.images())) for each in tfds_classes(Path(folder)).classes) == 11\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", code, *map(str, prepared.values())], check=True, env=environment)
    assert not trace.exists()


def test_importing_the_source_imports_no_library_of_the_extra():
    code = "import sys, episodes.sources.tfds; sys.exit('tensorflow_datasets' in sys.modules or 'PIL' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize(
    ("module", "file_format"),
    [
        ("tensorflow_datasets", "tfrecord"),
        ("tensorflow_datasets", "array_record"),
        ("array_record.python.array_record_data_source", "array_record"),
    ],
)
def test_a_missing_extra_says_how_to_install_it(prepared, monkeypatch, module, file_format):
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install -e '.[tfds]' in your clone" in message(MissingSource, prepared[file_format])


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_no_rgb_jpeg_is_encoded_as_the_official_converter_does(tmp_path, file_format):
    grey = png(np.arange(64).reshape(8, 8))
    examples = [{"image": grey, "label": 0}, {"image": jpeg(1), "label": 0}]
    found = tfds_classes(prepare(tmp_path, {"train": examples}, plain_features(["a"]), file_format=file_format))
    first, second = images(found)["a"]
    assert first[:2] == b"\xff\xd8"
    assert np.abs(decode_image(first).astype(int) - np.arange(64).reshape(8, 8, 1)).max() < 8
    assert second == jpeg(1)


def test_an_image_that_cannot_be_decoded_is_named_by_shard_and_record(tmp_path):
    examples = [{"image": jpeg(0), "label": 0}, {"image": b"no image", "label": 0}]
    folder = prepare(tmp_path, {"train": examples}, plain_features(["a"]))
    assert "shapes-train.array_record-00000-of-00001: record 1: " in message(BadImage, folder)


def test_a_built_data_set_reads_back(folder, tmp_path):
    found = tfds_classes(folder)
    names = [each.name for each in found.classes]
    out = tmp_path / "records/shapes"
    write_dataset(out, found.classes, lambda counts: flat_spec("shapes", [names, [], []], counts), key=found.key)
    assert load_spec(out).images_per_class.tolist() == [5, 4, 2]
    for class_id, name in enumerate(names):
        file = RecordFile(out / f"{class_id}.tfrecords")
        read = [parse_example(file[i]) for i in range(len(file))]
        assert read == [(image, class_id) for image in expected(TRAIN, TEST)[name]]


# Which features


def test_a_label_beside_others_is_found_by_the_supervised_keys(tmp_path):
    import tensorflow_datasets as tfds

    features = {**plain_features(["apple", "bee"]), "coarse_label": tfds.features.ClassLabel(names=["all"])}
    examples = [{"image": jpeg(i), "label": i, "coarse_label": 0} for i in range(2)]
    folder = prepare(tmp_path, {"train": examples}, features, supervised_keys=("image", "label"))
    assert images(tfds_classes(folder)) == {"apple": [jpeg(0)], "bee": [jpeg(1)]}


def test_several_labels_without_supervised_keys_are_refused_by_name(tmp_path):
    import tensorflow_datasets as tfds

    features = {**plain_features(["apple"]), "coarse_label": tfds.features.ClassLabel(names=["all"])}
    folder = prepare(tmp_path, {"train": [{"image": jpeg(0), "label": 0, "coarse_label": 0}]}, features)
    found = message(MissingSource, folder)
    assert "image (Image)" in found
    assert "coarse_label (ClassLabel)" in found


def test_features_of_any_name_are_found(tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "photo": tfds.features.Image(),
        "file": tfds.features.Text(),
        "kind": tfds.features.ClassLabel(num_classes=2),
    }
    folder = prepare(tmp_path, {"everything": [{"photo": jpeg(3), "file": "3.jpg", "kind": 1}]}, features)
    assert images(tfds_classes(folder)) == {"1": [jpeg(3)]}


def test_a_data_set_without_images_is_refused_with_its_features(tmp_path):
    import tensorflow_datasets as tfds

    features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["a"])}
    folder = prepare(tmp_path, {"train": [{"text": "x", "label": 0}]}, features)
    assert "this data set has label (ClassLabel), text (Text)" in message(MissingSource, folder)


def test_images_of_floats_are_refused(tmp_path):
    features = plain_features(["a"], shape=(8, 8, 1), dtype=np.uint16, encoding_format="png")
    folder = prepare(tmp_path, {"train": [{"image": jpeg(0), "label": 0}]}, features)
    edited = (folder / "features.json").read_text().replace("uint16", "float32")
    (folder / "features.json").write_text(edited)
    assert "image feature 'image' holds float32" in message(MissingSource, folder)


def test_an_image_without_a_label_is_refused_with_its_split(tmp_path):
    features = plain_features(["a"])
    splits = {"train": [{"image": jpeg(0), "label": 0}], "test": [{"image": jpeg(1), "label": -1}]}
    folder = prepare(tmp_path, splits, features)
    assert "no label (-1)" in message(MissingSource, folder)
    assert images(tfds_classes(folder, ["train"])) == {"a": [jpeg(0)]}


def test_a_label_beyond_the_names_is_refused(tfrecord):
    (tfrecord / "label.labels.txt").unlink()
    features = (tfrecord / "features.json").read_text()
    (tfrecord / "features.json").write_text(features.replace('"numClasses": "3"', '"numClasses": "2"'))
    assert "record 2: label 2" in message(BadExample, tfrecord)


@pytest.mark.parametrize("count", ["0", "1000000000000"])
def test_an_absurd_number_of_classes_is_refused_before_they_are_named(tfrecord, count):
    (tfrecord / "label.labels.txt").unlink()
    features = (tfrecord / "features.json").read_text()
    (tfrecord / "features.json").write_text(features.replace('"numClasses": "3"', f'"numClasses": "{count}"'))
    assert f"{count} classes" in message(MissingSource, tfrecord)


# Omniglot

ALPHABETS = ["Angelic", "Greek", "Latin"]
# Written neither by alphabet nor by character; Latin's characters are in the test split.
DRAWN = [("Greek", 1, 0), ("Angelic", 2, 1), ("Greek", 0, 2), ("Angelic", 0, 3), ("Greek", 1, 4), ("Angelic", 2, 5)]


def omniglot(root, *, black_on_white=True, file_format="array_record"):
    def examples(drawn):
        return [
            {
                "image": drawing(seed, black_on_white=black_on_white),
                "alphabet": alphabet,
                "alphabet_char_id": character,
                "label": 10 * ALPHABETS.index(alphabet) + character,
            }
            for alphabet, character, seed in drawn
        ]

    splits = {"train": examples(DRAWN), "test": examples([("Latin", 0, 6)]), "small1": examples(DRAWN[:3])}
    return prepare(root, splits, omniglot_features(ALPHABETS), file_format=file_format, name="omniglot")


@pytest.mark.parametrize("file_format", FORMATS)
def test_omniglot_is_grouped_by_alphabet_and_ordered_by_character(tmp_path, file_format):
    found = tfds_classes(omniglot(tmp_path, file_format=file_format))
    assert found.superclasses == [("Angelic", 2), ("Greek", 2), ("Latin", 1)]
    assert [each.name for each in found.classes] == [
        "Angelic-character01",
        "Angelic-character03",
        "Greek-character01",
        "Greek-character02",
        "Latin-character01",
    ]


def test_omniglot_without_its_small_splits_has_each_image_once(tmp_path):
    found = tfds_classes(omniglot(tmp_path))
    assert [len(each) for each in images(found).values()] == [1, 2, 1, 2, 1]


def test_of_omniglot_one_split_brings_its_alphabets_only(tmp_path):
    assert tfds_classes(omniglot(tmp_path), ["test"]).superclasses == [("Latin", 1)]


@pytest.mark.parametrize("black_on_white", [True, False])
def test_omniglot_is_stored_white_on_black_whatever_the_source_holds(tmp_path, black_on_white):
    found = tfds_classes(omniglot(tmp_path, black_on_white=black_on_white))
    stored = images(found)
    for seed, name in [(3, "Angelic-character01"), (2, "Greek-character01"), (6, "Latin-character01")]:
        white_on_black = decode_image(drawing(seed, black_on_white=False))
        difference = np.abs(decode_image(stored[name][0]).astype(int) - white_on_black)
        assert difference.mean() < 2
    assert stored["Latin-character01"][0] == official_bytes(drawing(6))


def official_bytes(data):
    """What the official converter stores of an Omniglot file: RGB, inverted, JPEG."""
    import io

    from PIL import Image, ImageOps

    out = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(data)).convert("RGB")).save(out, format="JPEG")
    return out.getvalue()


def test_a_drawing_that_is_neither_light_nor_dark_is_refused(tmp_path):
    example = {"image": drawing(0, ink=52), "alphabet": 0, "alphabet_char_id": 0, "label": 0}
    folder = prepare(tmp_path, {"train": [example]}, omniglot_features(ALPHABETS), name="omniglot")
    assert "record 0: neither dark on light nor light on dark" in message(BadImage, folder)


# Damage and hostile metadata


def test_every_changed_byte_of_a_tfrecord_shard_is_found_with_path_and_offset(tfrecord):
    path = tfrecord / "shapes-test.tfrecord-00000-of-00002"
    good = path.read_bytes()
    starts = RecordFile(path).index.starts.tolist()
    for position in range(0, len(good), 37):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(CorruptRecord) as caught:
            tfds_classes(tfrecord)
        assert (caught.value.path, caught.value.offset) == (path, max(s for s in starts if s <= position))


def test_a_changed_byte_of_an_array_record_shard_is_found_with_path_and_offset_or_changes_nothing(prepared, tmp_path):
    folder = shutil.copytree(prepared["array_record"], tmp_path / "copy")
    path = folder / "shapes-test.array_record-00000-of-00002"
    good, found = path.read_bytes(), 0
    for position in range(0, 1500, 50):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        try:
            assert images(tfds_classes(folder)) == expected(TRAIN, TEST)  # the format has bytes without meaning
        except CorruptRecord as error:
            found += 1
            assert error.path == path
            assert 0 < error.offset < len(good)
    assert found > 10


@pytest.mark.parametrize("keep", [0, 5, 0.5])
def test_a_shard_cut_short_is_found(folder, keep):
    path = next(iter(sorted(folder.glob("*-train.*-00001-of-00002"))))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    error = CorruptRecord if keep or "array" in path.name else MissingSource
    assert str(path) in message(error, folder)


def test_a_missing_shard_is_named(folder):
    path = next(iter(folder.glob("*-train.*-00001-of-00002")))
    path.unlink()
    assert f"{path}: missing; dataset_info.json lists 2 shards" in message(MissingSource, folder)


def test_a_shard_too_many_is_named(folder):
    path = next(iter(folder.glob("*-train.*-00001-of-00002")))
    extra = path.with_name(path.name.replace("00001-of-00002", "00002-of-00003"))
    shutil.copy(path, extra)
    assert f"{extra}: not one of the 2 shards of split 'train'" in message(MissingSource, folder)


@pytest.mark.parametrize("claim", ["3", "-1", "1000000000000000"])
def test_a_shard_with_another_number_of_records_is_named(folder, claim):
    info = read_info(folder)
    info["splits"][0]["shardLengths"][1] = claim
    write_info(folder, info)
    found = message(MissingSource, folder)
    assert "-00001-of-00002" in found
    assert f"4 records, but dataset_info.json says {claim}" in found


def test_a_payload_that_is_no_example_is_named_by_shard_and_record(tfrecord):
    path = tfrecord / "shapes-train.tfrecord-00000-of-00002"
    file = RecordFile(path)
    good = [file[i] for i in range(len(file))]
    for bad in (b"", b"\xff\xff\xff"):
        path.write_bytes(b"".join(map(framed, [good[0], bad, *good[2:]])))
        assert f"{path}: record 1: " in message(BadExample, tfrecord)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": 3}'])
def test_damaged_metadata_is_refused_in_one_line(folder, file, content):
    (folder / file).write_text(content)
    assert str(folder) in message(MissingSource, folder)


@pytest.mark.parametrize("name", ["../shapes", "/shapes", ".shapes", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tfrecord, name):
    write_info(tfrecord, {**read_info(tfrecord), "name": name})
    assert "cannot be the name of a data set" in message(MissingSource, tfrecord)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "a shard outside its folder"),
        ("/{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "a shard outside its folder"),
        ("{UNKNOWN}-{SHARD_X_OF_Y}", "names no shards for split 'train'"),
    ],
)
def test_a_template_that_leads_out_of_the_folder_or_nowhere_is_refused(tfrecord, template, reason):
    info = read_info(tfrecord)
    for split in info["splits"]:
        split["filepathTemplate"] = template
    write_info(tfrecord, info)
    assert reason in message(MissingSource, tfrecord)


def test_another_format_is_refused_by_name(tfrecord):
    write_info(tfrecord, {**read_info(tfrecord), "fileFormat": "parquet"})
    assert "its shards are parquet files; only array_record and tfrecord" in message(MissingSource, tfrecord)


# The key


def test_the_key_is_the_same_wherever_the_data_set_lies(folder, prepared):
    source = prepared["tfrecord" if next(folder.glob("*.tfrecord-*"), None) else "array_record"]
    assert tfds_classes(folder).key == tfds_classes(source).key


def test_the_key_follows_splits_names_and_images(tfrecord):
    keys = [tfds_classes(tfrecord).key, tfds_classes(tfrecord, ["train"]).key, tfds_classes(tfrecord, ["test"]).key]
    (tfrecord / "label.labels.txt").write_text("square\ncircle\ntriangle\n")
    keys.append(tfds_classes(tfrecord).key)
    path = tfrecord / "shapes-train.tfrecord-00000-of-00002"
    file = RecordFile(path)
    payloads = [file[i] for i in range(len(file))]
    first = payloads[0].replace(TRAIN[0]["image"][-9:], bytes(7) + b"\xff\xd9")
    path.write_bytes(b"".join(map(framed, [first, *payloads[1:]])))
    keys.append(tfds_classes(tfrecord).key)
    assert len(first) == len(payloads[0])
    assert len(set(keys)) == len(keys)
    assert all(len(bytes.fromhex(key)) == 32 for key in keys)


# Any distribution of classes over shards


@pytest.fixture(scope="module")
def payload_of(tmp_path_factory):
    """(label, image number) -> payload, with the folder whose metadata fits."""
    root = tmp_path_factory.mktemp("any")
    examples = [{"image": jpeg(number), "label": label} for label in range(3) for number in range(4)]
    folder = prepare(root, {"train": examples}, plain_features(NAMES))
    payloads = payloads_of(next(folder.glob("*.array_record-*")))
    return folder, {(i // 4, i % 4): payload for i, payload in enumerate(payloads)}


@settings(max_examples=40)
@given(shards=st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=5), min_size=1, max_size=6))
def test_every_image_is_given_once_in_data_set_order(shards, payload_of, tmp_path_factory):
    template, payloads = payload_of
    folder = tmp_path_factory.mktemp("drawn")
    for file in ("dataset_info.json", "features.json", "label.labels.txt"):
        shutil.copy(template / file, folder / file)
    write_tfrecord_shards(folder, {"train": [[payloads[pair] for pair in shard] for shard in shards]})
    flat = [pair for shard in shards for pair in shard]
    if not flat:
        assert "no images in 'train'" in message(MissingSource, folder)
        return
    wanted = {name: [jpeg(n) for each, n in flat if each == label] for label, name in enumerate(NAMES)}
    assert images(tfds_classes(folder)) == {name: found for name, found in wanted.items() if found}


def test_no_more_shards_are_open_at_once_than_allowed(payload_of, tmp_path, monkeypatch):
    template, payloads = payload_of
    for file in ("dataset_info.json", "features.json"):
        shutil.copy(template / file, tmp_path / file)
    write_tfrecord_shards(tmp_path, {"train": [[payloads[i % 3, 0]] for i in range(9)]})
    open_now, most = set(), []

    class Counted(RecordFile):
        def __init__(self, path):
            super().__init__(path)
            open_now.add(path)
            most.append(len(open_now))

        def close(self):
            super().close()
            open_now.remove(self.path)

    monkeypatch.setitem(tfds_formats.OPENERS, "tfrecord", Counted)
    monkeypatch.setattr(tfds_formats, "MAX_OPEN_SHARDS", 3)
    assert sum(map(len, images(tfds_classes(tmp_path)).values())) == 9
    assert max(most) == 3


def test_metadata_of_older_versions_means_tfrecord(tfrecord):
    info = read_info(tfrecord)
    del info["fileFormat"]
    for split in info["splits"]:
        del split["filepathTemplate"]
    write_info(tfrecord, info)
    assert "filepathTemplate" not in json.dumps(info)
    assert images(tfds_classes(tfrecord)) == expected(TRAIN, TEST)
