"""Is a folder of records whole? Spec, files, counts, checksums, labels, images and order, record by record.

Nothing here raises for what a damaged folder holds: each fault becomes a `Problem` with its address. All are counted,
the first few of each kind are kept. `check_class` reads one class file and needs nothing else, so it may run in any
process.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import google_crc32c
import numpy as np

from episodes.decode import decode_image
from episodes.errors import BadExample, BadSpec
from episodes.known_datasets import KNOWN, KnownDataset, unlike_published
from episodes.record_index import FOOTER_BYTES, HEADER_BYTES, mask_crc
from episodes.spec import FILE_PATTERN, SPEC_FILE, SPLITS, DatasetSpec, load_spec
from episodes.tfrecord import parse_example
from episodes.track_order import TRACK_RATIO, neighbour_ratio, sample_neighbours, thumbnail

PROBLEMS_KEPT = 20
"""Problems of each kind that a data set's report keeps with their address; further ones are counted only."""
_MAX_PAYLOAD = 2**28  # 256 MiB, more than any image that is read

_IN_TRACK_ORDER = (
    "lies in track order: neighbouring records are nearly identical (they differ {:.2f} times as much as any two of "
    "their class). Metabench draws at random, but readers that do not shuffle see frames of one sign in support and "
    "query and score too high (google-research/meta-dataset issue 54): write the records again, shuffled"
)

Kind = Literal["folder", "count", "corrupt", "label", "image", "order"]


class Problem(NamedTuple):
    """One fault and where it lies: file or folder, record number and byte offset where there are such.

    `records`: how many records of the file have the same wrong label, of which this is the first; else 1.
    """

    kind: Kind
    path: Path
    record: int | None
    offset: int | None
    reason: str
    records: int = 1


class ClassJob(NamedTuple):
    """One class file to check. `expected`: records by the spec; `images`: decode each; `order`: compare neighbours."""

    path: Path
    class_id: int
    expected: int
    images: bool = True
    order: bool = True


@dataclass(frozen=True, slots=True)
class ClassCheck:
    """What a class file holds: `records` found, problems by kind (`counts`), and the first of them.

    `neighbour_ratio`: about 1 for records in random order, near 0 for tracks, None where nothing tells.
    """

    class_id: int
    records: int
    counts: Mapping[Kind, int]
    problems: tuple[Problem, ...]
    neighbour_ratio: float | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set's folder before any record is read. `spec`: None if it cannot be read; `known`: None if unpublished.

    `class_files`: by class id, those that are there.
    """

    name: str
    path: Path
    spec: DatasetSpec | None
    known: KnownDataset | None
    class_files: Mapping[int, Path]
    problems: tuple[Problem, ...]

    def jobs(self, images: bool) -> list[ClassJob]:
        """One job per class file. Without `images`, none is decoded but the few that tell traffic_sign's order."""
        if self.spec is None:
            return []
        counts, order = self.spec.images_per_class.tolist(), images or _must_be_shuffled(self.known)
        return [
            ClassJob(file, class_id, counts[class_id], images, order) for class_id, file in self.class_files.items()
        ]


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """A data set's report. Classes and images per split: found in the files, and expected (published, else the spec's).

    `counts`: problems by kind; `problems`: the first of them. `neighbour_ratio`: the median over its classes.
    """

    folder: Folder
    classes: Mapping[str, int]
    images: Mapping[str, int]
    expected_classes: Mapping[str, int]
    expected_images: Mapping[str, int]
    counts: Mapping[Kind, int]
    problems: tuple[Problem, ...]
    neighbour_ratio: float | None

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.counts

    @property
    def order(self) -> Literal["shuffled", "tracks"] | None:
        """Whether neighbouring records are nearly identical, as frames of a track are; None where nothing tells."""
        if self.neighbour_ratio is None:
            return None
        return "tracks" if self.neighbour_ratio < TRACK_RATIO else "shuffled"


