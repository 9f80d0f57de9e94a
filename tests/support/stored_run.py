"""A result store as a run leaves it, without running anything."""

import numpy as np

from results.entries import Entry
from results.identity import Row, canonical_hash, row_key
from results.store import ResultStore


def store_run(folder, benchmark, methods, domains, *, seen=(), contaminated=(), tasks=20, split="test", seed=0):
    """Fill `folder/results.sqlite` with a plan of `benchmark` and all its rows.

    methods: {name: mean accuracy}; domains: names; seen: those the backbone saw. Accuracies spread around the mean.
    """
    rng = np.random.default_rng(seed)
    rows, entries = [], []
    for method, mean in methods.items():
        for domain in domains:
            identity = {
                "adapter_hash": canonical_hash([method]),
                "backbone_hash": "backbone",
                "domain": domain,
                "records_hash": f"records-{domain}",
            }
            state = "seen" if domain in seen else "unseen"
            configuration = {name: identity[name] for name in ("domain", "adapter_hash", "backbone_hash")}
            entry = {"method": method, "backbone": "net", "flags": "{}", "seen": state}
            entries.append(Entry(**configuration, **entry, contaminated=domain in contaminated))
            accuracies = np.clip(rng.normal(mean, 0.05, tasks), 0, 1)
            rows += [_row(identity, method, split, state, task, float(a)) for task, a in enumerate(accuracies)]
    with ResultStore(folder / "results.sqlite") as store:
        episodes = {domain: [f"{domain}-{task}" for task in range(tasks)] for domain in domains}
        store.record_plan(
            "plan", benchmark, split, seed, tasks, episodes, {domain: f"records-{domain}" for domain in domains}
        )
        store.record_entries("plan", entries)
        store.add(rows)


def _row(identity, method, split, seen, task, accuracy):
    episode = f"{identity['domain']}-{task}"
    return Row(
        key=row_key(**identity, episode_hash=episode, flags={}),
        **identity,
        split=split,
        task=task,
        episode_hash=episode,
        protocol_hash="protocol",
        spec_hash="spec",
        plan_hash="plan",
        seed=0,
        adapter=method,
        adapter_version="1",
        hyperparameters="{}",
        backbone="net",
        weights_sha256="weights",
        dtype="float32",
        flags="{}",
        seen=seen,
        way=5,
        n_support=25,
        n_query=50,
        accuracy=accuracy,
        wall_s=0.01,
        created="2025-01-01T00:00:00+00:00",
    )
