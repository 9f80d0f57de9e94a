"""Embeddings and maps over a run: made once, in blocks, kept where there is room, and the same either way."""

import csv
import json
import logging
import sqlite3
import threading
from functools import partial

import numpy as np
import pytest
import torch

import backbones
from backbones.embeddings import in_fixed_batches
from episodes.dataset import DatasetRecords
from episodes.images import Images
from episodes.stream import load_images
from harness import embed, run
from harness.embed import embed_images
from harness.stores import load_vectors, open_store, store_facts
from results.files import sole_use

MAPPER = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapper:
    """Compares maps; the last bit of one may decide."""

    needs: ClassVar = frozenset({"maps"})
    takes: ClassVar = "maps"

    def adapt(self, support, *, rng=None):
        corners = support.maps[:, :, 0, 0]
        means = corners.new_zeros(support.way, corners.shape[1]).index_add_(0, support.labels, corners)
        means /= support.labels.bincount()[:, None]
        return lambda maps: -(maps[:, None, :, 0, 0] - means).square().sum(dim=2)
'''
NETWORK = ("--backbone", "resnet18-pocket-random", "--tasks", 2)


def stored(workspace, columns="key, accuracy"):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        return sorted(database.execute(f"SELECT {columns} FROM rows"))


def blocks(workspace):
    return sorted((workspace / "cache/embeddings").rglob("*.block"))


@pytest.fixture
def mapper(workspace, run_ok):
    (workspace / "mapper.py").write_text(MAPPER)
    return lambda *arguments: run_ok("--adapters", "mapper.py", *NETWORK, *arguments)


# --- maps ------------------------------------------------------------------------------------------------------------


def test_kept_maps_give_the_rows_that_computed_ones_give_and_need_no_kept_images(mapper, workspace, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("harness.vectors.room_for", lambda needed, folder: False)
        assert "reds: 1.4 MB are more than half of the free disk; not kept" in mapper().out
    assert blocks(workspace) == []
    computed = stored(workspace)
    (workspace / "runs/results.sqlite").unlink()
    assert "77 of them to make maps of with resnet18-pocket-random" in mapper("--datasets", "reds").out
    assert "91 distinct, 91 of them to make maps of" in mapper("--workers", 2).out
    assert stored(workspace) == computed
    assert len(list((workspace / "cache/pixels").rglob("*.pixels"))) == 14  # of the first run alone


def test_maps_of_several_backbones_are_kept_one_by_one(run_ok, workspace):
    (workspace / "mapper.py").write_text(
        MAPPER.replace("support.maps[:, :, 0, 0]", "support.maps[:, 1, :, 0, 0]")
        .replace("maps[:, None, :, 0, 0]", "maps[:, None, 1, :, 0, 0]")
        .replace('takes: ClassVar = "maps"', 'takes: ClassVar = "maps"\n    over_backbones: ClassVar = True')
    )
    pair = "resnet18-pocket+resnet18-pocket-random"
    run_ok("--adapters", "mapper.py", "--backbone", pair, "--tasks", 2)
    assert len({path.parent for path in blocks(workspace)}) == 2
    assert len(stored(workspace)) == 4


# --- precision -------------------------------------------------------------------------------------------------------


def test_features_in_float16_are_a_line_of_their_own_noted_in_every_row_and_half_the_size(run_ok, workspace):
    run_ok(*NETWORK)
    whole = sum(path.stat().st_size for path in blocks(workspace))
    run_ok(*NETWORK, "--store-dtype", "float16")
    half = sum(path.stat().st_size for path in blocks(workspace)) - whole
    assert 0.5 < half / whole < 0.53
    flags = [json.loads(text).get("store_dtype") for (text,) in stored(workspace, "flags")]
    assert sorted(flags, key=str) == [None] * 4 + ["float16"] * 4
    lines = list(csv.DictReader((workspace / "runs/leaderboard.csv").open()))
    name = "ncc @ resnet18-pocket-random"
    assert {line["name"] for line in lines} == {name, f"{name} float16 features"}


def test_what_is_usual_for_the_precision_of_the_backbone_may_be_said(run_ok, workspace):
    run_ok(*NETWORK)
    run_ok(*NETWORK, "--store-dtype", "float32")
    assert len(stored(workspace)) == 4


def test_an_unknown_precision_is_refused_in_one_line(run_tiny):
    assert "no --store-dtype 'float61'. Did you mean 'float16'?" in run_tiny("--store-dtype", "float61").error


# --- embedding in blocks ---------------------------------------------------------------------------------------------


@pytest.fixture
def reds(tiny_records):
    """The data set `reds`, all of its images, a network and the facts of its store."""
    records = DatasetRecords(tiny_records / "reds")
    images = Images.concatenate([(c, np.arange(n)) for c, n in enumerate(records.spec.images_per_class.tolist())])
    backbone = backbones.load("raw-pixels")
    return records, images, backbone, store_facts(backbone, {"pixels": "exact"}, "float32")


def missing(store, records, images):
    return Images.concatenate([(c, store.missing(records.fingerprint(c), at)) for c, at in images.by_class()])


@pytest.mark.parametrize("done", [8, 40, 97])
def test_embedding_that_is_killed_and_started_again_embeds_at_most_one_block_twice(reds, tmp_path, monkeypatch, done):
    records, images, backbone, facts = reds
    monkeypatch.setitem(embed.BLOCK_IMAGES, "features", 16)
    monkeypatch.setattr(embed, "in_fixed_batches", partial(in_fixed_batches, batch_size=8))
    embedded = []

    def count(steps):
        embedded.append(steps)
        if sum(embedded) >= done:
            raise KeyboardInterrupt

    store = open_store(facts, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        embed_images(records, records, images, backbone, store, count)
    first, total = sum(embedded), len(images.classes)
    embedded.clear()
    again = open_store(facts, tmp_path)
    left = missing(again, records, images)
    assert len(left.classes) <= total - first + 16
    embed_images(records, records, left, backbone, again, embedded.append)
    assert sum(embedded) == len(left.classes)
    assert len(missing(open_store(facts, tmp_path), records, images).classes) == 0


def test_a_class_larger_than_a_block_is_saved_piece_by_piece(reds, tmp_path, monkeypatch):
    records, images, backbone, facts = reds
    monkeypatch.setitem(embed.BLOCK_IMAGES, "features", 5)
    store, added = open_store(facts, tmp_path), []
    keep = store.add
    monkeypatch.setattr(store, "add", lambda *block: added.append(len(block[1])) or keep(*block))
    embed_images(records, records, images, backbone, store, lambda steps: None)
    assert added == [5] * (len(images.classes) // 5) + [len(images.classes) % 5 or 5][: len(images.classes) % 5]
    vectors = load_vectors(records, images, [open_store(facts, tmp_path)])
    again = open_store(facts, tmp_path / "whole")
    monkeypatch.setitem(embed.BLOCK_IMAGES, "features", 1024)
    embed_images(records, records, images, backbone, again, lambda steps: None)
    assert np.array_equal(load_vectors(records, images, [again]), vectors)


def test_features_that_are_a_view_of_the_pixels_are_read_before_the_pixels_change(reds, tmp_path, monkeypatch):
    records, images, backbone, facts = reds
    monkeypatch.setattr(backbone, "embed", lambda batch: batch[:, 0, 40])
    store = open_store(facts, tmp_path)
    embed_images(records, records, images, backbone, store, lambda steps: None)
    expected = load_images(records, images, 84)[:, 0, 40].numpy()
    assert np.array_equal(load_vectors(records, images, [store]), expected)


def test_a_batch_on_a_gpu_is_fetched_when_the_next_one_is_under_way():
    under_way, seen = [], []

    def batches():
        for number in range(3):
            under_way.append(number)
            yield torch.empty(1, device="meta")

    for _ in embed._one_behind(batches()):
        seen.append(list(under_way))
    assert seen == [[0, 1], [0, 1, 2], [0, 1, 2]]


def test_a_damaged_block_is_embedded_again_by_the_next_run(run_ok, workspace, caplog):
    run_ok()
    before = stored(workspace)
    file = blocks(workspace)[0]
    sound = file.read_bytes()
    file.write_bytes(sound[:-9] + bytes([sound[-9] ^ 16]) + sound[-8:])
    (workspace / "runs/results.sqlite").unlink()
    with caplog.at_level(logging.WARNING):
        done = run_ok()
    assert f"{file}: damaged" in caplog.text
    assert "0 of them to embed" not in done.out
    assert stored(workspace) == before
    assert file.read_bytes() == sound


def test_what_a_run_uses_is_held_while_it_runs(mapper, workspace, monkeypatch):
    held = []

    def look(current, *others):
        folders = [path.with_suffix("") for path in (workspace / "cache").rglob("*.in-use")]
        thread = threading.Thread(target=lambda: held.extend(_is_held(folder) for folder in folders))
        thread.start()
        thread.join()
        return adapt(current, *others)

    adapt = run._adapt
    monkeypatch.setattr(run, "_adapt", look)
    mapper()
    assert held == [True] * 2  # the maps and the pixels


def _is_held(folder):
    with sole_use(folder) as alone:
        return not alone
