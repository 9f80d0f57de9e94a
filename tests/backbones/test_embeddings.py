"""Batches of one shape, and the store of what they give: blocks that are whole or absent, and never another's."""

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import backbones
from backbones import blocks
from backbones.contract import BackboneCard
from backbones.embeddings import EmbeddingStore, StoreFacts, embed_in_fixed_batches, only_embedder
from backbones.errors import BackboneError
from backbones.frozen import FrozenBackbone
from backbones.resnet18 import ResNet18
from results.errors import WriteError

CLASS, OTHER = "ab" * 32, "cd" * 32
PARTS = {
    "weights": "00",
    "arch": "resnet18",
    "widths": (4, 4),
    "dtype": "torch.float32",
    "decoder": 3,
    "pixels": "exact",
}
FACTS = StoreFacts(backbone="net", kind="features", dtype="float32", parts=PARTS)


def network(widths, dtype=torch.float32):
    torch.manual_seed(0)
    card = BackboneCard(name="net", arch="resnet18", widths=widths)
    return FrozenBackbone(card, ResNet18(widths), device=torch.device("cpu"), dtype=dtype)


def images(n, size=84):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def vectors(records):
    """A (n, 3) float32 vector for each record that tells which record it is of."""
    records = np.asarray(records, np.int64)
    return np.stack([records, records + 0.25, -records], axis=1).astype(np.float32)


def add(store, records, fingerprint=CLASS):
    store.add([(fingerprint, np.array(records, np.int64))], vectors(records))


def load(store, records, fingerprint=CLASS):
    return store.load([(fingerprint, np.array(records, np.int64))])


def files(root):
    return sorted(root.rglob("*.block"))


@contextmanager
def silence():
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


# --- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (5, 7, 12, 20), (32, 48, 64, 64)])
def test_vector_is_equal_to_the_bit_whatever_its_place_and_neighbours(widths, dtype):
    backbone, pixels = network(widths, dtype), images(6)
    together = torch.cat(list(embed_in_fixed_batches(backbone, [pixels], batch_size=4)))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    shuffled = torch.cat(list(embed_in_fixed_batches(backbone, [pixels[order]], batch_size=4)))
    alone = torch.cat([next(embed_in_fixed_batches(backbone, [image[None]], batch_size=4)) for image in pixels])
    assert torch.equal(together[order], shuffled)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_vector_is_equal_to_the_bit_on_one_thread_and_on_two(dtype):
    backbone, threads = network((16, 32, 64, 128), dtype), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = next(embed_in_fixed_batches(backbone, [images(16)], batch_size=16))
        torch.set_num_threads(2)
        two = next(embed_in_fixed_batches(backbone, [images(16)], batch_size=16))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)


@given(n=st.integers(0, 12), block=st.integers(1, 12), batch_size=st.integers(1, 5))
def test_batches_give_every_image_once_in_order(n, block, batch_size):
    pixels, backbone = images(12, size=16)[:n], backbones.load("raw-pixels")
    batches = list(embed_in_fixed_batches(backbone, iter(pixels.split(block) if n else []), batch_size))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert torch.equal(torch.cat([torch.empty(0, 768), *batches]), pixels.flatten(1))


def test_every_forward_pass_has_the_same_number_of_images(monkeypatch):
    backbone, shapes = network((4, 4, 4, 4)), []
    embed = backbone.embed
    monkeypatch.setattr(backbone, "embed", lambda batch: shapes.append(tuple(batch.shape)) or embed(batch))
    assert sum(len(batch) for batch in embed_in_fixed_batches(backbone, [images(7, size=32)], batch_size=3)) == 7
    assert shapes == [(3, 3, 32, 32)] * 3


# --- what is stored --------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    adds=st.lists(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=15), max_size=4),
    asked=st.sets(st.integers(0, 40)),
)
def test_what_was_added_comes_back_and_what_is_missing_is_named(tmp_path_factory, adds, asked):
    root = tmp_path_factory.mktemp("store")
    store = EmbeddingStore(root, FACTS)
    for records in adds:
        add(store, records)
    stored = {record for records in adds for record in records}
    for reader in (store, EmbeddingStore(root, FACTS)):
        assert reader.missing(CLASS, np.array(sorted(asked), np.int64)).tolist() == sorted(asked - stored)
        present = sorted(asked & stored, reverse=True)
        if present:
            assert np.array_equal(load(reader, present), vectors(present))