def inspect_folder(path: Path) -> Folder:
    """Read the spec, list the class files, and compare with the published data set of the folder's or spec's name."""
    name = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - a link keeps its own name
    file = path / SPEC_FILE
    try:
        spec = load_spec(path)
        class_files, problems = _class_files(path, spec)
    except (BadSpec, OSError) as error:
        reason = str(error).removeprefix(f"{file}: ")
        return Folder(name, path, None, KNOWN.get(name), {}, (Problem("folder", file, None, None, reason),))
    known = KNOWN.get(name) or KNOWN.get(spec.name)
    unlike = unlike_published(spec, known) if known else []
    problems = [*(Problem("count", file, None, None, reason) for reason in unlike), *problems]
    return Folder(name, path, spec, known, class_files, tuple(problems))


def check_class(job: ClassJob) -> ClassCheck:
    """Read a class file from end to end: framing, both checksums, example, label, image. Holds one record at a time."""
    findings = _Findings(job.path)
    firsts = sample_neighbours(job.expected, job.class_id) if job.order else []
    wanted = {*firsts, *(first + 1 for first in firsts)}
    thumbnails: dict[int, np.ndarray] = {}
    records = 0
    try:
        with job.path.open("rb") as file:
            for number, offset, payload in _walk(file, findings):
                records = number + 1
                small = _check_record(job, number, offset, payload, number in wanted, findings)
                if small is not None:
                    thumbnails[number] = small
    except OSError as error:
        findings.add("corrupt", None, None, f"cannot be read ({error.strerror or error})")
    if records != job.expected:
        findings.add("count", None, None, f"{records:,} records found; the spec says {job.expected:,}")
    ratio = neighbour_ratio(firsts, thumbnails)
    return ClassCheck(job.class_id, records, dict(findings.counts), tuple(findings.kept.values()), ratio)


def summarize(folder: Folder, checks: Iterable[ClassCheck]) -> DatasetCheck:
    """The report of a data set from those of its class files, in whatever order they come."""
    checks = sorted(checks, key=lambda check: check.class_id)
    ratios = [check.neighbour_ratio for check in checks if check.neighbour_ratio is not None]
    ratio = float(np.median(ratios)) if ratios else None
    problems = [*folder.problems, *(problem for check in checks for problem in check.problems)]
    counts = Counter(problem.kind for problem in folder.problems)
    for check in checks:
        counts.update(check.counts)
    if _must_be_shuffled(folder.known) and ratio is not None and ratio < TRACK_RATIO:
        counts["order"] += 1
        problems.insert(0, Problem("order", folder.path, None, None, _IN_TRACK_ORDER.format(ratio)))
    spec, records = folder.spec, {check.class_id: check.records for check in checks}
    ids = spec.class_ids if spec else dict.fromkeys(SPLITS, range(0))
    in_spec = {split: int(spec.split(split).images_per_class.sum()) if spec else 0 for split in SPLITS}
    return DatasetCheck(
        folder=folder,
        classes={split: sum(class_id in records for class_id in ids[split]) for split in SPLITS},
        images={split: sum(records.get(class_id, 0) for class_id in ids[split]) for split in SPLITS},
        expected_classes=folder.known.classes if folder.known else {split: len(ids[split]) for split in SPLITS},
        expected_images=folder.known.images if folder.known else in_spec,
        counts=dict(counts),
        problems=tuple(_first_of_each_kind(problems)),
        neighbour_ratio=ratio,
    )


def _first_of_each_kind(problems: Iterable[Problem]) -> Iterator[Problem]:
    seen = Counter[Kind]()
    for problem in problems:
        seen[problem.kind] += 1
        if seen[problem.kind] <= PROBLEMS_KEPT:
            yield problem


def _must_be_shuffled(known: KnownDataset | None) -> bool:
    return known is not None and known.name == "traffic_sign"


