"""`metabench doctor`: whether this machine can run a benchmark, one line for each thing that it takes."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from harness.console import counted
from harness.errors import USER_ERRORS
from results.filesystem import on_network

State = Literal["ok", "warning", "fails"]
STYLES = {"ok": "green", "warning": "yellow", "fails": "bold red"}
ROOM_B = 5 * 1000**3
"""Free bytes below which a full run of Meta-Dataset may not fit: its embeddings take about 1 GB, its pixels more."""
OPEN_FILES = 1024
"""Each class file that a run reads is a memory map; ImageNet's test split alone has 130."""
EXTRAS = {
    "ray": "run --engine ray",
    "transformers": "hf: backbones",
    "timm": "timm: backbones",
    "open_clip": "open_clip: backbones",
    "tensorflow_datasets": "records build from TFDS",
}


class Finding(NamedTuple):
    """One line: what was looked at, how it is, and what to do about it."""

    what: str
    state: State
    detail: str


def examine(*, out: Path, cache: Path, records: Path | None) -> list[Finding]:
    """Look at everything that a run needs; nothing raises, and nothing but two empty files is written and removed."""
    findings = [_python(), _torch(), *_devices(), _cores(), _open_files(), _shared_memory()]
    findings += [_folder("cache (METABENCH_CACHE)", cache), _folder("results (--out)", out), _store(out)]
    findings += [_shipped_backbone(), *_records(records, cache), _extras()]
    return findings


def show(console: Console, findings: list[Finding]) -> None:
    """The findings as a table."""
    table = Table(show_header=False, box=None)
    for finding in findings:
        table.add_row(Text(finding.state, style=STYLES[finding.state]), finding.what, Text(finding.detail))
    console.print(table)


def _python() -> Finding:
    state: State = "ok" if sys.version_info >= (3, 11) else "fails"
    return Finding("Python", state, f"{platform.python_version()} on {platform.platform(terse=True)}")


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", "fails", f"cannot be imported ({error}); pip install torch")
    kernels = "oneDNN" if torch.backends.mkldnn.is_available() else "no oneDNN: CPUs will be slow"
    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads, {kernels}")


def _devices() -> Iterator[Finding]:
    """Every device that `--device` takes here, tried with one product."""
    try:
        import torch
    except (ImportError, OSError):
        return
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names += ["mps"] if torch.backends.mps.is_available() else []
    for name in names:
        try:
            torch.ones(2, 2, device=name).matmul(torch.ones(2, 2, device=name)).sum().item()
        except RuntimeError as error:
            yield Finding(f"--device {name}", "fails", str(error).splitlines()[0])
            continue
        facts = torch.cuda.get_device_properties(name) if name.startswith("cuda") else None
        yield Finding(f"--device {name}", "ok", f"{facts.name}, {decimal(facts.total_memory)}" if facts else "there")
    if not names:
        yield Finding("accelerator", "ok", "none; runs are on the CPU")


def _cores() -> Finding:
    cores, policy = len(os.sched_getaffinity(0)), os.environ.get("OMP_WAIT_POLICY", "not set")
    return Finding("cores", "ok", f"{cores} may be used; OMP_WAIT_POLICY {policy} (metabench sets PASSIVE for itself)")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES:
        return Finding("open files (ulimit -n)", "ok", str(soft))
    return Finding("open files (ulimit -n)", "warning", f"{soft} are few; ulimit -n {min(hard, 4096)} before a run")


def _shared_memory() -> Finding:
    """Worker processes read features through a memory map, in /dev/shm where that has room."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return Finding("shared memory", "ok", "no /dev/shm; workers read features from the temporary folder")
    free = shutil.disk_usage(place).free
    if free >= 1000**3:
        return Finding("shared memory", "ok", f"{decimal(free)} free in {place}")
    return Finding("shared memory", "warning", f"{decimal(free)} free in {place}; a container may need --shm-size")


def _folder(what: str, folder: Path) -> Finding:
    """Whether files can be made in it, or where it will be, and how much room there is."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        probe = there / f".metabench-doctor-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding(what, "fails", f"{folder}: cannot be written ({error.strerror}); choose another folder")
    free = shutil.disk_usage(there).free
    words = f"{folder}: {decimal(free)} free" + (", on a network file system" if on_network(there) else "")
    if free < ROOM_B:
        return Finding(what, "warning", f"{words}; a full run of Meta-Dataset may not fit")
    return Finding(what, "ok", words)


def _store(out: Path) -> Finding:
    from results.store import ResultStore

    path = out / "results.sqlite"
    if not path.exists():
        return Finding("result store", "ok", f"{path}: none yet")

    def look() -> str:
        with ResultStore(path, create=False) as store:
            return f"{path}: {counted(len(store.plans()), 'plan')}, {decimal(path.stat().st_size)}"

    return _tried("result store", look)


def _shipped_backbone() -> Finding:
    def look() -> str:
        import backbones

        return f"resnet18-pocket: d = {backbones.load('resnet18-pocket').feature_dim}, its weights are whole"

    return _tried("shipped backbone", look)


def _records(records: Path | None, cache: Path) -> Iterator[Finding]:
    """The data sets under `records`: specs that can be read, class files that are there and large enough."""
    if records is None:
        yield Finding("records (--records)", "ok", "none given; the pocket suite needs none")
        return
    from episodes.errors import BadSpec
    from episodes.spec import FILE_PATTERN, SPLITS, check_class_files, load_spec
    from harness.config import load_benchmark
    from harness.domains import resolve

    def look(folder: Path) -> str:
        spec = load_spec(folder)
        for split in SPLITS:
            check_class_files(folder, spec, split)
        paths = [folder / FILE_PATTERN.format(class_id) for split in SPLITS for class_id in spec.class_ids[split]]
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            raise BadSpec(f"{folder}: {absent[0]} is missing, and {len(absent) - 1} more of {len(paths)} class files")
        return f"{folder}: {len(paths):,} classes"

    try:
        domains = resolve(load_benchmark("fixed-5w1s"), records).domains
    except USER_ERRORS as error:
        yield Finding("records (--records)", "fails", str(error))
        return
    for domain in domains:
        yield _tried(f"records of {domain.name}", lambda folder=Path(domain.folder or ""): look(folder))  # type: ignore[misc]


def _extras() -> Finding:
    found = [f"{module} {_version_of(module)}" for module in EXTRAS if find_spec(module) is not None]
    absent = [f"{module} ({use})" for module, use in EXTRAS.items() if find_spec(module) is None]
    words = [f"installed: {', '.join(found) or 'none'}", *([f"not: {', '.join(absent)}"] if absent else [])]
    return Finding("optional extras", "ok", "; ".join(words))


def _version_of(module: str) -> str:
    names = {"open_clip": "open_clip_torch", "tensorflow_datasets": "tensorflow-datasets"}
    try:
        return version(names.get(module, module))
    except PackageNotFoundError:
        return "?"


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except USER_ERRORS as error:
        return Finding(what, "fails", " ".join(str(error).split()))
