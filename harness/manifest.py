"""What a run was: command, versions, machine, weights; one JSON file per run, beside its results."""

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from harness.manifest_facts import FORMAT, identities, row_facts, surroundings
from results.files import write_whole

if TYPE_CHECKING:
    from harness.cells import Run
    from results.store import ResultStore

_PACKAGES = ("metabench", "torch", "numpy", "pandas", "simplejpeg", "pillow")


def write_manifest(run: "Run", store: "ResultStore", *, embedded: int, computed: int) -> None:
    """Write `<out>/manifests/<time>-<plan>.json`. `embedded`: images, `computed`: episodes of this run alone."""
    now, request = datetime.now(UTC), run.request
    facts = {
        "format": FORMAT,
        **identities(run),
        "benchmark": request.benchmark.name,
        "split": request.split,
        "tasks": run.plan.tasks,
        "seeds": [request.seed],
        "shard": None if request.shard is None else str(request.shard),
        "domains": [domain.domain for domain in run.plan.domains],
        "methods": [method.label for method in request.methods],
        "hyper": request.hyper,
        "backbone": run.backbone.card,
        "device": request.device,
        "dtype": request.backbone.dtype,
        "pixels": run.pixels.flags,
        **request.source.facts,
        "store_dtype": request.store_dtype,
        "compiled": request.backbone.compiled,
        "save_logits": request.save_logits,
        "workers": request.workers,
        "engine": request.engine.kind,
        "images_embedded": embedded,
        "episodes_computed": computed,
        "command": sys.argv[1:],
        **(request.options or {}),
        **row_facts(run, store),
        **surroundings(),
        "finished": now.isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
    }
    path = request.out / "manifests" / f"{now:%Y%m%dT%H%M%S%f}-{run.plan.hash[:8]}.json"
    write_whole(path, msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")
