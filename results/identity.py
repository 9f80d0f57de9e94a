"""What a row is and what makes two rows the same: content hashes, never run ids or paths."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def canonical_hash(value: Any) -> str:
    """sha256 (64 hex digits) of the value's compact JSON with sorted keys; ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def row_key(
    *,
    adapter_hash: str,
    backbone_hash: str,
    flags: Mapping[str, Any],
    domain: str,
    records_hash: str,
    episode_hash: str,
) -> str:
    """Identity of one result. Two runs that agree on these six values compute the same number, so it is computed once.

    adapter_hash: the adapter's name, version and hyper-parameters. backbone_hash: its weights and dtype. flags: the
    run's options that change embeddings. records_hash: the fingerprint of the domain's image records.
    """
    return canonical_hash([adapter_hash, backbone_hash, dict(flags), domain, records_hash, episode_hash])


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The result of one method on one episode, with everything needed to trace it."""

    key: str  # row_key(...)
    domain: str
    split: str
    task: int  # position of the episode in its domain's plan, from 0
    episode_hash: str
    protocol_hash: str
    records_hash: str
    spec_hash: str
    plan_hash: str  # the plan under which the row was first computed; longer or shorter plans share it
    seed: int
    adapter: str
    adapter_version: str
    hyperparameters: str  # JSON object
    adapter_hash: str
    backbone: str
    backbone_hash: str
    weights_sha256: str
    dtype: str
    flags: str  # JSON object
    seen: str  # seen | unseen | unknown: whether the backbone was trained on this domain
    way: int
    n_support: int
    n_query: int
    accuracy: float  # fraction of the queries, 0..1
    wall_s: float
    created: str  # ISO 8601, UTC
