"""`metabench records`: make records of a user's images, and check records that are there."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console, names

app = typer.Typer(help="Make records of your own images, or check a folder of records.", no_args_is_help=True)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of data sets, or a data set's own folder.")],
    datasets: Annotated[str | None, typer.Option(help="Some of them, as in omniglot,dtd; they must be there.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Do not decode the images: much faster.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core).")] = None,
    as_json: Json = False,
) -> None:
    """Compare records with their specs and with the published counts. Exit status 1 if anything is wrong.

    Reads every record: both checksums, its label, its image, and whether Traffic signs lie in track order.
    """
    from harness.commands.records_check import check_records
    from harness.devices import default_workers

    workers = workers or default_workers("cpu")
    if not check_records(
        console(), folder, datasets=names(datasets), images=not no_images, workers=workers, as_json=as_json
    ):
        raise typer.Exit(1)


@app.command()
def build(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of images, class/... or split/class/..., or a prepared TensorFlow Datasets folder."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of records; the data set becomes a folder in it.")],
    name: Annotated[str | None, typer.Option(help="Name of the data set (default: the source's).")] = None,
    splits: Annotated[
        Path | None, typer.Option(help='JSON file {"train": \\[class, ...], "valid": \\[...], "test": \\[...]}.')
    ] = None,
    all_in: Annotated[str | None, typer.Option(help="Put every class into one split: train, valid or test.")] = None,
    tfds_split: Annotated[
        str | None, typer.Option(help="TensorFlow Datasets splits to take, as in train,test (default: all).")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that cannot be stored, and name them.")
    ] = False,
) -> None:
    """Turn images into records. Without --splits or --all-in, classes are split 70/15/15 by the official procedure.

    A build that was stopped goes on where it was when the same command is given again.
    """
    from harness.commands.records_build import build_records

    build_records(
        console(),
        source,
        out,
        name=name,
        splits=splits,
        all_in=all_in,
        tfds_splits=names(tfds_split),
        skip_unreadable=skip_unreadable,
    )
