"""`metabench weights`: bring in weights of your own, and look at what they are."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console, names

app = typer.Typer(help="Bring in weights of your own.", no_args_is_help=True)


@app.command("import")
def import_weights(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint in a published layout (.pth, .pth.tar, .safetensors).")
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; its card is written beside it.")],
    arch: Annotated[
        str, typer.Option(help="Architecture: resnet12, resnet18, resnet18-film, resnet34 or resnet50.")
    ] = "resnet18",
    widths: Annotated[str | None, typer.Option(help="As in 64,128,256,512 (default: the checkpoint's).")] = None,
    base: Annotated[
        Path | None, typer.Option(help="The shared network's checkpoint, for one domain's FiLM layers (resnet18-film).")
    ] = None,
    stem_padding: Annotated[
        int, typer.Option(help="Padding of the 5x5 stem, 1 or 2; published test code uses 1 for all checkpoints.")
    ] = 1,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels a side (default: the published weights').")
    ] = None,
    normalisation: Annotated[
        str | None,
        typer.Option(help="'[-1, 1]' or 'mean R,G,B std R,G,B' of images in [0, 1] (default: the published weights')."),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(help="Domains it saw, as in ilsvrc_2012=all,omniglot (its train classes), or none."),
    ] = None,
) -> None:
    """Turn a checkpoint into a backbone, strictly and without unpickling code."""
    from harness.commands.weights import import_weights as import_checkpoint

    import_checkpoint(
        console(),
        checkpoint,
        out,
        arch=arch,
        widths=names(widths),
        base=base,
        stem_padding=stem_padding,
        image_size=image_size,
        normalisation=normalisation,
        trained_on=names(trained_on),
    )


@app.command()
def show(
    backbone: Annotated[str, typer.Argument(help="What --backbone takes: a name, or FILE.safetensors.")],
    as_json: Json = False,
) -> None:
    """Check a backbone's weights against its card, and print the card."""
    from harness.commands.weights import show_weights

    show_weights(console(), backbone, as_json=as_json)
