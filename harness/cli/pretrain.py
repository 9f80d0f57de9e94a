"""`metabench pretrain`: a backbone of one's own, from the pocket suite."""

from pathlib import Path
from typing import Annotated

import typer

from harness.console import console, names


def pretrain(
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; its card is written beside it.")],
    domains: Annotated[
        str, typer.Option("--datasets", "--domains", help="Pocket domains to train on.")
    ] = "icons,emoji,clipart,glyphs",
    widths: Annotated[str, typer.Option(help="Channels of the four stages.")] = "16,32,64,128",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step, in equal parts of each domain.")] = 128,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and of the order of images.")] = 0,
    precision: Annotated[
        str, typer.Option("--precision", "--dtype", help="float32, or bfloat16 where the processor has it.")
    ] = "float32",
) -> None:
    """Train a backbone on the pocket suite's train classes (shared trunk, one linear head per domain)."""
    from harness.commands.pretrain import pretrain as pretrain_backbone
    from harness.commands.weights import parse_widths
    from harness.domains import cache_folder

    pretrain_backbone(
        out,
        cache=cache_folder(),
        domains=names(domains) or (),
        widths=parse_widths(names(widths) or ()),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        console=console(),
    )
