"""Rows for pixels: from records, and from the store of rounded images, to blocks that a network takes."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benches.rows import Measurement, Setting, median_seconds, peak_growth_mib, row
from episodes.dataset import DatasetRecords
from episodes.decode import decode_image, resize_normalize
from episodes.images import Images
from episodes.plan import DomainPlan, plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec_writing import flat_spec
from episodes.stored_records import StoredRecords
from episodes.stream import stream_episodes, stream_images
from episodes.writing import write_images

SIZE = 84
CORES = 2
CLASSES, PER_CLASS = 20, 100
SHORTEST, LONGEST = 84, 160  # sides of the JPEGs, in pixels


@row
def stream_cold(setting: Setting) -> Measurement:
    """Episodes of JPEG records to network input, against a bare loop of decoding and resizing bytes in memory."""
    records = jpeg_records(setting)
    plan = episodes_of(records, setting.scaled(30))
    drawn = int(plan.episode_sizes.sum())
    images = plan.images
    distinct = [records.encoded(*pair).data for pair in zip(*map(np.ndarray.tolist, images), strict=True)]
    data = [distinct[i] for task in range(len(plan)) for i in _positions(plan, task)]

    def ours() -> None:
        for _ in stream_episodes(records, plan, SIZE, workers=CORES):
            pass

    def loop(first: int) -> None:
        for encoded in data[first::CORES]:
            resize_normalize(decode_image(encoded), SIZE)

    def bare() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(loop, range(CORES)))

    ours()
    seconds = median_seconds(ours, bare, setting.repeats)
    note = f"{plan.records.size:,} images of {len(plan)} episodes, JPEGs of {SHORTEST}-{LONGEST} px, on {CORES} cores"
    return Measurement(drawn / seconds[0], "images/s", drawn / seconds[1], note)


@row
def stream_store(setting: Setting) -> Measurement:
    """Rounded images of the network's size to network input, against NumPy on an array of them."""
    records = jpeg_records(setting)
    stored = StoredRecords(records, setting.folder / "pixels", SIZE)
    images = all_images(records)
    stored.keep(images, workers=CORES)
    array = np.stack([stored.encoded(*pair).decode() for pair in zip(*map(np.ndarray.tolist, images), strict=True)])
    count = setting.scaled(40_000)
    order = np.random.RandomState(0).randint(0, len(array), count)
    drawn = Images(images.classes[order], images.records[order])

    def ours() -> None:
        for _ in stream_images(stored, drawn, SIZE, workers=CORES, block=256):
            pass

    def textbook() -> None:
        for start in range(0, count, 256):
            2 * (array[order[start : start + 256]].astype(np.float32) / np.float32(255) - np.float32(0.5))

    ours()
    seconds = median_seconds(ours, textbook, setting.repeats)
    return Measurement(
        count / seconds[0], "images/s", count / seconds[1], "baseline: one array in memory, no checksums"
    )


@row
def stream_memory(setting: Setting) -> Measurement:
    """What streaming 600 episodes adds to a process's peak memory, against 60; each in a process of its own."""
    folder = jpeg_records(setting).folder
    few, many = setting.scaled(60, least=2), setting.scaled(600, least=4)
    baseline, value = (peak_growth_mib(_stream, folder, tasks) for tasks in (few, many))
    return Measurement(value, "MiB", baseline, f"{many} episodes take {value - baseline:+.1f} MiB over {few}")


def jpeg_records(setting: Setting) -> DatasetRecords:
    """A data set of smooth JPEGs, sides 84 to 160 pixels."""
    rng = np.random.RandomState(0)
    per_class = setting.scaled(PER_CLASS, least=12)
    classes = [[_jpeg(rng) for _ in range(per_class)] for _ in range(CLASSES)]
    names = [f"class {i}" for i in range(CLASSES)]
    write_images(setting.folder / "smooth", flat_spec("smooth", ([], [], names), [per_class] * CLASSES), classes)
    return DatasetRecords(setting.folder / "smooth", setting.folder / "cache")


def all_images(records: DatasetRecords) -> Images:
    """Every image of a data set."""
    return Images.concatenate([(c, np.arange(n)) for c, n in enumerate(records.spec.images_per_class.tolist())])


def episodes_of(records: DatasetRecords, tasks: int) -> DomainPlan:
    """Standard episodes of its test classes."""
    return plan_domain("smooth", records.spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=tasks)


def _positions(plan: DomainPlan, task: int) -> list[int]:
    """Where an episode's images stand among the plan's."""
    episode = plan.episode(task)
    return [*episode.support_images.tolist(), *episode.query_images.tolist()]


def _jpeg(rng: np.random.RandomState) -> bytes:
    from PIL import Image

    height, width = rng.randint(SHORTEST, LONGEST + 1, size=2)
    coarse = Image.fromarray(rng.randint(0, 256, size=(12, 12, 3)).astype(np.uint8))
    out = io.BytesIO()
    coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC).save(out, "JPEG")
    return out.getvalue()


def _stream(folder: Path, tasks: int) -> None:
    records = DatasetRecords(folder)
    for _ in stream_episodes(records, episodes_of(records, tasks), SIZE, workers=CORES):
        pass
