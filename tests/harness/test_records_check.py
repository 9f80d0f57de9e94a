import contextlib
import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny_images import images_of, png

from episodes.known_datasets import KNOWN
from episodes.tfrecord import write_records
from harness import progress
from harness.commands.records_check import check_records
from harness.config import load_benchmark
from harness.errors import HarnessError


@pytest.fixture
def records(tmp_path, flat_spec):
    """A folder with the data sets `reds` (whole), `blues` (whole), and `dtd` (two classes of the published 47)."""
    for name, per_split in (("reds", (0, 1, 2)), ("blues", (1, 1, 1)), ("dtd", (0, 0, 2))):
        write_set(tmp_path / "records" / name, flat_spec, per_split)
    return tmp_path / "records"


def write_set(folder, flat_spec, per_split, images=12):
    folder.mkdir(parents=True)
    for class_id in range(sum(per_split)):
        write_records(folder / f"{class_id}.tfrecords", [(image, class_id) for image in images_of(class_id, images)])
    spec = flat_spec(folder.name, per_split, [images] * sum(per_split))
    (folder / "dataset_spec.json").write_text(json.dumps(spec))


def check(folder, *, datasets=None, images=True, workers=1, as_json=False, width=120):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        console = Console(width=width)
        ok = check_records(console, folder, datasets=datasets, images=images, workers=workers, as_json=as_json)
    return ok, out.getvalue()


def line_of(text, name):
    (line,) = (line for line in text.splitlines() if line.startswith("│") and name in line)
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_whole_data_sets_are_ok_one_line_each(records):
    ok, text = check(records, datasets=("reds", "blues"))
    assert ok
    assert line_of(text, "reds") == ["reds", "3", "36", "shuffled", "ok"]
    assert line_of(text, "blues")[-1] == "ok"
    assert "dtd" not in text


def test_published_data_sets_are_held_against_the_published_numbers(records):
    ok, text = check(records)
    assert not ok
    line = line_of(text, "Textures")
    assert line[1:3] == ["2 / 47", "24 / 5,640"]
    assert line[-1] == "7 wrong counts"
    assert f"{records / 'dtd' / 'dataset_spec.json'}: test images: 24 here, 840 as published" in text


def test_absent_data_sets_are_one_line_and_no_failure(records):
    (records / "blues").rename(records / "aircraft")
    absent = [known.display for known in KNOWN.values() if known.name not in ("aircraft", "dtd")]
    _, text = check(records)
    assert f"published data sets not here: {', '.join(absent)}\n" in text
    assert not any(name in line for name in absent for line in text.splitlines() if line.startswith("│"))
    for name in ("aircraft", "dtd"):
        shutil.rmtree(records / name)
    assert check(records)[0]


def test_an_absent_data_set_that_was_asked_for_is_a_failure(records):
    ok, text = check(records, datasets=("reds", "aircraft"))
    assert not ok
    assert line_of(text, "reds")[-1] == "ok"
    assert line_of(text, "Aircraft")[-1] == "absent"
    assert f"Aircraft: absent, as {records / 'aircraft'} is no folder\n" in text
    assert "not here" not in text


def test_why_a_data_set_is_absent_is_said(records):
    (records / ".aircraft-0123456789ab.part").mkdir()
    unfinished = check(records, datasets=("aircraft",))[1]
    assert "Aircraft: absent, as its build has not finished (" in unfinished
    assert ".aircraft-0123456789ab.part); the same `records build` again goes on with it" in unfinished
    assert "reds is itself a data set, reds" in check(records / "reds", datasets=("aircraft",))[1]


def test_the_whole_report_can_be_read_on_a_terminal_of_eighty_columns(records, flat_spec):
    (records / "dtd").rename(records / "quickdraw")
    for name in ("reds", "blues"):
        write_records(records / name / "2.tfrecords", [(b"no image", 1)] * 12)
        (records / name / "1.tfrecords").write_bytes(b"rubbish")
    text = check(records, width=80)[1]
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows[0]) <= 80
    assert "…" not in text
    words = {word for row in rows for word in row.split()}
    told = "QuickDraw 50,426,266 345 reds 1 wrong count, corrupt record, 12 labels, undecodable images shuffled"
    assert set(told.split()) - words == set()


def test_problems_are_shown_with_file_record_offset_and_reason(records):
    file = records / "reds/1.tfrecords"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(bytes(data))
    write_records(records / "reds/2.tfrecords", [(image, 5) for image in images_of(2, 12)])
    ok, text = check(records, datasets=("reds",), width=60)
    assert not ok
    assert f"  {file}: record 0, byte 0: payload CRC does not match" in text.splitlines()
    assert "reds: 13 problems" in text


def test_wrong_labels_are_one_line_a_class_and_of_few_classes(tmp_path, flat_spec):
    write_set(tmp_path / "greens", flat_spec, (0, 0, 6))
    for class_id in range(5):
        write_records(tmp_path / f"greens/{class_id}.tfrecords", [(image, 5) for image in images_of(class_id, 12)])
    ok, text = check(tmp_path / "greens")
    assert not ok
    assert line_of(text, "greens")[-1] == "60 wrong labels"
    _, *lines = text[text.index("greens: 60 problems") :].splitlines()
    assert lines == [
        *(
            f"  {tmp_path}/greens/{i}.tfrecords: record 0, byte 0: label 5 in the file of class {i}; "
            "the same for 11 more records"
            for i in range(3)
        ),
        "  ... and 24 more wrong labels",
    ]


