"""A few images of each domain of a plan, where its records are at hand."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from episodes.dataset import DatasetRecords
from episodes.errors import EpisodesError
from episodes.plan import DomainPlan
from episodes.plan_file import load_plan
from harness.config import Domain, load_benchmark
from harness.domains import cache_folder, domain_folder, lies_under_records
from harness.errors import HarnessError
from results.report.cards import DomainImages
from results.store import StoredPlan

SAMPLES = 8
"""Images of a domain, of different classes."""


def images_of(plan: StoredPlan, plan_file: Path, records: Path | None) -> dict[str, DomainImages]:
    """For each domain how many classes and images its episodes draw, and a few of these images.

    A page is worth having without them: where the plan or records are missing, are others than those of the plan, or
    cannot be read, there is a line that says so instead.
    """
    try:
        planned = load_plan(plan_file)
    except EpisodesError as error:
        return dict.fromkeys(plan.domains, DomainImages(why_none=f"{plan_file.name} cannot be read ({error})"))
    if planned.hash != plan.plan_hash:
        return dict.fromkeys(plan.domains, DomainImages(why_none=f"{plan_file.name} is another plan"))
    known: dict[str, Domain] = {}
    with suppress(HarnessError):  # a benchmark file of the user's own is not known by name
        known = {domain.name: domain for domain in load_benchmark(plan.benchmark).domains}
    return {
        each.domain: _domain(each, known.get(each.domain, Domain(name=each.domain)), records)
        for each in planned.domains
    }


def _domain(plan: DomainPlan, domain: Domain, records: Path | None) -> DomainImages:
    drawn = plan.images
    classes, images = len(np.unique(drawn.classes)), len(drawn.classes)
    if lies_under_records(domain) and records is None:
        return DomainImages(classes=classes, images=images, why_none="give --records to show some")
    try:
        source = DatasetRecords(domain_folder(domain, records, cache_folder()), cache_folder())
        if source.spec.digest != plan.spec_digest:
            return DomainImages(classes=classes, images=images, why_none="the records are not those of the plan")
        samples = [source.encoded(*image).decode() for image in _some(plan)]
    except (EpisodesError, OSError) as error:
        return DomainImages(classes=classes, images=images, why_none=str(error))
    return DomainImages(classes=classes, images=images, samples=samples)


def _some(plan: DomainPlan) -> list[tuple[int, int]]:
    """(class id, record number) of the first image drawn of some classes, these evenly spread over all of them."""
    first = {class_id: int(records[0]) for class_id, records in plan.images.by_class()}
    classes = sorted(first)
    chosen = np.unique(np.linspace(0, len(classes) - 1, min(SAMPLES, len(classes))).astype(int))
    return [(classes[i], first[classes[i]]) for i in chosen]
