"""Rows for embeddings: made by a frozen backbone against the plain module, and read back from their store."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import adapters
from backbones.contract import BackboneCard
from backbones.embeddings import EmbeddingStore, StoreFacts, embed_in_fixed_batches
from backbones.frozen import FrozenBackbone
from backbones.resnet18 import ResNet18
from benches.rows import Measurement, Setting, median_seconds, peak_growth_mib, row
from episodes.images import Images
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness.inputs import DomainData, make_task
from harness.pixels import PixelChoice

IMAGES = 128
FULL_WIDTH, QUARTER_WIDTH = (64, 128, 256, 512), (16, 32, 64, 128)
BLOCK = 1024


@row
def embed_resnet18_fp32(setting: Setting) -> Measurement:
    """Embed images of 84 pixels with a full ResNet-18: channels last, normalisation folded."""
    return embedding(setting, FULL_WIDTH, torch.float32)


@row
def embed_resnet18_bf16(setting: Setting) -> Measurement:
    """The same in bfloat16, against the plain module in float32."""
    measured = embedding(setting, FULL_WIDTH, torch.bfloat16)
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return measured if fast else measured._replace(note="this processor has no bfloat16 instructions")


@row
def embed_w16(setting: Setting) -> Measurement:
    """The same with a network of a quarter of the width, in float32."""
    return embedding(setting, QUARTER_WIDTH, torch.float32)


@row
def cached_episodes(setting: Setting) -> Measurement:
    """600 episodes of features out of the store, as adapters get them (on one thread), against rows of one array."""
    classes, tasks, width = 30, setting.scaled(600, least=2), setting.scaled(512, least=8)
    per_class = 60
    spec = DatasetSpec("cached", np.full(classes, per_class), {"test": range(classes)}, ("",) * classes)
    plan = plan_domain("cached", spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=tasks)
    features = np.random.RandomState(0).rand(len(plan.images.classes), width).astype(np.float32)
    wanted = [(_fingerprint(c), records) for c, records in plan.images.by_class()]
    facts = _facts("float32")
    _fill(EmbeddingStore(setting.folder, facts), plan.images, features)
    np.save(setting.folder / "features.npy", features)
    ncc = adapters.load("ncc")

    def ours() -> None:
        loaded = EmbeddingStore(setting.folder, facts).load(wanted)
        data = DomainData(plan, Path(), PixelChoice("keep", 84, setting.folder), loaded)
        for task in range(tasks):
            make_task(data, task, ncc, None, "cpu")

    def rows() -> None:
        array = np.load(setting.folder / "features.npy", mmap_mode="r")
        for task in range(tasks):
            episode = plan.episode(task)
            torch.from_numpy(array[episode.support_images])
            torch.from_numpy(array[episode.query_images])

    assert len(plan.hashes) == tasks  # a run has them before it reads features
    seconds = _on_threads(1, ours, rows, setting.repeats)
    note = f"{len(plan.records) / tasks:.0f} images of {width} numbers an episode; ours are checked and shuffled"
    return Measurement(tasks / seconds[0], "episodes/s", tasks / seconds[1], note)


@row
def store_open(setting: Setting) -> Measurement:
    """Open a store of a million images x 512 in float16, against reading it into memory."""
    count, width, facts = setting.scaled(1_000_000), setting.scaled(512, least=8), _facts("float16")
    vectors = np.random.RandomState(0).rand(min(count, BLOCK), width).astype(np.float16)
    store = EmbeddingStore(setting.folder, facts)
    for start in range(0, count, BLOCK):
        records = np.arange(start, min(start + BLOCK, count))
        store.add([(_fingerprint(start // 10_000), records)], vectors[: len(records)])
    files = sorted(store.folder.iterdir())

    def ours() -> None:
        assert len(EmbeddingStore(setting.folder, facts)) == count

    def whole() -> None:
        b"".join(path.read_bytes() for path in files)

    ours()
    seconds = median_seconds(ours, whole, setting.repeats)
    size = sum(path.stat().st_size for path in files) / 1e9
    grown = peak_growth_mib(EmbeddingStore, setting.folder, facts)
    note = f"{count:,} x {width}: {size:.3g} GB on disk; opening it adds {grown:.0f} MiB to the memory of a process"
    return Measurement(seconds[0], "s", seconds[1], note)


def embedding(setting: Setting, widths: Sequence[int], dtype: torch.dtype) -> Measurement:
    """Images a second of a backbone, and of the module it was made of, with channels first and in float32."""
    widths = tuple(setting.scaled(width, least=4) for width in widths)
    size, generator = setting.scaled(84, least=21), torch.Generator().manual_seed(0)
    images = torch.rand(setting.scaled(IMAGES, least=2), 3, size, size, generator=generator) * 2 - 1
    torch.manual_seed(0)
    plain = ResNet18(widths).eval().requires_grad_(False)
    card = BackboneCard(name="bench", arch="resnet18", widths=widths, image_size=size)
    network = ResNet18(widths)
    network.load_state_dict(plain.state_dict())
    backbone = FrozenBackbone(card, network, device=torch.device("cpu"), dtype=dtype)
    last_channel = images.contiguous(memory_format=torch.channels_last)  # as they are decoded

    def ours() -> list[Tensor]:
        return list(embed_in_fixed_batches(backbone, [last_channel], min(64, len(images))))

    def baseline() -> list[Tensor]:
        with torch.no_grad():
            return [plain(batch) for batch in images.split(64)]

    seconds = _on_threads(2, ours, baseline, setting.repeats)
    return Measurement(len(images) / seconds[0], "images/s", len(images) / seconds[1])


def _on_threads(
    count: int, ours: Callable[[], object], baseline: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median seconds of each; a first run of each is not counted where several are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        if repeats > 1:
            median_seconds(ours, baseline, 1)
        return median_seconds(ours, baseline, repeats)
    finally:
        torch.set_num_threads(threads)


def _facts(dtype: str) -> StoreFacts:
    return StoreFacts(backbone="bench", kind="features", dtype=dtype, parts={})


def _fingerprint(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _fill(store: EmbeddingStore, images: Images, vectors: np.ndarray) -> None:
    for start in range(0, len(vectors), BLOCK):
        part = Images(images.classes[start : start + BLOCK], images.records[start : start + BLOCK])
        store.add([(_fingerprint(c), records) for c, records in part.by_class()], vectors[start : start + BLOCK])
