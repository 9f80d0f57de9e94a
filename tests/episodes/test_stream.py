import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from episodes import stream
from episodes.dataset import DatasetRecords
from episodes.decode import resize_normalize
from episodes.decoders import Decoders
from episodes.errors import BadImage, CorruptRecord, DecodingStopped
from episodes.images import Images
from episodes.plan import plan_domain
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
    """A source that notes what is read."""

    def __init__(self):
        self.read = []

    def encoded(self, class_id, record):
        self.read.append((class_id, record))
        return Noise(class_id, record)


def expected(images):
    pairs = zip(images.classes.tolist(), images.records.tolist(), strict=True)
    return torch.stack([resize_normalize(Noise(*pair).decode(), SIZE) for pair in pairs])


def some_images(count, seed=0):
    rng = np.random.RandomState(seed)
    return Images(rng.randint(0, 9, count), rng.randint(0, 500, count))


@pytest.fixture(params=["thread", "processes"])
def decoded_by(request, monkeypatch):
    """Streams of any length by one thread, or by processes."""
    monkeypatch.setattr(stream, "FEW", 10**9 if request.param == "thread" else -1)
    return request.param


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 90), block=st.integers(1, 40), workers=st.integers(1, 3))
def test_a_stream_gives_every_image_once_in_order_as_resize_normalize_does(decoded_by, count, block, workers):
    images = some_images(count)
    blocks = [part.clone() for part in stream_images(Watched(), images, SIZE, workers=workers, block=block)]
    assert [len(part) for part in blocks[:-1]] == [block] * max(0, len(blocks) - 1)
    together = torch.cat([torch.empty(0, 3, SIZE, SIZE), *blocks])
    assert torch.equal(together, expected(images) if count else torch.empty(0, 3, SIZE, SIZE))


def test_images_are_read_in_the_order_of_the_files():
    images, source = some_images(200), Watched()
    list(stream_images(source, images, SIZE, block=200))
    assert source.read == sorted(zip(images.classes.tolist(), images.records.tolist(), strict=True))


def test_a_block_has_its_channels_last_in_memory():
    block = next(stream_images(Watched(), some_images(5), SIZE))
    assert block.is_contiguous(memory_format=torch.channels_last)


def test_a_block_stays_as_it_is_until_the_next_one_is_asked_for(decoded_by):
    images = some_images(64)
    for number, block in enumerate(stream_images(Watched(), images, SIZE, workers=3, block=8)):
        part = Images(images.classes[8 * number : 8 * number + 8], images.records[8 * number : 8 * number + 8])
        assert torch.equal(block, expected(part))


def test_images_loaded_in_one_go_are_the_same():
    images = some_images(40)
    assert torch.equal(load_images(Watched(), images, SIZE), expected(images))


def children():
    """Processes that this one has started and that still run."""
    return {process.pid for process in multiprocessing.active_children()}


@pytest.mark.parametrize("at", [0, 30, 99])
def test_an_image_that_cannot_be_decoded_ends_the_stream_with_its_name_and_leaves_nobody_at_work(decoded_by, at):
    images = some_images(100)
    images.records[at] = 666
    before = threading.active_count(), children()
    with pytest.raises(BadImage, match="record 666: broken"):
        list(stream_images(Watched(), images, SIZE, block=16))
    assert (threading.active_count(), children()) == before


def test_a_stream_that_is_left_early_leaves_nobody_at_work(decoded_by):
    before = threading.active_count(), children()
    images = stream_images(Watched(), some_images(500), SIZE, block=16)
    next(images)
    assert (threading.active_count(), children()) != before
    images.close()
    assert (threading.active_count(), children()) == before