class _Findings:
    """The problems of one class file: all counted, the first few of each kind kept, equal wrong labels as one."""

    def __init__(self, path: Path) -> None:
        self.path, self.counts, self.kept = path, Counter[Kind](), dict[tuple[Kind, str | int], Problem]()

    def add(self, kind: Kind, record: int | None, offset: int | None, reason: str) -> None:
        self.counts[kind] += 1
        key = kind, reason if kind == "label" else self.counts[kind]
        if key in self.kept:
            self.kept[key] = self.kept[key]._replace(records=self.kept[key].records + 1)
        elif self.counts[kind] <= PROBLEMS_KEPT:
            self.kept[key] = Problem(kind, self.path, record, offset, reason)


def _walk(file: BinaryIO, findings: _Findings) -> Iterator[tuple[int, int, bytes | None]]:
    """(number, offset, payload) of each record, None for a corrupt payload; ends where the framing is lost."""
    size, offset, number = os.fstat(file.fileno()).st_size, 0, 0
    while offset < size:
        header = file.read(HEADER_BYTES)
        length = int.from_bytes(header[:8], "little")
        whole = len(header) == HEADER_BYTES
        if whole and not _intact(header[:8], header[8:]):
            findings.add("corrupt", number, offset, "length CRC does not match; no record behind it can be found")
            return
        if not whole or offset + HEADER_BYTES + length + FOOTER_BYTES > size:
            findings.add("corrupt", number, offset, f"truncated: the file ends inside the record, at byte {size:,}")
            return
        payload = None
        if length > _MAX_PAYLOAD:
            findings.add("corrupt", number, offset, f"claims {length:,} bytes; no image is that large")
            file.seek(length + FOOTER_BYTES, os.SEEK_CUR)
        else:
            payload = file.read(length)
            if not _intact(payload, file.read(FOOTER_BYTES)):
                findings.add("corrupt", number, offset, "payload CRC does not match")
                payload = None
        yield number, offset, payload
        offset += HEADER_BYTES + length + FOOTER_BYTES
        number += 1


def _intact(data: bytes, crc: bytes) -> bool:
    return mask_crc(google_crc32c.value(data)) == int.from_bytes(crc, "little")


def _check_record(
    job: ClassJob, number: int, offset: int, payload: bytes | None, wanted: bool, findings: _Findings
) -> np.ndarray | None:
    """Check what a payload holds; its thumbnail where that is wanted and can be made."""
    if payload is None:
        return None
    try:
        image, label = parse_example(payload)
    except BadExample as error:
        findings.add("corrupt", number, offset, str(error))
        return None
    if label != job.class_id:
        findings.add("label", number, offset, f"label {label} in the file of class {job.class_id}")
    if not (job.images or wanted):
        return None
    try:
        pixels = decode_image(image)
        return thumbnail(pixels) if wanted else None
    except Exception as error:  # whatever an image library makes of damaged bytes, the check goes on
        if job.images:
            findings.add("image", number, offset, str(error) or type(error).__name__)
        return None


# --- the folder ----------------------------------------------------------------------------------------------------


def _class_files(folder: Path, spec: DatasetSpec) -> tuple[dict[int, Path], list[Problem]]:
    """The class files that can be read, by class id; and those that cannot, or that no class of the spec has."""
    root, names = folder.resolve(), [FILE_PATTERN.format(class_id) for class_id in range(len(spec.class_names))]
    stray = {path.name for path in folder.iterdir() if path.suffix == ".tfrecords"} - set(names)
    found, faults = {}, [(folder / name, "no class of the spec has this file") for name in sorted(stray)]
    for class_id, path in enumerate(folder / name for name in names):
        if not path.is_file():
            faults.append((path, f"missing; the spec lists class {class_id}"))
        elif not path.resolve().is_relative_to(root):
            faults.append((path, "a link that leads out of the data set's folder; it is not followed"))
        else:
            found[class_id] = path
    return found, [Problem("folder", path, None, None, reason) for path, reason in faults]
