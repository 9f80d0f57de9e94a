"""`metabench cache`: what lies there, and that nothing goes but what is damaged, unknown or named."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from rich.filesize import decimal

from backbones.embeddings import StoreFacts
from backbones.survey import survey_store
from episodes.dataset import DatasetRecords
from episodes.images import Images
from harness.commands import cache as cache_command
from harness.pixels import PixelChoice
from harness.stores import open_store
from results.files import files_under, in_use, sole_use

PARTS = {"weights": "00", "dtype": "torch.float32"}


def keep(cache, backbone, dtype, count):
    """A store of `count` vectors in one block, last used now."""
    facts = StoreFacts(backbone=backbone, kind="features", dtype=dtype, parts={**PARTS, "arch": backbone})
    store = open_store(facts, cache)
    with in_use(store.folder):
        store.add([("ab" * 32, np.arange(count))], np.ones((count, 8), np.float32))


@pytest.fixture
def filled(workspace, tiny_records):
    """A cache with features of two backbones, kept images and indices."""
    cache = workspace / "cache"
    keep(cache, "raw-pixels", "float32", 210)
    keep(cache, "resnet18-pocket", "float16", 50)
    records = DatasetRecords(tiny_records / "reds", cache)
    PixelChoice("keep", 84, cache).store(records).keep(Images(np.zeros(5, np.int64), np.arange(5)))
    return cache


def lines(outcome):
    assert outcome.status == 0, outcome.err
    return outcome.out.splitlines()


def line_with(outcome, word):
    (line,) = [line for line in lines(outcome) if word in line]
    return line


def stores(cache):
    return {path.parent for path in (cache / "embeddings").rglob("*.block")}


def everything(cache):
    return {path for path in cache.rglob("*") if path.is_file() and path.suffix != ".in-use"}


def test_ls_tells_stores_by_kind_backbone_and_precision(filled, metabench):
    done = metabench("cache", "ls")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines(done) if line.startswith("│")]
    today = time.strftime("%Y-%m-%d")
    small, large = sorted(decimal(sum(path.stat().st_size for path in store.iterdir())) for store in stores(filled))
    assert ["features", "raw-pixels", "float32", "210", large, today] in rows
    assert ["features", "resnet18-pocket", "float16, computed in float32", "50", small, today] in rows
    assert [row[3] for row in rows if row[0] == "pixels"] == ["5"]
    assert [row[:4] for row in rows if row[0] == "indices"] == [["indices", "records", "", ""]]
    assert lines(done)[-1].endswith(f" kB in {filled}")


def test_ls_and_gc_of_an_empty_cache(metabench, workspace):
    assert "0 bytes in" in metabench("cache", "ls").out
    assert metabench("cache", "gc").out.strip() == "freed 0 bytes"


def test_gc_without_options_leaves_what_is_sound(filled, metabench):
    before = everything(filled)
    assert metabench("cache", "gc").out.strip() == "freed 0 bytes"
    assert everything(filled) == before


def test_gc_removes_what_is_damaged_or_unknown_and_nothing_else(filled, metabench):
    store = next(iter(stores(filled)))
    (block,) = store.glob("*.block")
    sound = everything(filled)
    copy = store / f"{'0' * 32}.block"
    copy.write_bytes(block.read_bytes()[:-1] + b"\xff")
    stray = store / ".x.block.1-2.part"
    stray.write_bytes(b"12345")
    old = filled / "embeddings" / ("ef" * 32)
    old.mkdir()
    (old / f"{'ab' * 32}.npz").write_bytes(b"PK")
    (filled / "embeddings" / f"{'ef' * 32}.lock").touch()
    segment = next((filled / "pixels").rglob("*.pixels"))
    damaged = segment.with_name("0.pixels")
    damaged.write_bytes(segment.read_bytes()[:100] + b"\0" + segment.read_bytes()[101:])
    outdated = filled / "pixels/decoded-v0/ab/cd.pixels"
    outdated.parent.mkdir(parents=True)
    outdated.write_bytes(b"123")
    theirs = filled / "embeddings/notes.txt"
    theirs.write_text("mine")
    would = metabench("cache", "gc", "--dry-run")
    assert "would remove" in would.out
    assert copy.exists()
    done = metabench("cache", "gc")
    assert done.out == would.out.replace("would remove", "removed").replace("would free", "freed")
    assert everything(filled) == sound | {theirs}
    assert not old.exists()
    assert not outdated.parents[1].exists()


def test_a_flipped_bit_in_kept_vectors_is_found_by_gc(filled, metabench):
    for store in stores(filled):
        (block,) = store.glob("*.block")
        data = bytearray(block.read_bytes())
        data[-40] ^= 4
        block.write_bytes(data)
    assert metabench("cache", "gc").out.count(": 1 files, ") == 2
    assert stores(filled) == set()


def test_gc_removes_the_embeddings_of_a_backbone_alone(filled, metabench):
    before = everything(filled)
    done = metabench("cache", "gc", "--backbone", "raw-pixels")
    (gone,) = {path.parent for path in before - everything(filled)}
    assert line_with(done, "removed").startswith("removed  features raw-pixels float32: 2 files, ")
    assert lines(done)[-1].startswith("freed ")
    assert not gone.exists()
    assert not gone.with_name(f"{gone.name}.in-use").exists()


def test_a_backbone_that_has_no_embeddings_is_named_with_those_that_have(filled, metabench):
    error = metabench("cache", "gc", "--backbone", "raw-pixel").error
    assert "no embeddings of backbone 'raw-pixel'. Did you mean 'raw-pixels'? Known: raw-pixels, resnet18-poc" in error


def aged(path, days):
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_gc_removes_what_was_not_used_for_so_many_days(filled, metabench):
    first, second = sorted(stores(filled))
    aged(first.with_name(f"{first.name}.in-use"), 40)
    aged(second.with_name(f"{second.name}.in-use"), 20)
    for path in (filled / "index").iterdir():
        aged(path, 31)
    metabench("cache", "gc", "--older-than", 30)
    assert stores(filled) == {second}
    assert list((filled / "pixels").rglob("*.pixels"))
    assert not (filled / "index").exists()


def test_a_run_makes_its_stores_young_again_and_makes_again_what_was_removed(run_ok, metabench, workspace):
    run_ok()
    (store,) = stores(workspace / "cache")
    aged(store.with_name(f"{store.name}.in-use"), 40)
    run_ok("--adapters", "url")
    metabench("cache", "gc", "--older-than", 30)
    assert stores(workspace / "cache") == {store}
    metabench("cache", "gc", "--older-than", 0)
    assert everything(workspace / "cache") == set()
    assert "210 distinct" in run_ok("--adapters", "url(lr=0.5)").out


def test_what_another_process_uses_is_never_removed(filled, metabench, new_process):
    before = everything(filled)
    (store,) = [path for path in stores(filled) if "raw-pixels" in (path / "store.json").read_text()]
    (store / "stray").write_text("12345")
    with in_use(store):
        done = new_process("cache", "gc", "--backbone", "raw-pixels")
        assert "in use, kept  features raw-pixels" in done.out
        assert lines(done)[-1] == "freed 0 bytes"
        assert before < everything(filled)
        assert "in use, kept" in new_process("cache", "gc").out
    assert "removed" in new_process("cache", "gc").out
    assert everything(filled) == before


@contextmanager
def a_run_that_writes(folder):
    """Another process that gives files their names all the time."""
    code = "import sys; from pathlib import Path; from results.files import write_whole\nwhile True:\n"
    code += " for i in range(9): write_whole(Path(sys.argv[1]) / f'{i}.pixels', b'x'); print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


def test_ls_works_beside_a_run_whose_files_come_and_go(filled, metabench):
    for folder in (next(iter(stores(filled))), next((filled / "pixels").glob("*-v*")) / "ab"):
        with a_run_that_writes(folder):
            for _ in range(20):
                assert metabench("cache", "ls").status == 0


@pytest.mark.parametrize("pattern", ["embeddings/*/*.block", "pixels/*/*/*.pixels"])
def test_gc_leaves_what_a_run_made_sound_just_before_it_had_the_lock(filled, metabench, monkeypatch, pattern):
    path = next(filled.glob(pattern))
    sound = path.read_bytes()
    path.write_bytes(sound[:100])

    def after_a_run(folder):
        path.write_bytes(sound)
        return sole_use(folder)

    monkeypatch.setattr(cache_command, "sole_use", after_a_run)
    assert metabench("cache", "gc").out.strip() == "freed 0 bytes"
    assert path.read_bytes() == sound


def test_files_that_vanish_while_a_store_is_looked_at_count_as_nothing(filled, monkeypatch):
    store = next(iter(stores(filled)))
    gone = [store / f"{'0' * 32}.block", store / ".x.block.1-2.part"]
    before = survey_store(store, verify=True)
    monkeypatch.setattr("backbones.survey.files_under", lambda folder: [*files_under(folder), *gone])
    after = survey_store(store, verify=True)
    assert (after.images, after.bytes, after.damaged) == (before.images, before.bytes, [])


def test_sole_use_is_refused_while_anybody_uses_a_folder_and_leaves_no_trace_behind(tmp_path):
    with in_use(tmp_path / "a"), in_use(tmp_path / "a"), sole_use(tmp_path / "a") as alone:
        assert not alone
    with sole_use(tmp_path / "a") as alone, sole_use(tmp_path / "a") as second:
        assert alone
        assert not second
    with sole_use(tmp_path / "b") as alone:
        assert alone
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    assert [path.name for path in tmp_path.iterdir()] == []
