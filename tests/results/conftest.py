"""Rows and plans to fill a store with."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from results.identity import Row, canonical_hash, row_key
from results.store import StoredPlan


def _row(adapter="ncc", domain="icons", task=0, accuracy=0.5, *, hyperparameters=None, **changed):
    adapter_hash = canonical_hash([adapter, hyperparameters, changed.get("adapter_version", "1")])
    backbone_hash = canonical_hash([changed.get("backbone", "net"), changed.get("dtype", "float32")])
    fields = {
        "domain": domain,
        "split": "test",
        "task": task,
        "episode_hash": f"episode-{domain}-{task}",
        "protocol_hash": "protocol",
        "records_hash": f"records-{domain}",
        "spec_hash": f"spec-{domain}",
        "plan_hash": "first-plan",
        "seed": 0,
        "adapter": adapter,
        "adapter_version": "1",
        "hyperparameters": json.dumps(hyperparameters or {}),
        "adapter_hash": adapter_hash,
        "backbone": "net",
        "backbone_hash": backbone_hash,
        "weights_sha256": "weights",
        "dtype": "float32",
        "flags": "{}",
        "seen": "seen" if domain == "icons" else "unseen",
        "way": 5,
        "n_support": 25,
        "n_query": 50,
        "accuracy": accuracy,
        "wall_s": 0.01,
        "created": "2025-01-01T00:00:00+00:00",
    } | changed
    identity = ("adapter_hash", "backbone_hash", "domain", "records_hash", "episode_hash")
    key = row_key(**{name: fields[name] for name in identity}, flags=json.loads(fields["flags"]))
    return Row(key=key, **fields)


@pytest.fixture(scope="session")
def make_row():
    """make_row(adapter, domain, task, accuracy, **other fields): a consistent Row."""
    return _row


@pytest.fixture(scope="session")
def make_frame():
    """make_frame({method: {domain: [accuracy of task 0, ...]}}): rows of a plan, named by adapter."""

    def frame(accuracies):
        rows = [
            _row(adapter, domain, task, accuracy)
            for adapter, domains in accuracies.items()
            for domain, values in domains.items()
            for task, accuracy in enumerate(values)
        ]
        return pd.DataFrame([asdict(row) | {"method": row.adapter, "contaminated": False} for row in rows])

    return frame


@pytest.fixture(scope="session")
def make_plan():
    """make_plan(icons=4, mnist=4): a plan with that many episodes."""

    def plan(**domains):
        return StoredPlan(
            plan_hash="plan", benchmark="pocket", split="test", seed=0, tasks=max(domains.values()), domains=domains
        )

    return plan


@pytest.fixture(scope="session")
def record():
    """record(store, plan_hash, icons=4): the plan of the first episodes of `make_row`'s domains."""

    def keep(store, plan_hash="plan", *, records="records", setting="", **domains):
        store.record_plan(
            plan_hash,
            "pocket",
            "test",
            0,
            max(domains.values()),
            {domain: [f"episode-{domain}-{task}" for task in range(n)] for domain, n in domains.items()},
            {domain: f"{records}-{domain}" for domain in domains},
            setting,
        )

    return keep