def test_an_error_keeps_its_address_on_the_way_from_another_process(monkeypatch):
    class Corrupt:
        def encoded(self, class_id, record):
            raise CorruptRecord(Path("3.tfrecords"), 4711, "payload CRC does not match")

    monkeypatch.setattr(stream, "FEW", -1)
    with pytest.raises(CorruptRecord, match="payload CRC") as caught:
        list(stream_images(Corrupt(), some_images(5), SIZE))
    assert (caught.value.path, caught.value.offset) == (Path("3.tfrecords"), 4711)


def test_a_process_that_is_killed_ends_the_stream_in_one_line(monkeypatch):
    class Deadly:
        def encoded(self, class_id, record):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(stream, "FEW", -1)
    with pytest.raises(DecodingStopped, match="ended from outside"):
        list(stream_images(Deadly(), some_images(500), SIZE))
    assert not children()


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    script = """
import multiprocessing, sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_stream import Watched, some_images, stream_images
images = stream_images(Watched(), some_images(5000), 12)
next(images)
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def reds(tiny_records):
    return DatasetRecords(tiny_records / "reds")


def plan_of(records, tasks):
    return plan_domain("reds", records.spec, split="test", protocol=EpisodeConfig(), seed=3, tasks=tasks)


def test_episodes_come_with_the_pixels_of_their_records(reds, decoded_by):
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


def test_memory_is_a_few_episodes_however_many_there_are(reds, monkeypatch):
    monkeypatch.setattr(stream, "FEW", 10**9)
    list(stream_episodes(reds, plan_of(reds, 1), 40))  # imports what it needs
    for tasks in (3, 60):
        plan = plan_of(reds, tasks)
        buffers = 5 * int(plan.episode_sizes.max()) * 3 * 40 * 40 * 4  # bytes
        assert plan.images is not None  # made once per plan, not per stream
        tracemalloc.start()
        for _ in stream_episodes(reds, plan, 40):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < buffers + 500_000


@pytest.fixture
def by_processes(monkeypatch):
    monkeypatch.setattr(stream, "FEW", -1)


def test_streams_may_begin_and_end_in_any_order(by_processes):
    first, second = (stream_images(Watched(), some_images(300), SIZE, block=16) for _ in range(2))
    next(first), next(second)
    first.close()  # the processes of the second were forked while this one was open
    assert len(list(second)) == 18
    assert not children()


@pytest.mark.faults  # slow
def test_a_block_of_very_many_images_is_more_than_a_pipe_holds(by_processes):
    images = some_images(60_000)
    (block,) = stream_images(Watched(), images, 1, block=60_000)
    at = np.random.RandomState(0).randint(0, 60_000, 50)
    sample = Images(images.classes[at], images.records[at])
    assert torch.equal(block[torch.from_numpy(at)], load_images(Watched(), sample, 1))


def test_a_task_for_a_process_that_was_killed_ends_the_stream_in_one_line(by_processes):
    images = stream_images(Watched(), some_images(500), SIZE, block=16)
    next(images)
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    with pytest.raises(DecodingStopped, match="ended from outside"):
        list(images)


def test_ctrl_c_is_the_business_of_the_process_that_started_the_others(by_processes):
    images = stream_images(Watched(), some_images(500), SIZE, block=16)
    next(images)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGINT)
    assert len(list(images)) == 31


def test_a_stream_that_is_left_while_much_is_under_way_prints_nothing(capfd, by_processes):
    images = stream_images(Watched(), some_images(5000), 40, block=1000)
    next(images)
    images.close()
    assert capfd.readouterr() == ("", "")


def test_every_buffer_is_in_use_while_a_block_is_looked_at(monkeypatch):
    given = []
    monkeypatch.setattr(Decoders, "submit", lambda *task: given.append(task) or (lambda: None))
    next(stream_images(Watched(), some_images(500), SIZE, workers=0, block=16))
    assert len(given) == 3  # one is looked at, two are in the making


def test_a_daemon_process_decodes_itself_for_it_may_have_no_children(by_processes, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    images = some_images(50)
    assert torch.equal(torch.cat([part.clone() for part in stream_images(Watched(), images, SIZE)]), expected(images))
