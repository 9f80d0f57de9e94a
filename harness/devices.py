"""Everything that is particular to one kind of device: names, numbers, precision, random states."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError, unknown

DEVICES = ("cpu", "cuda", "mps")


def checked_device(device: str) -> str:
    """A device that torch has here, as "cpu", "cuda", "cuda:1" or "mps". Raises HarnessError otherwise."""
    import torch

    kind, colon, number = device.partition(":")
    if kind not in DEVICES:
        raise unknown("--device", device, DEVICES)
    if colon and not number.isdecimal():
        raise HarnessError(f"--device {device}: a device is {kind} or {kind}:0, {kind}:1 ...")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).partition("\n")[0].partition(". ")[0]  # what torch adds is for its own developers
        raise HarnessError(f"--device {device}: not usable here ({reason})") from error
    return device


def default_workers(device: str) -> int:
    """Processes that adapt at the same time: one per available core, one per GPU; one on a device that is named."""
    if device == "cpu":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _gpus() if device == "cuda" else 1


def worker_devices(device: str, workers: int) -> list[str]:
    """The device of each worker process: "cuda" stands for all GPUs in turn, anything else for itself."""
    if device != "cuda" or workers == 1:
        return [device] * workers
    gpus = _gpus()
    return [f"cuda:{worker % gpus}" for worker in range(workers)]


def on_gpu(device: str) -> bool:
    """Whether it is a GPU that copies from page-locked memory."""
    return device.startswith("cuda")


def random_devices(device: str) -> list[str]:
    """Those whose random states torch saves on request, beside the CPU's."""
    return [device] if on_gpu(device) else []


def full_precision() -> None:
    """Let float32 be float32 on every device: rows do not say which it was."""
    import torch

    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """While the block lasts, torch computes by deterministic algorithms alone and refuses what has none; as it was
    before where that is not wanted."""
    if not wanted:
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())
