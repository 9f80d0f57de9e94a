import logging
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import backbones
from backbones.contract import BackboneCard
from backbones.embeddings import EmbeddingStore, embed_in_fixed_batches
from backbones.errors import BackboneError
from backbones.frozen import FrozenBackbone
from backbones.resnet18 import ResNet18
from results.errors import WriteError

CLASS = "ab12"


def network(widths: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> FrozenBackbone:
    torch.manual_seed(0)
    card = BackboneCard(name="net", arch="resnet18", widths=widths)
    return FrozenBackbone(card, ResNet18(widths), device=torch.device("cpu"), dtype=dtype)


def images(n: int, size: int = 84) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def vectors(records: np.ndarray) -> np.ndarray:
    """A (n, 3) float32 vector for each record that tells which record it is of."""
    return np.stack([records, records + 0.25, -records], axis=1).astype(np.float32)


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """Every file of this process ends at `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (5, 7, 12, 20), (32, 48, 64, 64)])
def test_vector_is_equal_to_the_bit_whatever_its_place_and_neighbours(
    widths: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    backbone, pixels = network(widths, dtype), images(6)
    together = torch.cat(list(embed_in_fixed_batches(backbone, [pixels], batch_size=4)))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    shuffled = torch.cat(list(embed_in_fixed_batches(backbone, [pixels[order]], batch_size=4)))
    alone = torch.cat([next(embed_in_fixed_batches(backbone, [image[None]], batch_size=4)) for image in pixels])
    assert torch.equal(together[order], shuffled)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vector_is_equal_to_the_bit_on_one_thread_and_on_two(dtype: torch.dtype) -> None:
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
def test_batches_give_every_image_once_in_order(n: int, block: int, batch_size: int) -> None:
    pixels, backbone = images(12, size=16)[:n], backbones.load("raw-pixels")
    batches = list(embed_in_fixed_batches(backbone, iter(pixels.split(block) if n else []), batch_size))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert torch.equal(torch.cat([torch.empty(0, 768), *batches]), pixels.flatten(1))


def test_every_forward_pass_has_the_same_number_of_images() -> None:
    backbone, shapes = network((4, 4, 4, 4)), []
    backbone.module.register_forward_hook(lambda module, args, out: shapes.append(tuple(args[0].shape)))
    assert sum(len(batch) for batch in embed_in_fixed_batches(backbone, [images(7, size=32)], batch_size=3)) == 7
    assert shapes == [(3, 3, 32, 32)] * 3


@settings(max_examples=30)
@given(
    saves=st.lists(st.lists(st.integers(0, 40), unique=True, max_size=15), max_size=4),
    asked=st.sets(st.integers(0, 40)),
)
def test_store_gives_back_what_was_saved_and_names_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory, saves: list[list[int]], asked: set[int]
) -> None:
    store = EmbeddingStore(tmp_path_factory.mktemp("store"), "key")
    for records in saves:
        store.save(CLASS, np.array(records, np.int64), vectors(np.array(records)).reshape(-1, 3))
    stored = {record for records in saves for record in records}
    wanted = np.array(sorted(asked), np.int64)
    assert store.missing(CLASS, wanted).tolist() == sorted(asked - stored)
    present = np.array(sorted(asked & stored, reverse=True), np.int64)
    if len(present):
        assert np.array_equal(store.load(CLASS, present), vectors(present))


def test_new_vector_of_a_stored_record_replaces_the_old_one(tmp_path: Path) -> None:
    store, records = EmbeddingStore(tmp_path, "key"), np.array([3, 1])
    store.save(CLASS, records, vectors(records))
    store.save(CLASS, np.array([1]), vectors(np.array([9])))
    assert np.array_equal(store.load(CLASS, np.array([1, 3, 1])), vectors(np.array([9, 3, 9])))


def test_record_may_be_asked_for_twice_and_counts_once_as_missing(tmp_path: Path) -> None:
    assert EmbeddingStore(tmp_path, "key").missing(CLASS, np.array([5, 2, 5])).tolist() == [2, 5]


def test_missing_record_is_never_made_up(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "key")
    store.save(CLASS, np.array([1, 3]), vectors(np.array([1, 3])))
    for record in (0, 2, 4):
        with pytest.raises(BackboneError, match=f"ab12.npz: no embedding of record {record}"):
            store.load(CLASS, np.array([1, record]))


def test_backbones_do_not_see_each_others_vectors(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path, "one").save(CLASS, np.array([1]), vectors(np.array([1])))
    assert EmbeddingStore(tmp_path, "two").missing(CLASS, np.array([1])).tolist() == [1]


def test_float64_vectors_keep_all_their_bits(tmp_path: Path) -> None:
    store, exact = EmbeddingStore(tmp_path, "key"), np.array([[np.pi, 1 / 3]])
    store.save(CLASS, np.array([0]), exact)
    assert np.array_equal(store.load(CLASS, np.array([0])), exact)


def test_every_flipped_bit_is_harmless_or_makes_the_file_absent(tmp_path: Path) -> None:
    store, records = EmbeddingStore(tmp_path, "key"), np.arange(4)
    store.save(CLASS, records, vectors(records))
    file = tmp_path / "key" / f"{CLASS}.npz"
    whole = file.read_bytes()
    logging.disable()
    try:
        absent = 0
        for bit in range(0, 8 * len(whole), 7):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(data)
            missing = store.missing(CLASS, records)
            assert len(missing) in (0, 4)
            absent += len(missing) == 4
            assert len(missing) or np.array_equal(store.load(CLASS, records), vectors(records))
    finally:
        logging.disable(logging.NOTSET)
    assert absent > 400


def test_truncated_file_is_reported_and_embedded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, records = EmbeddingStore(tmp_path, "key"), np.arange(6)
    store.save(CLASS, records, vectors(records))
    file = tmp_path / "key" / f"{CLASS}.npz"
    file.write_bytes(file.read_bytes()[:-30])
    assert store.missing(CLASS, records).tolist() == records.tolist()
    assert f"{file}: damaged" in caplog.text
    store.save(CLASS, records[:2], vectors(records[:2]))
    assert np.array_equal(store.load(CLASS, records[:2]), vectors(records[:2]))


def test_full_disk_is_named_and_what_was_stored_stays(tmp_path: Path) -> None:
    store, few, many = EmbeddingStore(tmp_path, "key"), np.arange(3), np.arange(3, 5000)
    store.save(CLASS, few, vectors(few))
    with (
        disk_with_room_for(4096),
        pytest.raises(WriteError, match=r"ab12\.npz: cannot be written \(File too large\)"),
    ):
        store.save(CLASS, many, vectors(many))
    assert np.array_equal(store.load(CLASS, few), vectors(few))
    assert [file.name for file in (tmp_path / "key").iterdir()] == [f"{CLASS}.npz"]


def test_writers_at_the_same_time_leave_a_sound_file(tmp_path: Path) -> None:
    def write(part: int) -> None:
        store = EmbeddingStore(tmp_path, "key")
        for start in range(0, 40, 4):
            records = np.arange(start, start + 4) * 4 + part
            store.save(CLASS, records, vectors(records))

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store, every = EmbeddingStore(tmp_path, "key"), np.arange(160)
    stored = np.setdiff1d(every, store.missing(CLASS, every))
    assert len(stored) >= 4
    assert np.array_equal(store.load(CLASS, stored), vectors(stored))
    assert [file.name for file in (tmp_path / "key").iterdir()] == [f"{CLASS}.npz"]