def test_a_block_may_hold_images_of_several_classes_and_a_class_may_lie_in_several_blocks(tmp_path):
    store = EmbeddingStore(tmp_path, FACTS)
    first = [(CLASS, np.array([4, 2])), (OTHER, np.array([9]))]
    store.add(first, vectors([4, 2, 19]))
    store.add([(OTHER, np.array([1, 3]))], vectors([11, 13]))
    reader = EmbeddingStore(tmp_path, FACTS)
    wanted = [(OTHER, np.array([3, 9, 3])), (CLASS, np.array([2])), (OTHER, np.array([1]))]
    assert np.array_equal(reader.load(wanted), vectors([13, 19, 13, 2, 11]))
    assert len(reader) == 5
    assert len(files(tmp_path)) == 2


def test_the_same_images_added_twice_lie_there_once(tmp_path):
    for _ in range(2):
        add(EmbeddingStore(tmp_path, FACTS), [3, 1, 2])
    assert len(files(tmp_path)) == 1


def test_record_may_be_asked_for_twice_and_counts_once_as_missing(tmp_path):
    assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.array([5, 2, 5])).tolist() == [2, 5]


def test_missing_record_is_never_made_up(tmp_path):
    store = EmbeddingStore(tmp_path, FACTS)
    add(store, [1, 3])
    for record in (0, 2, 4):
        with pytest.raises(BackboneError, match=f"no vector of record {record} of class file abab"):
            load(store, [1, record])


def test_maps_keep_their_shape(tmp_path):
    facts = replace_facts(kind="maps", dtype="float16")
    maps = np.random.RandomState(0).rand(5, 2, 3, 4).astype(np.float16).astype(np.float32)
    EmbeddingStore(tmp_path, facts).add([(CLASS, np.arange(5))], maps)
    back = load(EmbeddingStore(tmp_path, facts), [4, 0])
    assert back.dtype == np.float32
    assert np.array_equal(back, maps[[4, 0]])


@pytest.mark.parametrize(
    ("dtype", "bits", "comes_back"),
    [("float16", 2, np.float32), ("float32", 4, np.float32), ("float64", 8, np.float64)],
)
def test_vectors_take_the_bytes_of_their_precision_and_keep_its_bits(tmp_path, dtype, bits, comes_back):
    exact = np.random.RandomState(0).randn(1000, 64)
    EmbeddingStore(tmp_path, replace_facts(dtype=dtype)).add([(CLASS, np.arange(1000))], exact)
    (file,) = files(tmp_path)
    assert 1000 * 64 * bits < file.stat().st_size < 1000 * (64 * bits + 9)
    back = load(EmbeddingStore(tmp_path, replace_facts(dtype=dtype)), range(1000))
    assert back.dtype == comes_back
    assert np.array_equal(back, exact.astype(dtype).astype(comes_back))


def test_a_number_that_float16_has_no_room_for_is_refused_with_the_way_out(tmp_path):
    store = EmbeddingStore(tmp_path, replace_facts(dtype="float16"))
    with pytest.raises(
        BackboneError, match=r"a feature of 7e\+04 is beyond float16 \(65504\); use --store-dtype float32"
    ):
        store.add([(CLASS, np.arange(2))], np.array([[1.0], [-70000.0]], np.float32))
    assert files(tmp_path) == []


# --- whose it is -----------------------------------------------------------------------------------------------------


def replace_facts(**changes):
    return msgspec.structs.replace(FACTS, **changes)


def test_the_name_of_a_backbone_is_no_part_of_the_key():
    assert replace_facts(backbone="another").key == FACTS.key


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "maps"},
        {"dtype": "float16"},
        *({"parts": {**PARTS, name: "another"}} for name in PARTS),
        {"parts": {**PARTS, "further": 1}},
    ],
)
def test_changing_any_one_part_of_the_key_misses(tmp_path, changed):
    add(EmbeddingStore(tmp_path, FACTS), [1])
    assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.array([1])).tolist() == []
    assert EmbeddingStore(tmp_path, replace_facts(**changed)).missing(CLASS, np.array([1])).tolist() == [1]


