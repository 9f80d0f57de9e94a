"""A run repeated from its manifest."""

import csv
import hashlib
import json
import shutil
import sqlite3

import pytest
from tiny_images import images_of

from episodes.dataset import DatasetRecords
from episodes.tfrecord import write_records

HALTING = '''
"""Nearest centroid that stops the program at the 30th episode while there is a file `halt`."""
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from adapters.ncc import NearestCentroid

adapted = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Halting:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    version: ClassVar = "1"

    def adapt(self, support, *, rng=None):
        adapted.append(1)
        if Path("halt").exists() and len(adapted) % 80 == 30:
            raise KeyboardInterrupt
        return NearestCentroid().adapt(support, rng=rng)
'''


EDITING = '''
"""The first class always; whoever uses it edits the benchmark."""
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Edits:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"

    def adapt(self, support, *, rng=None):
        with Path("tiny.toml").open("a") as file:
            file.write("# edited\\n")
        return lambda queries: queries.new_zeros(len(queries), support.way)
'''


@pytest.fixture
def manifest(run_ok, workspace):
    """The manifest of a run of two methods."""
    run_ok("--adapters", "ncc,url(steps=2)", "--tasks", 3)
    return max((workspace / "runs/manifests").iterdir())


def test_a_repeated_run_has_equal_rows_and_makes_its_own_embeddings(manifest, metabench, workspace):
    shutil.rmtree(workspace / "cache/embeddings")
    done = metabench("rerun", manifest)
    assert done.status == 0, done.err
    assert "12 rows: 12 equal\n" in done.out
    again = json.loads(max((workspace / f"runs/reruns/{manifest.stem}/manifests").iterdir()).read_text())
    original = json.loads(manifest.read_text())
    assert again["images_embedded"] == original["images_embedded"] > 0
    assert again["rows"] == original["rows"]
    assert not (workspace / f"runs/reruns/{manifest.stem}/embeddings").exists()
    assert "holds a finished repetition" in metabench("rerun", manifest).error


def test_a_run_is_repeated_from_another_folder(manifest, metabench, workspace, monkeypatch):
    monkeypatch.chdir(manifest.parent)
    done = metabench("rerun", manifest.name, "--out", "again")
    assert "12 rows: 12 equal\n" in done.out, done.err
    assert (manifest.parent / "again/comparison.csv").is_file()


def test_a_difference_is_shown_row_by_row_with_status_1(manifest, metabench, workspace):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        database.execute("UPDATE rows SET accuracy = 0.125 WHERE domain = 'reds' AND task = 1 AND adapter = 'ncc'")
        database.execute("DELETE FROM rows WHERE domain = 'blues' AND task = 2 AND adapter = 'url'")
    done = metabench("rerun", manifest, "--out", "again")
    assert done.status == 1
    assert "differs: reds, task 1, ncc on raw-pixels: 0.125000 originally" in done.out
    assert "new: blues, task 2, url on raw-pixels: none originally" in done.out
    assert "12 rows: 10 equal, 1 differs, 1 new\n" in done.out
    with (workspace / "again/comparison.csv").open() as file:
        assert sorted(row["state"] for row in csv.DictReader(file)) == ["differs"] + 10 * ["equal"] + ["new"]


def test_an_edited_benchmark_file_is_named_before_anything_is_computed(manifest, metabench, workspace):
    (workspace / "tiny.toml").write_text((workspace / "tiny.toml").read_text() + "\n# a word\n")
    error = metabench("rerun", manifest, "--out", "again").error
    assert "tiny.toml: is not the benchmark file of " in error
    assert not (workspace / "again").exists()


def test_other_images_are_named_before_anything_is_computed(manifest, metabench, workspace):
    whole = (workspace / "records").resolve()
    (workspace / "records").unlink()
    shutil.copytree(whole, workspace / "records")
    reds = workspace / "records/reds"
    for class_id, count in enumerate(DatasetRecords(reds).spec.images_per_class.tolist()):
        write_records(reds / f"{class_id}.tfrecords", [(image, class_id) for image in images_of(500 + class_id, count)])
    error = metabench("rerun", manifest, "--out", "again").error
    assert "the images (records) of reds is " in error
    assert error.endswith("nothing was computed")
    assert not (workspace / "again").exists()


def test_what_cannot_be_repeated_is_named(manifest, metabench, workspace):
    old = json.loads(manifest.read_text())
    del old["format"]
    (workspace / "runs/manifests/old.json").write_text(json.dumps(old))
    (workspace / "runs/manifests/text.json").write_text("text")
    assert "old.json: a manifest of another form" in metabench("rerun", "runs/manifests/old.json").error
    assert "text.json: is no manifest" in metabench("rerun", "runs/manifests/text.json").error
    assert "is where the original lies" in metabench("rerun", manifest, "--out", "runs").error
    (workspace / "runs/results.sqlite").unlink()
    assert "the original's rows are not there" in metabench("rerun", manifest).error


