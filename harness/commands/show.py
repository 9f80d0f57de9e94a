"""What `metabench show` does, once the command line is read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from rich.console import Console

from harness.build_request import build_request
from harness.cells import logits_of
from harness.errors import HarnessError
from harness.one_episode import Evaluated, episode_images, evaluate_episode
from results.store import ResultStore


def show_episode(
    console: Console,
    benchmark: str,
    domain: str,
    task: int,
    *,
    adapter: str,
    hyper: str,
    backbone: str | None,
    weights: Path | None,
    dtype: str,
    split: str | None,
    tasks: int | None,
    seed: int,
    records: Path | None,
    out: Path,
    to: Path | None,
) -> None:
    """Adapt to one episode again, draw it, and say what came of it and what is stored of it."""
    from results.episode_figure import check_picture_path

    if to is not None:
        check_picture_path(to)
    request = build_request(
        benchmark,
        adapters=adapter,
        hyper=hyper,
        datasets=(domain,),
        tasks=tasks,
        backbone=backbone,
        weights=weights,
        split=split,
        seed=seed,
        out=out,
        records=records,
        dtype=dtype,
        workers=1,
        pixels="decode",
    )
    if len(request.methods) != 1:
        raise HarnessError(f"--adapter {adapter!r} names {len(request.methods)} methods; one is shown at a time")
    found = evaluate_episode(request, task, Console(quiet=True, force_terminal=False))
    lines = [*_described(found, domain), *_stored(found, out)]
    path = to or out / "episodes" / f"{_plain(f'{domain}-{task}-{found.cell.configured.label}')}.png"
    _draw(found, path, lines[:2])
    for line in [*lines, f"wrote {path}"]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _described(found: Evaluated, domain: str) -> list[str]:
    """The episode, its accuracy, its logits, its losses."""
    from results.episode_summary import summarise

    plan, configured, logits = found.cell.domain.plan, found.cell.configured, found.logits
    episode, summary = plan.episode(0), summarise(logits.logits, logits.labels)
    lowest, first, middle, third, highest = summary.margins
    lines = [
        f"{domain} · {plan.split} · episode {logits.task} · seed {plan.seed} · {episode.way} classes, "
        f"{len(episode.support_labels)} support images, {summary.queries} queries · {logits.episode_hash[:12]}",
        f"{configured.label} @ {found.run.backbone.name} · {summary.right} of {summary.queries} right, "
        f"{100 * logits.accuracy:.2f}%",
        f"logits    of the true class minus the best other: median {middle:+.3f}, quartiles {first:+.3f} and "
        f"{third:+.3f}, from {lowest:+.3f} to {highest:+.3f}",
        f"          cross-entropy {summary.loss:.4f}, mean confidence {100 * summary.confidence:.1f}%",
    ]
    if found.losses is None:
        return [*lines, "losses    this method tells none"]
    if not len(found.losses):
        return [*lines, "losses    no step was taken"]
    start, end = found.losses[[0, -1]]
    return [*lines, f"losses    {start:.4f} before the first step, {end:.4f} before the last of {len(found.losses)}"]


def _stored(found: Evaluated, out: Path) -> list[str]:
    """How this compares with the row and the logits that a run has stored."""
    from results.logits import find_logits

    database, key = out / "results.sqlite", found.logits.key
    if not database.exists():
        return [f"stored    nothing: {out} has no results"]
    with ResultStore(database, create=False) as store:
        row = store.accuracies([key]).get(key)
    if row is None:
        return [f"stored    no row of this episode in {out}"]
    same = "the same" if row == found.logits.accuracy else "another one: computed elsewhere, or by other versions?"
    lines = [f"stored    accuracy {100 * row:.2f}%, {same}"]
    kept = find_logits(logits_of(found.run, found.cell), key)
    if kept is None:
        return lines
    away = float(np.abs(kept.logits - found.logits.logits).max())
    return [*lines, f"          logits {'equal to the bit' if away == 0 else f'up to {away:.1e} away'}"]


def _draw(found: Evaluated, path: Path, title: list[str]) -> None:
    from results.episode_figure import EpisodePicture, draw_episode

    domain, logits = found.cell.domain, found.logits
    episode = domain.plan.episode(0)
    first = np.unique(episode.support_labels, return_index=True)[1]
    support, queries = episode_images(found)
    picture = EpisodePicture(
        title="\n".join(title),
        class_names=[domain.records.spec.class_names[c] for c in episode.support_classes[first].tolist()],
        support=support,
        support_labels=episode.support_labels,
        queries=queries,
        query_labels=logits.labels,
        predicted=logits.predicted,
        losses=found.losses,
    )
    draw_episode(path, picture)


def _plain(name: str) -> str:
    """A name as part of a file's."""
    return re.sub(r"[^\w.=-]+", "-", name).strip("-")
