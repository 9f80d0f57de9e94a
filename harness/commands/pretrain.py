"""Train a backbone on the pocket suite's train classes; choose among its states on the valid classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.console import Console

from episodes.dataset import DatasetRecords
from episodes.images import Images
from episodes.plan import DomainPlan, plan_domain
from episodes.sampling import EpisodeConfig
from episodes.sources import pocket
from episodes.stream import load_images, stream_images
from harness.errors import HarnessError, unknown
from harness.progress import bar

if TYPE_CHECKING:
    import torch

    from backbones.contract import Backbone, BackboneCard
    from backbones.pretrain.supervised import LabelledImages, Recipe, Step, Trained

Precision = Literal["float32", "bf16"]

SEEN_DOMAINS = ("icons", "emoji", "clipart", "glyphs")
PRECISIONS: dict[str, Precision] = {"float32": "float32", "bfloat16": "bf16", "bf16": "bf16"}
SELECTION_EPISODES = 50
IMAGE_SIZE = 84
NOTES = (
    "Trained on the train classes of the pocket suite, the state chosen by the mean nearest-centroid accuracy over "
    "{episodes} episodes of each domain's valid classes: {score:.2f}% after {step} of {steps} steps "
    "({threads} threads, torch {torch}). Glyphs: the styles of one font family count as different images of a letter."
)


def pretrain(
    out: Path,
    *,
    cache: Path,
    domains: Sequence[str] = SEEN_DOMAINS,
    widths: Sequence[int] = (16, 32, 64, 128),
    steps: int = 5000,
    batch_size: int = 128,
    lr: float = 0.1,
    seed: int = 0,
    precision: str = "float32",
    console: Console | None = None,
) -> BackboneCard:
    """Train, and write the best state to `out` (.safetensors) with its card beside it.

    The same arguments and number of threads give the same weights on one machine. Raises HarnessError for an
    impossible recipe, BackboneError when training diverges or the weights cannot be written.
    """
    from backbones.pretrain.supervised import Recipe, train
    from backbones.weights import save_weights

    precision = _checked(out, domains, lr, precision)
    recipe = Recipe(widths=tuple(widths), steps=steps, batch_size=batch_size, lr=lr, seed=seed, precision=precision)
    console = console or Console(quiet=True)
    sources = {name: DatasetRecords(pocket.records_folder(name, cache), cache) for name in domains}
    images = {name: labelled_images(source, "train") for name, source in sources.items()}
    selection = [Selection.of(name, source, seed) for name, source in sources.items()]

    def report(line: Step) -> None:
        console.print(f"step {line.step}: loss {line.loss:.3f}, valid accuracy {line.score:.2f}%")

    def evaluate(backbone: Backbone) -> float:
        return float(np.mean([part.accuracy_pct(backbone) for part in selection]))

    with bar(console, "training", steps) as advance:
        trained = train(images, recipe, evaluate=evaluate, advance=advance, report=report)
    card = save_weights(trained.state, _card(out, domains, recipe, trained), out)
    console.print(f"wrote {out} and its card: {card.notes}", highlight=False)
    console.print(f"use it with: --backbone {out}", highlight=False, soft_wrap=True)
    return card


def _checked(out: Path, domains: Sequence[str], lr: float, precision: str) -> Precision:
    """The precision, after a look at everything that a recipe can get wrong."""
    if out.suffix != ".safetensors":
        raise HarnessError(f"--out {out}: weights are written as .safetensors; choose such a name")
    if not domains:
        raise HarnessError(f"--datasets names none; known: {', '.join(SEEN_DOMAINS)}")
    for domain in domains:
        if domain not in SEEN_DOMAINS:
            raise unknown("pocket domain to train on:", domain, SEEN_DOMAINS)
    if not 0 < lr < math.inf:
        raise HarnessError(f"--lr {lr}: give a positive number, as in 0.1")
    if precision not in PRECISIONS:
        raise unknown("--precision", precision, PRECISIONS)
    return PRECISIONS[precision]


def labelled_images(source: DatasetRecords, split: str) -> LabelledImages:
    """All images of a split as (n, 84, 84, 3) uint8, labels numbered from 0 in order of the class ids."""
    from backbones.pretrain.supervised import LabelledImages

    ids = source.spec.class_ids[split]
    images = Images.concatenate([(c, np.arange(source.spec.images_per_class[c])) for c in ids])
    blocks = stream_images(source, images, IMAGE_SIZE)
    pixels = [block.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy() for block in blocks]
    return LabelledImages(np.concatenate(pixels), images.classes - ids.start)


@dataclass(frozen=True)
class Selection:
    """Fixed episodes of one domain's valid classes, and the (n, 3, s, s) images they need, decoded once."""

    plan: DomainPlan
    inputs: torch.Tensor

    @classmethod
    def of(cls, name: str, source: DatasetRecords, seed: int) -> Selection:
        """`SELECTION_EPISODES` standard episodes."""
        plan = plan_domain(
            name, source.spec, split="valid", protocol=EpisodeConfig(), seed=seed, tasks=SELECTION_EPISODES
        )
        return cls(plan, load_images(source, plan.images, IMAGE_SIZE))

    def accuracy_pct(self, backbone: Backbone) -> float:
        """Mean accuracy of nearest centroid, cosine."""
        import torch

        import adapters
        from adapters.contract import Support
        from backbones.embeddings import embed_in_fixed_batches

        features = torch.cat(list(embed_in_fixed_batches(backbone, [self.inputs])))
        ncc = adapters.load("ncc")
        accuracies = []
        for task in range(len(self.plan)):
            episode = self.plan.episode(task)
            support = Support(torch.from_numpy(episode.support_labels), episode.way, features[episode.support_images])
            predicted = ncc.adapt(support)(features[episode.query_images]).argmax(1)
            accuracies.append((predicted == torch.from_numpy(episode.query_labels)).float().mean().item())
        return 100 * float(np.mean(accuracies))


def _card(out: Path, domains: Sequence[str], recipe: Recipe, trained: Trained) -> BackboneCard:
    import torch

    from backbones.contract import BackboneCard

    command = (
        f"metabench pretrain --domains {','.join(domains)} --widths {','.join(map(str, recipe.widths))} "
        f"--steps {recipe.steps} --batch-size {recipe.batch_size} --lr {recipe.lr} --seed {recipe.seed} "
        f"--precision {recipe.precision} --out {out.name}"
    )
    notes = NOTES.format(
        episodes=SELECTION_EPISODES,
        score=trained.best.score,
        step=trained.best.step,
        steps=recipe.steps,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
    )
    return BackboneCard(
        name=out.stem,
        arch="resnet18",
        widths=recipe.widths,
        stem_padding=recipe.stem_padding,
        image_size=IMAGE_SIZE,
        licence="MIT",
        citation="Metabench",
        training_data_known=True,
        trained_on=dict.fromkeys(domains, ("train",)),
        command=command,
        seed=recipe.seed,
        notes=notes,
    )