def test_a_manifest_says_where_everything_came_from(manifest, workspace):
    facts = json.loads(manifest.read_text())
    assert facts["command"][:2] == ["run", "tiny.toml"]
    assert facts["options"]["tasks"] == 3
    assert facts["folder"] == str(workspace)
    assert set(facts["records"]) == set(facts["specs"]) == {"reds", "blues"}
    assert set(facts["adapters"]["reds"]) == {"ncc", "url(steps=2)"}
    assert facts["seeds"] == [0]
    assert facts["rows"]["number"] == 12
    assert len(facts["benchmark_file"]["sha256"]) == 64
    assert facts["determinism"]["deterministic_algorithms"] is False
    assert facts["git"]["working_folder"] is None


@pytest.mark.parametrize("kind", ["link", "way round", "copy"])
def test_rows_that_were_there_before_never_pass_for_repeated_ones(manifest, metabench, workspace, kind):
    (workspace / "link").symlink_to(workspace / "runs")
    shutil.copytree(workspace / "runs", workspace / "copy")
    out = {"link": "link", "way round": "copy/../runs", "copy": "copy"}[kind]
    error = metabench("rerun", manifest, "--out", out).error
    assert "choose another --out" in error
    assert not (workspace / "runs/comparison.csv").exists()


def test_a_repetition_that_was_stopped_goes_on_in_its_folder(run_ok, metabench, workspace):
    (workspace / "halting.py").write_text(HALTING)
    run_ok("--adapters", "halting.py", "--tasks", 40)
    (manifest,) = (workspace / "runs/manifests").iterdir()
    (workspace / "halt").touch()
    assert metabench("rerun", manifest, "--out", "again").status == 130
    with sqlite3.connect(workspace / "again/results.sqlite") as database:
        ((stored,),) = database.execute("SELECT count(*) FROM rows")
    assert 0 < stored < 80
    (workspace / "halt").unlink()
    assert "80 rows: 80 equal\n" in metabench("rerun", manifest, "--out", "again").out


def test_an_original_whose_rows_were_changed_is_cautioned_of(manifest, metabench, workspace):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        database.execute("UPDATE rows SET accuracy = 0.125 WHERE domain = 'reds' AND task = 1 AND adapter = 'ncc'")
    done = metabench("rerun", manifest, "--out", "again")
    assert "caution   the original's rows are not those that its manifest was written for" in done.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": {"adaptors": "ncc"}}, "no option 'adaptors'. Did you mean 'adapters'?"),
        ({"options": {"tasks": None}}, "says nothing of the option 'tasks'"),
        ({"specs": None}, "missing required field `specs`"),
        ({"packages": {"torch": 2}}, "Expected `str`, got `int`"),
    ],
)
def test_a_manifest_that_lacks_something_is_refused_in_one_line(manifest, metabench, workspace, change, words):
    facts = json.loads(manifest.read_text())
    for name, value in change.items():
        if value is None:
            del facts[name]
        else:
            facts[name] |= value
            facts[name] = {key: each for key, each in facts[name].items() if each is not None or key not in value}
    (workspace / "runs/manifests/changed.json").write_text(json.dumps(facts))
    assert words in metabench("rerun", "runs/manifests/changed.json").error


def test_a_package_that_is_not_here_any_more_is_a_caution(manifest, metabench, workspace):
    facts = json.loads(manifest.read_text())
    facts["packages"]["no-such-package"] = "1.0"
    manifest.write_text(json.dumps(facts))
    done = metabench("rerun", manifest, "--out", "again")
    assert done.status == 0, done.err
    assert "caution   no-such-package is not installed, the original had 1.0" in done.out


def test_a_benchmark_file_is_recorded_as_it_was_when_the_run_began(run_ok, metabench, workspace):
    """Its edition for the next run, while this one runs, is no part of this one."""
    (workspace / "edits.py").write_text(EDITING)
    before = (workspace / "tiny.toml").read_text()
    run_ok("--tasks", 1, "--adapters", "edits.py")
    assert (workspace / "tiny.toml").read_text() != before
    (workspace / "tiny.toml").write_text(before)
    (written,) = (workspace / "runs/manifests").glob("*.json")
    found = json.loads(written.read_text())["benchmark_file"]
    assert found["sha256"] == hashlib.sha256(before.encode()).hexdigest()
