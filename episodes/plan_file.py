"""Plans on disk: one `.npz` without pickle, whose hash is checked when it is read."""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from episodes.errors import DAMAGED_ARCHIVE, BadPlan
from episodes.plan import DomainPlan, Plan
from episodes.sampling import EpisodeConfig
from results.files import write_whole

_ARRAYS = ("ways", "num_query", "class_ids", "num_support", "records")


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan whole or not at all."""
    header = {
        "hash": plan.hash,
        "plan": {"benchmark": plan.benchmark, "split": plan.split, "seed": plan.seed, "tasks": plan.tasks},
        "domains": [
            {"domain": d.domain, "spec_digest": d.spec_digest, "protocol": asdict(d.protocol)} for d in plan.domains
        ],
    }
    arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for i, domain in enumerate(plan.domains):
        arrays |= {f"{i}.{name}": _small(getattr(domain, name)) for name in _ARRAYS}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


def load_plan(path: Path) -> Plan:
    """Read a plan. Raises BadPlan, naming the file, when it is missing, damaged or not the plan it says it is."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            common = header["plan"]
            domains = tuple(
                DomainPlan(
                    domain=entry["domain"],
                    split=common["split"],
                    protocol=msgspec.convert(entry["protocol"], EpisodeConfig),
                    seed=common["seed"],
                    spec_digest=entry["spec_digest"],
                    **{name: arrays[f"{i}.{name}"].astype(np.int64) for name in _ARRAYS},
                )
                for i, entry in enumerate(header["domains"])
            )
        plan, stated = Plan(**common, domains=domains), header["hash"]
        intact = plan.hash == stated
    except FileNotFoundError as error:
        raise BadPlan(f"{path}: no such plan") from error
    except (*DAMAGED_ARCHIVE, AttributeError, IndexError) as error:
        raise BadPlan(f"{path}: not a readable plan ({' '.join(str(error).split())})") from error
    if not intact:
        raise BadPlan(f"{path}: the episodes do not match the plan's hash; make the plan again")
    return plan


def _small(numbers: np.ndarray) -> np.ndarray:
    """Non-negative numbers in the fewest bytes that hold them: smaller than packed as int64, and a hundred times as
    fast."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))
