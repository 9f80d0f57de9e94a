"""What a reader of the leaderboard should know about the backbone."""

from collections.abc import Iterator

from harness.cells import Run
from harness.trained_on import doubtful_names


def cautions(run: Run) -> Iterator[str]:
    """One line for each thing that makes a comparison doubtful: test classes seen in training, or a foreign setting."""
    card, benchmark = run.backbone.card, run.request.benchmark
    names = [domain.domain for domain in run.plan.domains]
    yield from (f"{card.name} says: {line}" for line in doubtful_names(card.trained_on, names))
    contaminated = [name for name in names if card.contaminated(name, run.plan.split)]
    if contaminated:
        where = ", ".join(contaminated)
        yield f"{card.name} was trained on the {run.plan.split} classes of {where}: they prove little (†)"
    if not card.training_data_known:
        yield f"what {card.name} was trained on is unknown: its domains show '?' and get the rates for unseen ones"
    elif benchmark.trained_on is not None:
        beyond = sorted(set(card.trained_on) - set(benchmark.trained_on))
        if beyond:
            yield f"{card.name} was trained on {', '.join(beyond)}, which {benchmark.name} does not allow"
