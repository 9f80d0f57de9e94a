"""What a manifest says so that a run can be repeated: its options, what they stood for, and the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.config import benchmark_file
from harness.git_state import git_state
from results.identity import canonical_hash

if TYPE_CHECKING:
    from harness.cells import Run
    from results.store import ResultStore

FORMAT = 2
"""Number of this form of manifest; 1 had no options, and cannot be repeated."""


def options_facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run as JSON has them, the folder that relative paths start from, and the benchmark's file, as it
    is when the run begins."""
    file = benchmark_file(options["benchmark"])
    return {
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in options.items()},
        "folder": str(Path.cwd()),
        "benchmark_file": {"path": str(file.absolute()), "sha256": file_hash(file)},
    }


def identities(run: Run) -> dict[str, Any]:
    """What the options stood for, as hashes: plan, specs, images, backbone, adapters by domain, options in keys."""
    domains = {cell.domain.name: cell.domain for cell in run.cells}
    return {
        "plan": run.plan.hash,
        "specs": {name: domain.plan.spec_digest for name, domain in domains.items()},
        "records": {name: domain.records_hash for name, domain in domains.items()},
        "weights": run.backbone.card.weights_sha256,
        "backbone_hash": run.backbone_hash,
        "adapters": {
            name: {cell.configured.label: cell.configured.adapter_hash for cell in run.cells if cell.domain is domain}
            for name, domain in domains.items()
        },
        "flags": dict(run.flags),
    }


def surroundings() -> dict[str, Any]:
    """How numbers are made here, and which code makes them."""
    import torch

    return {
        "determinism": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "matmul_precision": torch.get_float32_matmul_precision(),
            "threads": torch.get_num_threads(),
        },
        "git": {"working_folder": git_state(Path.cwd()), "metabench": git_state(Path(harness.__file__).parent)},
    }


def row_facts(run: Run, store: ResultStore) -> dict[str, Any]:
    """How many rows the run stands for, and a hash of their keys and accuracies, in the order of the plan."""
    found = store.rows(run.plan.hash, ["key", "accuracy"]).set_index("key")["accuracy"].to_dict()
    return {"rows": {"number": len(list(keys_of(run))), "sha256": rows_hash(found, run)}}


def rows_hash(accuracies: Mapping[Any, float], run: Run) -> str:
    """Of the run's rows by key, as far as there are any, in the order of the plan."""
    return canonical_hash([[key, accuracies[key]] for key in keys_of(run) if key in accuracies])


def keys_of(run: Run) -> Iterator[str]:
    """The key of each row of a run, or of its shard; two names of one configuration share theirs."""
    seen: set[str] = set()
    for cell in run.cells:
        for task in cell.domain.tasks:
            key = cell.keys[task]
            if key not in seen:
                seen.add(key)
                yield key


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
