"""Which engine a run computes on, as asked for on the command line."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

from harness.engines.contract import Engine
from harness.errors import HarnessError, unknown

ENGINES = ("local", "ray")


class EngineChoice(NamedTuple):
    """Where a run computes, as asked for. `address`: of a Ray cluster ("auto": the one of this machine, "local": one
    that is started for the run); `gpus_per_worker`: share of a GPU that a task on Ray gets."""

    kind: str = "local"
    address: str = "auto"
    gpus_per_worker: float = 1.0

    def start(self, device: str, workers: int | None) -> AbstractContextManager[Engine]:
        """The engine. `workers`: None for as many as there is room for."""
        if self.kind == "ray":
            from harness.engines.ray import ray_engine

            return ray_engine(self.address, device, workers, self.gpus_per_worker)
        from harness.devices import default_workers
        from harness.engines.local import LocalEngine

        return LocalEngine(device, workers or default_workers(device))


LOCAL = EngineChoice()


def checked_engine(
    kind: str, address: str | None = None, gpus_per_worker: float | None = None, device: str = "cpu"
) -> EngineChoice:
    """The engine of these options. Raises HarnessError for an unknown one, and for an option that has no use."""
    if kind not in ENGINES:
        raise unknown("--engine", kind, ENGINES)
    if address is not None and kind != "ray":
        raise HarnessError(f"--address {address}: only Ray has an address; add --engine ray or leave it out")
    if gpus_per_worker is not None and (kind != "ray" or device != "cuda"):
        raise HarnessError("--gpus-per-worker shares GPUs among Ray's tasks: add --engine ray --device cuda")
    if gpus_per_worker is not None and not 0 < gpus_per_worker <= 1:
        raise HarnessError(f"--gpus-per-worker {gpus_per_worker}: a share of one GPU is above 0 and at most 1")
    if kind == "ray" and device not in ("cpu", "cuda"):
        raise HarnessError(f"--device {device}: Ray hands out devices itself; take cpu or cuda")
    share = 1.0 if gpus_per_worker is None else gpus_per_worker
    return EngineChoice(kind, "auto" if address is None else address, share)