def test_another_class_file_and_another_record_miss(tmp_path):
    store = EmbeddingStore(tmp_path, FACTS)
    add(store, [1])
    assert store.missing(OTHER, np.array([1])).tolist() == [1]
    assert store.missing(CLASS, np.array([1, 2])).tolist() == [2]


CARD = BackboneCard(name="net", arch="resnet18", widths=(4, 4, 4, 4), weights_sha256="00")


@pytest.mark.parametrize(
    "changed",
    [
        {"arch": "resnet34"},
        {"widths": (4, 4, 4, 8)},
        {"stem_padding": 2},
        {"image_size": 32},
        {"resize": "another"},
        {"normalisation": "mean 0.5,0.5,0.4 std 0.5,0.5,0.5"},
        {"weights_sha256": "01"},
        {"dtype": torch.float64},
        {"compiled": True},
    ],
)
def test_all_that_decides_a_vector_is_part_of_the_identity(changed):
    options = {"dtype": torch.float32, "compiled": False}
    options.update({name: changed.pop(name) for name in list(changed) if name in options})
    card = msgspec.structs.replace(CARD, **changed)
    made = [
        FrozenBackbone(each, ResNet18((4, 4, 4, 4)), device=torch.device("cpu"), **given)
        for each, given in ((CARD, {"dtype": torch.float32}), (card, options))
    ]
    assert len({backbones.identity(backbone) for backbone in made}) == 2


def test_how_embedding_is_done_is_part_of_the_identity(monkeypatch):
    before = backbones.identity(network((4, 4, 4, 4)))
    monkeypatch.setattr(backbones.registry, "EMBEDDER_VERSION", -1)
    assert backbones.identity(network((4, 4, 4, 4))) != before


def test_a_block_of_another_store_is_not_served(tmp_path, caplog):
    other = replace_facts(dtype="float16")
    add(EmbeddingStore(tmp_path, other), [1])
    (foreign,) = files(tmp_path)
    (tmp_path / FACTS.key).mkdir()
    foreign.rename(tmp_path / FACTS.key / foreign.name)
    assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.array([1])).tolist() == [1]
    assert "it is of another store" in caplog.text


# --- damage ----------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_found_and_the_images_are_embedded_again(tmp_path):
    add(EmbeddingStore(tmp_path, FACTS), [1, 2])
    (file,) = files(tmp_path)
    sound = file.read_bytes()
    assert len(sound) < 400
    with silence():
        for bit in range(8 * len(sound)):
            data = bytearray(sound)
            data[bit // 8] ^= 1 << bit % 8
            file.write_bytes(data)
            store = EmbeddingStore(tmp_path, FACTS)
            assert store.missing(CLASS, np.array([1, 2])).tolist() == [1, 2], bit
            assert not file.exists()
    add(store, [1, 2])
    assert file.read_bytes() == sound


@pytest.mark.parametrize("content", [b"", b"MBembed2", b"\0" * 4096, b"<html>not found</html>" * 50])
def test_an_empty_or_foreign_file_counts_as_absent(tmp_path, content, caplog):
    add(EmbeddingStore(tmp_path, FACTS), [1])
    (file,) = files(tmp_path)
    file.write_bytes(content)
    store = EmbeddingStore(tmp_path, FACTS)
    assert store.missing(CLASS, np.array([1])).tolist() == [1]
    assert f"{file}: damaged" in caplog.text
    add(store, [1])
    assert np.array_equal(load(store, [1]), vectors([1]))


def test_a_block_cut_anywhere_counts_as_absent_and_the_others_stay(tmp_path):
    store = EmbeddingStore(tmp_path, FACTS)
    add(store, [1, 2])
    (file,) = files(tmp_path)
    add(store, [3])
    sound = file.read_bytes()
    with silence():
        for length in range(0, len(sound), 3):
            file.write_bytes(sound[:length])
            assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.arange(1, 4)).tolist() == [1, 2]