def test_what_track_order_means_for_a_data_set_of_ones_own_is_said(tmp_path, flat_spec):
    folder = tmp_path / "films"
    write_set(folder, flat_spec, (0, 0, 1), images=60)
    frames = [png(np.full((8, 8), 4 * i)) for i in range(60)]
    write_records(folder / "0.tfrecords", [(frame, 0) for frame in frames])
    ok, text = check(folder)
    assert ok
    assert line_of(text, "films")[-2:] == ["tracks", "ok"]
    assert "films: no problem here, but neighbouring records are nearly identical" in text
    write_records(folder / "0.tfrecords", [(frames[i * 23 % 60], 0) for i in range(60)])
    assert "nearly identical" not in check(folder)[1]


def test_the_first_problems_are_shown_and_the_rest_are_counted(records):
    for class_id in range(3):
        write_records(records / f"reds/{class_id}.tfrecords", [(b"no image", class_id)] * 12)
    _, text = check(records, datasets=("reds",))
    assert text.count("neither JPEG") == 20
    assert "  ... and 16 more undecodable images" in text


def test_without_images_none_is_decoded(records):
    write_records(records / "reds/2.tfrecords", [(b"no image", 2)] * 12)
    ok, text = check(records, datasets=("reds",), images=False)
    assert ok
    assert line_of(text, "reds")[-2:] == ["-", "ok"]
    assert "images were not decoded" in text
    assert "images were not decoded" not in check(records, datasets=("blues",))[1]


def test_a_data_set_folder_itself_can_be_checked(records, monkeypatch):
    assert check(records / "reds")[0]
    monkeypatch.chdir(records / "reds")
    ok, text = check(Path())
    assert ok
    assert line_of(text, "reds")[-1] == "ok"
    assert "not here" not in text


def test_workers_find_what_one_process_finds(records, monkeypatch):
    monkeypatch.setattr(progress, "SILENCE_S", math.inf)  # slow machines tell of their progress
    write_records(records / "blues/0.tfrecords", [(b"no image", 3)] * 12)
    assert check(records, workers=2) == check(records)


def test_json_is_one_document_with_everything_in_it(records):
    write_records(records / "reds/2.tfrecords", [(b"no image", 2)] * 12)
    ok, text = check(records, as_json=True, width=40)
    document = json.loads(text)
    assert (ok, document["ok"]) == (False, False)
    by_name = {entry["name"]: entry for entry in document["datasets"]}
    assert by_name["blues"]["state"] == "ok"
    why = f"{records / 'aircraft'} is no folder"
    assert by_name["aircraft"] == {"name": "aircraft", "display": "Aircraft", "state": "absent", "reason": why}
    assert by_name["reds"]["counts"] == {"image": 12}
    assert by_name["reds"]["images"]["found"] == {"train": 0, "valid": 12, "test": 24}
    first = by_name["reds"]["problems"][0]
    assert (first["kind"], first["record"], first["offset"]) == ("image", 0, 0)
    assert first["path"] == str(records / "reds/2.tfrecords")


@pytest.mark.parametrize("as_json", [False, True])
def test_odd_names_are_shown_as_one_line(records, as_json):
    (records / "reds" / "a\nb\udcff[red].tfrecords").touch()
    ok, text = check(records, datasets=("reds",), as_json=as_json)
    assert not ok
    text.encode()
    assert as_json or "reds/a b?[red].tfrecords: no class of the spec has this file" in text


def test_a_folder_of_a_known_name_without_records_is_not_overlooked(records):
    (records / "aircraft").mkdir()
    ok, text = check(records, datasets=("aircraft",))
    assert not ok
    assert line_of(text, "Aircraft")[1:3] == ["0 / 100", "0 / 10,000"]


def test_a_data_set_folder_that_lost_its_spec_is_checked_all_the_same(records):
    (records / "reds" / "dataset_spec.json").unlink()
    ok, text = check(records / "reds")
    assert not ok
    assert line_of(text, "reds")[-1] == "1 faulty file"


def test_unfinished_builds_are_passed_over(records):
    (records / "reds").rename(records / ".reds-0123.part")
    assert ".reds" not in check(records)[1]


def test_a_folder_without_data_sets_is_refused_in_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(HarnessError, match="no data set here") as caught:
        check(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(HarnessError, match="no such folder"):
        check(tmp_path / "nowhere")


def test_an_unknown_name_gets_the_nearest_one(records):
    with pytest.raises(HarnessError, match=r"'aircarft'\. Did you mean 'aircraft'\?"):
        check(records, datasets=("aircarft",))


@pytest.mark.parametrize("setting", ["mdl", "sdl"])
def test_the_published_benchmarks_agree_with_the_known_data_sets(setting):
    benchmark = load_benchmark(f"meta-dataset-{setting}")
    assert [domain.name for domain in benchmark.domains] == list(KNOWN)
    assert list(benchmark.trained_on) == [name for name in KNOWN if setting in KNOWN[name].seen_in]
