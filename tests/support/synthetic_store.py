"""A result store of any size, made up: as a run of many methods over many domains leaves it."""

import numpy as np

from results.entries import Entry
from results.identity import Row
from results.store import ResultStore

DOMAINS = (
    *("ilsvrc_2012", "omniglot", "aircraft", "cu_birds", "dtd", "quickdraw", "fungi", "vgg_flower"),
    *("traffic_sign", "mscoco", "mnist", "cifar10", "cifar100"),
)
PLAN = "5" * 64


def fill_store(path, *, domains=13, tasks=600, methods=20, names=None, contaminated=(), seed=0):
    """Write the store and return the hash of its plan. The first eight domains are seen; later methods are better.

    `names`: of methods, instead of method-00, method-01 ...; `contaminated`: domains whose classes the backbone saw.
    """
    rng = np.random.default_rng(seed)
    chosen = DOMAINS[:domains]
    names = names or [f"method-{i:02d}" for i in range(methods)]
    seen = {domain: "seen" if i < 8 else "unseen" for i, domain in enumerate(chosen)}
    with ResultStore(path) as store:
        hashes = {domain: [f"{domain}-{task}" for task in range(tasks)] for domain in chosen}
        store.record_plan(PLAN, "meta-dataset-mdl", "test", seed, tasks, hashes, {d: f"records-{d}" for d in chosen})
        store.record_entries(PLAN, [_entry(n, d, seen[d], d in contaminated) for n in names for d in chosen])
        for domain in chosen:
            way = rng.integers(5, 51, tasks)
            support = way * rng.geometric(0.15, tasks)
            ease = rng.normal(0, 0.08, tasks) - way / 300 + np.log(support / way) / 12
            for i, name in enumerate(names):
                chance = np.clip(0.62 + 0.01 * i + ease + rng.normal(0, 0.02, tasks), 0.02, 0.99)
                accuracy = rng.binomial(10 * way, chance) / (10 * way)
                wall_s = 0.001 * 1.5**i * rng.lognormal(0, 0.2, tasks)
                measured = zip(way, support, accuracy, wall_s, strict=True)
                store.add([_row(name, domain, task, seen[domain], *each) for task, each in enumerate(measured)])
    return PLAN


def _entry(method, domain, seen, contaminated):
    return Entry(
        method=method,
        backbone="url",
        domain=domain,
        adapter_hash=method,
        backbone_hash="net",
        flags="{}",
        seen=seen,
        contaminated=contaminated,
    )


def _row(method, domain, task, seen, way, support, accuracy, wall_s):
    return Row(
        key=f"{method}/{domain}/{task}",
        domain=domain,
        split="test",
        task=task,
        episode_hash=f"{domain}-{task}",
        protocol_hash="protocol",
        records_hash=f"records-{domain}",
        spec_hash="spec",
        plan_hash=PLAN,
        seed=0,
        adapter=method,
        adapter_version="1",
        hyperparameters="{}",
        adapter_hash=method,
        backbone="url",
        backbone_hash="net",
        weights_sha256="weights",
        dtype="float32",
        flags="{}",
        seen=seen,
        way=int(way),
        n_support=int(support),
        n_query=int(10 * way),
        accuracy=float(accuracy),
        wall_s=float(wall_s),
        created="2025-01-01T00:00:00+00:00",
    )
