"""What a reader of the leaderboard should know about the backbone."""

from collections.abc import Iterator

from episodes.dumped import DUMPED
from episodes.known_datasets import KNOWN
from harness.cells import DomainRun, Run
from harness.trained_on import doubtful_names


def cautions(run: Run) -> Iterator[str]:
    """One line for each thing that makes a comparison doubtful: test classes seen in training, or a foreign setting."""
    card, benchmark = run.backbone.card, run.request.benchmark
    names = [domain.domain for domain in run.plan.domains]
    yield from (f"{card.name} says: {line}" for line in doubtful_names(card.trained_on, names))
    contaminated = dict.fromkeys(cell.domain.name for cell in run.cells if cell.domain.contaminated)
    if contaminated:
        where = ", ".join(contaminated)
        yield f"{card.name} was trained on the {run.plan.split} classes of {where}: they prove little (†)"
    flattened = dict.fromkeys(cell.domain.name for cell in run.cells if _is_flattened(cell.domain))
    if flattened:
        yield f"{', '.join(flattened)}: classes are drawn without the hierarchy that the data set is published with"
    if not card.training_data_known:
        yield f"what {card.name} was trained on is unknown: its domains show '?' and get the rates for unseen ones"
    elif benchmark.trained_on is not None:
        beyond = sorted(set(card.trained_on) - set(benchmark.trained_on))
        if beyond:
            yield f"{card.name} was trained on {', '.join(beyond)}, which {benchmark.name} does not allow"


def _is_flattened(domain: DomainRun) -> bool:
    """Whether the protocol asks for a class hierarchy that the published data set has, and this copy of it has not."""
    known, spec = KNOWN.get(domain.name), domain.records.spec
    published = known is not None and known.kind != "flat"
    here = spec.superclass_sizes is not None or spec.spans is not None
    return published and not here and not domain.plan.protocol.ignore_hierarchy and domain.plan.protocol != DUMPED
