"""`--pixels`: the same results from kept images as from decoded ones, and rounded ones never mixed with either."""

import csv
import json
import sqlite3

import numpy as np
import pytest

from episodes.dataset import DatasetRecords
from episodes.images import Images
from harness import pixels
from harness.pixels import PixelChoice, bytes_to_keep, room_for

COLOURS = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Compares mean colours; the last bit of a pixel may decide."""

    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"

    def adapt(self, support, *, rng=None):
        colours = support.images.mean(dim=(2, 3))
        means = colours.new_zeros(support.way, 3).index_add_(0, support.labels, colours)
        means /= support.labels.bincount()[:, None]
        return lambda images: -(images.mean(dim=(2, 3))[:, None] - means).square().sum(dim=2)
'''


def stored(workspace, columns):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        return database.execute(f"SELECT {columns} FROM rows ORDER BY domain, task").fetchall()


@pytest.fixture
def colours(workspace, run_ok):
    (workspace / "colours.py").write_text(COLOURS)
    return lambda *arguments: run_ok("--adapters", "ncc,colours.py", *arguments)


def test_kept_images_give_the_rows_that_decoded_ones_give(colours, workspace):
    first = colours("--pixels", "decode")
    assert "keeping" not in first.out
    assert not (workspace / "cache/pixels").exists()
    results = stored(workspace, "key, accuracy")
    (workspace / "runs/results.sqlite").unlink()
    assert "keeping" in colours("--pixels", "keep").out
    assert stored(workspace, "key, accuracy") == results


def test_images_that_are_kept_are_not_kept_twice(colours, workspace):
    assert "reds: keeping 105 images, about 80.6 kB" in colours().out
    (workspace / "runs/results.sqlite").unlink()
    assert "keeping" not in colours().out


def test_features_alone_need_no_kept_images(run_ok, workspace):
    run_ok("--pixels", "keep")
    assert not (workspace / "cache/pixels").exists()


def test_rounded_images_are_a_line_of_their_own_and_noted_in_every_row(colours, workspace):
    colours()
    colours("--pixels", "rounded")
    flags = [json.loads(text)["pixels"] for (text,) in stored(workspace, "flags")]
    assert flags.count("exact") == flags.count("rounded to 8 bits at 84") == 24
    assert len({key for (key,) in stored(workspace, "key")}) == 48
    lines = list(csv.DictReader((workspace / "runs/leaderboard.csv").open()))
    assert {line["name"] for line in lines} == {
        f"{method} @ raw-pixels{rounded}" for method in ("ncc", "colours") for rounded in ("", " rounded")
    }


def test_rounded_images_have_embeddings_of_their_own(run_ok, workspace):
    run_ok()
    run_ok("--pixels", "rounded")
    assert len([path for path in (workspace / "cache/embeddings").iterdir() if path.is_dir()]) == 2


def test_an_unknown_way_is_refused_in_one_line(run_tiny):
    assert "no --pixels 'rownded'. Did you mean 'rounded'?" in run_tiny("--pixels", "rownded").error


def test_without_room_on_the_disk_images_are_decoded_each_time(colours, workspace, monkeypatch):
    monkeypatch.setattr("harness.run_inputs.room_for", lambda needed, folder: False)
    done = colours()
    assert "more than half of the free disk; not kept" in done.out
    assert not list((workspace / "cache/pixels").rglob("*.pixels")) if (workspace / "cache/pixels").exists() else True
    assert len(stored(workspace, "key")) == 24


def test_the_disk_that_images_need_is_estimated_from_their_own_sizes(tiny_records, tmp_path):
    records = DatasetRecords(tiny_records / "reds")
    images = Images(np.zeros(10, np.int64), np.arange(10))
    assert bytes_to_keep(records, images, PixelChoice("keep", 84, tmp_path)) == 10 * 16 * 16 * 3
    assert bytes_to_keep(records, images, PixelChoice("rounded", 84, tmp_path)) == 10 * 84 * 84 * 3
    assert (
        bytes_to_keep(records, Images(images.classes[:0], images.records[:0]), PixelChoice("keep", 84, tmp_path)) == 0
    )


def test_half_of_the_free_disk_may_be_used(tmp_path, monkeypatch):
    usage = pixels.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(pixels.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert room_for(500, tmp_path)
    assert not room_for(501, tmp_path)