def test_damage_in_a_block_that_is_not_read_costs_nothing(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path, FACTS)
    add(store, [1])
    (first,) = files(tmp_path)
    add(store, [2])
    (second,) = set(files(tmp_path)) - {first}
    second.write_bytes(second.read_bytes()[:-1] + b"\xff")
    reader, verified = EmbeddingStore(tmp_path, FACTS), []
    verify = blocks.Block.verify
    monkeypatch.setattr(blocks.Block, "verify", lambda block: verified.append(block.path) or verify(block))
    for _ in range(3):
        assert reader.missing(CLASS, np.array([1])).tolist() == []
        assert np.array_equal(load(reader, [1]), vectors([1]))
    assert verified == [first]  # once a process
    assert second.exists()


def test_a_block_that_is_taken_away_while_it_is_used_is_one_line(tmp_path):
    add(EmbeddingStore(tmp_path, FACTS), [1])
    store = EmbeddingStore(tmp_path, FACTS)
    files(tmp_path)[0].unlink()
    with pytest.raises(BackboneError, match=r"\.block: was damaged while it was used; run again"):
        load(store, [1])


def test_damage_in_a_cache_that_may_only_be_read_is_not_served(tmp_path, monkeypatch):
    add(EmbeddingStore(tmp_path, FACTS), [1])
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")

    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.array([1])).tolist() == [1]


def test_a_sound_block_is_kept_when_no_more_files_can_be_opened(tmp_path):
    add(EmbeddingStore(tmp_path, FACTS), [1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (file,) = files(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            blocks.read_block(file, FACTS.key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert file.exists()


def test_a_full_disk_is_named_and_what_was_stored_stays_usable(tmp_path):
    store = EmbeddingStore(tmp_path, FACTS)
    add(store, range(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # every file ends there, as on a disk that is full
    try:
        with pytest.raises(WriteError, match=r"\.block: cannot be written \(File too large\)"):
            add(store, range(3, 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(load(store, range(3)), vectors(range(3)))
    assert EmbeddingStore(tmp_path, FACTS).missing(CLASS, np.arange(5)).tolist() == [3, 4]
    assert len([path for path in (tmp_path / FACTS.key).iterdir() if path.name.endswith(".part")]) == 0
    add(store, range(3, 5000))
    assert np.array_equal(load(EmbeddingStore(tmp_path, FACTS), [4999]), vectors([4999]))


# --- several processes -----------------------------------------------------------------------------------------------

WRITER = """
import sys
import numpy as np
from pathlib import Path
from backbones.embeddings import EmbeddingStore, StoreFacts
store = EmbeddingStore(Path(sys.argv[1]), StoreFacts(backbone="net", kind="features", dtype="float32", parts={}))
for block in range(10_000):
    records = np.arange(100 * block, 100 * block + 100)
    store.add([("ab" * 32, records)], np.repeat(records[:, None], 64, axis=1).astype(np.float32))
    print(block, flush=True)
"""


def test_blocks_appear_whole_to_readers_while_one_writes_and_is_killed(tmp_path):
    facts = StoreFacts(backbone="net", kind="features", dtype="float32", parts={})
    environment = os.environ | {"PYTHONPATH": str(Path(backbones.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], env=environment, stdout=subprocess.PIPE
    ) as writer:
        try:
            for _ in range(30):
                done = int(writer.stdout.readline())
                stored = len(EmbeddingStore(tmp_path, facts))
                assert stored % 100 == 0
                assert stored >= 100 * (done + 1)
        finally:
            writer.send_signal(signal.SIGKILL)
    store = EmbeddingStore(tmp_path, facts)
    records = np.setdiff1d(np.arange(20_000), store.missing(CLASS, np.arange(20_000)))
    assert len(records) == len(store) >= 3000
    assert np.array_equal(load(store, records)[:, 7], records)


def test_of_two_that_would_add_one_waits_and_says_so(tmp_path):
    order, waits, inside = [], threading.Event(), threading.Event()

    def second():
        inside.wait()
        with only_embedder(tmp_path, FACTS.key, waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with only_embedder(tmp_path, FACTS.key, lambda: order.append("had to wait")):
        inside.set()
        assert waits.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
