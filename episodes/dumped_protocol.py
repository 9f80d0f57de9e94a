"""Whether dumped episodes are of a benchmark's protocol: nothing in a dump says so, but much can be seen from sizes."""

import numpy as np

from episodes.plan import DomainPlan
from episodes.sampling import EpisodeConfig


def misfit(plan: DomainPlan, protocol: EpisodeConfig) -> str | None:
    """The first episode that `protocol` never samples, and by which of its keys; None if it might sample them all."""
    shots = np.split(plan.num_support, np.cumsum(plan.ways)[:-1])
    for task, (num_support, num_query) in enumerate(zip(shots, plan.num_query.tolist(), strict=True)):
        wrong = _misfit(num_support, num_query, protocol)
        if wrong:
            return f"episode {task} has {wrong}"
    return None


def _misfit(num_support: np.ndarray, num_query: int, protocol: EpisodeConfig) -> str | None:
    way, least, most, support = len(num_support), num_support.min(), num_support.max(), num_support.sum()
    shots = protocol.num_support
    lowest, highest = shots if isinstance(shots, tuple) else (shots, shots)
    varying_way = protocol.num_ways is None and not protocol.use_all_classes
    rules = (
        ("num_ways", protocol.num_ways in (None, way), f"{way} classes"),
        ("min_ways", not varying_way or way >= protocol.min_ways, f"{way} classes"),
        ("max_ways", not varying_way or way <= protocol.max_ways, f"{way} classes"),
        (
            "num_support",
            lowest is None or highest is None or lowest <= least == most <= highest,
            f"{least} to {most} support images of a class",
        ),
        ("max_support_size", shots is not None or support <= protocol.max_support_size, f"{support} support images"),
        (
            "max_support_per_class",
            shots is not None or support <= way * protocol.max_support_per_class,
            f"{support} support images of {way} classes",
        ),
        ("num_query", protocol.num_query in (None, num_query), f"{num_query} query images of every class"),
        (
            "max_num_query",
            protocol.num_query is not None or num_query <= protocol.max_num_query,
            f"{num_query} query images of every class",
        ),
    )
    wrong = next(((key, fact) for key, holds, fact in rules if not holds), None)
    return f"{wrong[1]}, but {wrong[0]} = {getattr(protocol, wrong[0])}" if wrong else None
