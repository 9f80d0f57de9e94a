import threading
import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes.dataset import DatasetRecords
from episodes.decode import resize_normalize
from episodes.errors import BadImage
from episodes.plan import Images, plan_domain
from episodes.sampling import EpisodeConfig
from episodes.stream import load_images, stream_episodes, stream_images

SIZE = 12


class Noise(NamedTuple):
    """An image that is its own name."""

    class_id: int
    record: int

    def decode(self):
        if self.record == 666:
            raise BadImage(f"class {self.class_id}: record 666: broken")
        shape = (5 + self.record % 7, 4 + self.class_id % 5, 3)
        return np.random.RandomState(1000 * self.class_id + self.record).randint(0, 256, shape).astype(np.uint8)


class Watched:
    """A source that notes what is read, and whether two threads ever read at once."""

    def __init__(self):
        self.read, self.clashes, self._busy = [], 0, threading.Lock()

    def encoded(self, class_id, record):
        self.clashes += not self._busy.acquire(blocking=False)
        self.read.append((class_id, record))
        self._busy.release()
        return Noise(class_id, record)


def expected(images):
    pairs = zip(images.classes.tolist(), images.records.tolist(), strict=True)
    return torch.stack([resize_normalize(Noise(*pair).decode(), SIZE) for pair in pairs])


def some_images(count, seed=0):
    rng = np.random.RandomState(seed)
    return Images(rng.randint(0, 9, count), rng.randint(0, 500, count))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 90), block=st.integers(1, 40), workers=st.integers(1, 3))
def test_a_stream_gives_every_image_once_in_order_as_resize_normalize_does(count, block, workers):
    images, source = some_images(count), Watched()
    blocks = [part.clone() for part in stream_images(source, images, SIZE, workers=workers, block=block)]
    assert [len(part) for part in blocks[:-1]] == [block] * max(0, len(blocks) - 1)
    assert torch.equal(
        torch.cat([torch.empty(0, 3, SIZE, SIZE), *blocks]),
        expected(images) if count else torch.empty(0, 3, SIZE, SIZE),
    )
    assert len(source.read) == count
    assert source.clashes == 0


def test_images_are_read_in_the_order_of_the_files():
    images, source = some_images(200), Watched()
    list(stream_images(source, images, SIZE, workers=1, block=200))
    assert source.read == sorted(zip(images.classes.tolist(), images.records.tolist(), strict=True))


def test_a_block_has_its_channels_last_in_memory():
    block = next(stream_images(Watched(), some_images(5), SIZE))
    assert block.is_contiguous(memory_format=torch.channels_last)


def test_a_block_stays_as_it_is_until_the_next_one_is_asked_for():
    images = some_images(64)
    for number, block in enumerate(stream_images(Watched(), images, SIZE, workers=3, block=8)):
        part = Images(images.classes[8 * number : 8 * number + 8], images.records[8 * number : 8 * number + 8])
        assert torch.equal(block, expected(part))


def test_images_loaded_in_one_go_are_the_same():
    images = some_images(40)
    assert torch.equal(load_images(Watched(), images, SIZE), expected(images))


@pytest.mark.parametrize("at", [0, 30, 99])
def test_an_image_that_cannot_be_decoded_ends_the_stream_with_its_name_and_leaves_no_thread(at):
    images = some_images(100)
    images.records[at] = 666
    before = threading.active_count()
    with pytest.raises(BadImage, match="record 666: broken"):
        list(stream_images(Watched(), images, SIZE, block=16))
    assert threading.active_count() == before


def test_a_stream_that_is_left_early_leaves_no_thread():
    before = threading.active_count()
    stream = stream_images(Watched(), some_images(500), SIZE, block=16)
    next(stream)
    stream.close()
    assert threading.active_count() == before


@pytest.fixture
def reds(tiny_records):
    return DatasetRecords(tiny_records / "reds")


def plan_of(records, tasks):
    return plan_domain("reds", records.spec, split="test", protocol=EpisodeConfig(), seed=3, tasks=tasks)


def test_episodes_come_with_the_pixels_of_their_records(reds):
    plan = plan_of(reds, 5)
    for task, (episode, support, query) in enumerate(stream_episodes(reds, plan, SIZE)):
        wanted = plan.episode(task)
        assert episode.support_records.tolist() == wanted.support_records.tolist()
        for images, classes, records in (
            (support, wanted.support_classes, wanted.support_records),
            (query, wanted.query_classes, wanted.query_records),
        ):
            pairs = zip(classes.tolist(), records.tolist(), strict=True)
            assert torch.equal(images, torch.stack([resize_normalize(reds.encoded(*p).decode(), SIZE) for p in pairs]))
    assert task == 4


def test_no_episodes_give_no_images(reds):
    assert list(stream_episodes(reds, plan_of(reds, 0), SIZE)) == []


def test_memory_is_three_episodes_however_many_there_are(reds):
    for tasks in (3, 30):
        plan = plan_of(reds, tasks)
        largest = int(plan.episode_sizes.max()) * 3 * 40 * 40 * 4  # bytes
        assert plan.images is not None  # made once per plan, not per stream
        tracemalloc.start()
        for _ in stream_episodes(reds, plan, 40):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert 3 * largest <= peak < 3.5 * largest
