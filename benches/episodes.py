"""Rows for reading records, knowing data sets, and drawing and planning episodes."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benches import plain
from benches.inputs import class_files, graph_spec, published_specs, published_splits, record_file
from benches.rows import Measurement, Setting, median_seconds, peak_growth_mib, row
from episodes.dataset import DatasetRecords
from episodes.plan import DomainPlan, plan_domain
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses
from episodes.spec import DatasetSpec, load_spec
from episodes.tfrecord import RecordFile

TASKS = 600
"""Episodes of each data set in a published table."""


@row
def index_records(setting: Setting) -> Measurement:
    """Find the records of a file that was never seen, lengths verified."""
    records = setting.scaled(60_000)
    path = record_file(setting.folder / "0.tfrecords", records)

    def one_by_one() -> None:
        with path.open("rb") as file:
            assert len(plain.walk_records(file)) == records

    ours, baseline = median_seconds(lambda: RecordFile(path), one_by_one, setting.repeats)
    return Measurement(records / ours, "records/s", records / baseline)


@row
def read_records(setting: Setting) -> Measurement:
    """Read records of about 3 KB in random order, both checksums verified."""
    records = setting.scaled(60_000)
    file = RecordFile(record_file(setting.folder / "0.tfrecords", records))
    order = np.random.RandomState(0).permutation(records).tolist()
    starts = file.index.starts[order].tolist()

    def ours() -> None:
        for i in order:
            file[i]

    with file.path.open("rb") as handle:

        def baseline() -> None:
            for start in starts:
                plain.read_record(handle, start)

        seconds = median_seconds(ours, baseline, setting.repeats)
    file.close()
    return Measurement(records / seconds[0], "records/s", records / seconds[1])


@row
def open_13_datasets(setting: Setting) -> Measurement:
    """Open the 13 data sets and identify all images of their test splits, indexes being present."""
    specs, note = published_specs(setting)
    folders = []
    for name, classes in published_splits(specs).items():
        counts = [setting.scaled(count) for count in classes.images_per_class.tolist()]
        folders.append(class_files(setting.folder / "records", name, counts[: setting.scaled(len(counts))]))
    files = sorted(path for folder in folders for path in folder.glob("*.tfrecords"))
    plain_indexes = [(_save_plain_index(path, setting.folder / f"{i}.npz"), path) for i, path in enumerate(files)]
    cache = setting.folder / "cache"

    def ours() -> list[str]:
        return [DatasetRecords(folder, cache).split_fingerprint("test") for folder in folders]

    def baseline() -> list[str]:
        return [plain.load_index(index, records) for index, records in plain_indexes]

    ours()
    seconds = median_seconds(ours, baseline, setting.repeats)
    return Measurement(seconds[0], "s", seconds[1], f"{len(files)} class files; {note}")


@row
def sampler_flat(setting: Setting) -> Measurement:
    """Describe episodes of flat splits: 43 and 100 classes."""
    specs, note = published_specs(setting)
    classes = published_splits(specs)
    return _samplers([classes["traffic_sign"], classes["cifar100"]], setting, note)


@row
def sampler_omniglot(setting: Setting) -> Measurement:
    """Describe episodes of Omniglot's test split: 20 alphabets, 659 classes."""
    specs, note = published_specs(setting)
    return _samplers([specs["omniglot"].split("test")], setting, note)


@row
def dag_ready(setting: Setting) -> Measurement:
    """From the spec of a class graph of ImageNet TRAIN's size (1011 nodes, 712 leaves) to a sampler."""
    file = setting.folder / "dataset_spec.json"
    file.write_text(json.dumps(graph_spec(setting.scaled(299, 20), setting.scaled(712, 60)), indent=2))

    def ours() -> EpisodeSampler:
        return EpisodeSampler(load_spec(setting.folder).split("train"), EpisodeConfig(), np.random.RandomState(0))

    seconds = median_seconds(ours, lambda: plain.spanned_leaves(file, "TRAIN"), setting.repeats)
    return Measurement(seconds[0], "s", seconds[1], "ours also checks the spec")


@row
def plan_full(setting: Setting) -> Measurement:
    """Plan 600 episodes of each of the 13 data sets, down to the record."""
    specs, note = published_specs(setting)
    tasks = setting.scaled(TASKS)
    ours, baseline = median_seconds(
        lambda: _plan(specs, tasks), lambda: plain.plan(published_splits(specs), tasks, 0), setting.repeats
    )
    return Measurement(ours, "s", baseline, note)


@row
def plan_full_memory(setting: Setting) -> Measurement:
    """How much memory that takes at its peak, beyond what the process had before (Linux)."""
    specs, note = published_specs(setting)
    tasks = setting.scaled(TASKS)
    return Measurement(
        peak_growth_mib(_plan, specs, tasks),
        "MiB",
        peak_growth_mib(plain.plan, published_splits(specs), tasks, 0),
        note,
    )


def _samplers(splits: Sequence[SplitClasses], setting: Setting, note: str) -> Measurement:
    """Descriptions per second over some splits, with the official protocol."""
    number, config = setting.scaled(4_000, 10), EpisodeConfig()

    def ours() -> None:
        for classes in splits:
            sampler = EpisodeSampler(classes, config, np.random.RandomState(0))
            for _ in range(number):
                sampler.sample()

    def baseline() -> None:
        for classes in splits:
            for _ in islice(plain.descriptions(classes, config, np.random.RandomState(0)), number):
                pass

    seconds = median_seconds(ours, baseline, setting.repeats)
    drawn = number * len(splits)
    return Measurement(drawn / seconds[0], "descriptions/s", drawn / seconds[1], note)


def _plan(specs: dict[str, DatasetSpec], tasks: int) -> list[DomainPlan]:
    return [
        plan_domain(name, spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=tasks)
        for name, spec in specs.items()
    ]


def _save_plain_index(records: Path, file: Path) -> Path:
    status, index = records.stat(), RecordFile(records).index
    np.savez(file, stamp=[status.st_size, status.st_mtime_ns], lengths=index.lengths, crcs=index.crcs)
    return file
