"""`metabench records build`: from image folders or prepared TensorFlow Datasets to a data set's records."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from episodes.conversion import conversion_recipe
from episodes.errors import BadImage
from episodes.known_datasets import KNOWN, unlike_published
from episodes.sources.folder import TRACKS, class_sources, folder_key, scan_folder, shuffled
from episodes.spec import SPLITS, DatasetSpec, load_spec
from episodes.spec_writing import bilevel_spec, flat_spec
from episodes.splits import PUBLISHED_DRAWS, Splits, given_split, official_split, one_split
from episodes.writing import ClassSource, write_dataset
from harness.config import load_benchmark
from harness.console import fail
from harness.errors import HarnessError, unknown
from harness.progress import bar

TFDS_FILES = ("dataset_info.json", "features.json")
NEXT_BENCHMARK = "fixed-5w1s"
SHOWN = 5  # names in a list of what was left out


class _Source(NamedTuple):
    """What there is to write. `units`: what splits are made of, classes or superclasses, with the classes of each.

    `splits`: where the source itself says. `files`: images per class, where that is known beforehand.
    """

    name: str
    units: list[tuple[str, list[ClassSource]]]
    key: str
    bilevel: bool = False
    splits: Splits | None = None
    files: dict[str, int] | None = None


def build_records(
    console: Console,
    source: Path,
    out: Path,
    *,
    name: str | None,
    splits: Path | None,
    all_in: str | None,
    tfds_splits: tuple[str, ...] | None,
    skip_unreadable: bool,
) -> None:
    """Write `out/<name>/` and say what is in it; a killed build goes on where it stopped, and Ctrl-C says so.

    `source`: an image folder, or a prepared TFDS directory. `name`: default, the source's own. `splits`: a JSON file of
    class names (of a bilevel data set, superclass names) per split; `all_in`: one split for all; neither: the source's
    own splits, else the official draw. `tfds_splits`: which of a TFDS directory's splits to take (None: all).
    `skip_unreadable`: leave out, and name, images that cannot be stored. Raises HarnessError or EpisodesError.
    """
    if splits is not None and all_in is not None:
        raise HarnessError("--splits and --all-in exclude each other: give one of them, or none")
    if all_in is not None and all_in not in SPLITS:
        raise unknown("split", all_in, SPLITS)
    try:
        if _is_tfds(source):
            given = _from_tfds(source, tfds_splits, skip_unreadable)
        else:
            given = _from_folder(console, source, name, tfds_splits, skip_unreadable)
        folder = _target(source, out, given.name if name is None else name)
        chosen = _choose(given, source, folder.name, splits, all_in)
        if chosen.left_out:
            _say(console, f"in no split of {splits}, left out: {_listed(chosen.left_out)}")
        if not (splits or all_in or given.splits):
            _caution_other_split(console, folder.name, len(given.units))
        _write(console, folder, given, chosen)
    except KeyboardInterrupt:
        fail("stopped; finished classes are kept, and the same command goes on from there", 130)
    _check_whole(console, folder, given, chosen, skip_unreadable)
    if all_in is None:
        _caution_unlike_published(console, load_spec(folder))
    _show(console, folder, given, chosen)


def _is_tfds(source: Path) -> bool:
    """Whether a folder, or one directly in it (a version), is a prepared TFDS directory."""
    folders = [source, *(path for path in source.iterdir() if path.is_dir())] if source.is_dir() else []
    return any(all((folder / file).is_file() for file in TFDS_FILES) for folder in folders)


def _from_tfds(source: Path, tfds_splits: tuple[str, ...] | None, skip_unreadable: bool) -> _Source:
    from episodes.sources.tfds import tfds_classes

    if skip_unreadable:
        raise HarnessError(f"--skip-unreadable is for image folders; {source} is a TensorFlow Datasets directory")
    found = tfds_classes(source, tfds_splits)
    if found.superclasses is None:
        return _Source(found.name, [(each.name, [each]) for each in found.classes], found.key)
    rest = iter(found.classes)
    units = [(superclass, list(islice(rest, count))) for superclass, count in found.superclasses]
    return _Source(found.name, units, found.key, bilevel=True)


def _from_folder(
    console: Console, source: Path, name: str | None, tfds_splits: tuple[str, ...] | None, skip_unreadable: bool
) -> _Source:
    if tfds_splits is not None:
        raise HarnessError(f"--tfds-split is for TensorFlow Datasets; {source} has no {' and '.join(TFDS_FILES)}")
    found = scan_folder(source)
    if found.ignored:
        _say(console, f"no images, going by their names, and ignored: {_listed(found.ignored)}")
    if found.hidden:
        _say(console, f"hidden or system folders, left out: {_listed(found.hidden)}")
    if found.doubtful:
        advice = "If these are splits, call every folder there train, valid or test"
        _caution(console, f"taken for classes: {_listed(found.doubtful)}. {advice}")
    if (found.source.name if name is None else name) in TRACKS:
        found = shuffled(found)
    classes = class_sources(found, partial(_say_left_out, console) if skip_unreadable else None)
    return _Source(
        found.source.name,
        [(each.name, [each]) for each in classes],
        folder_key(found),
        splits=found.splits,
        files={name: len(files) for name, files in found.classes},
    )


def _target(source: Path, out: Path, name: str) -> Path:
    """The data set's folder.

    Raises HarnessError for one inside the source or under a file, or a name that --datasets cannot take.
    """
    if not name.strip() or name.startswith((".", "-")) or any(sign in name for sign in "/\\,"):
        raise HarnessError(f"--name {name!r}: cannot name a data set; use letters, digits, '_' and '-', as in my_birds")
    if (out / name).resolve().is_relative_to(source.resolve()):
        raise HarnessError(f"{out / name}: would be written into the source {source}; choose another --out or --name")
    file = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        raise HarnessError(f"--out {out}: {file} is no folder; give a folder, in which {name}/ is made")
    return out / name


def _choose(given: _Source, source: Path, name: str, file: Path | None, all_in: str | None) -> Splits:
    units = [unit for unit, _ in given.units]
    if given.splits is not None:
        if file or all_in:
            raise HarnessError(f"{source}: its folders say which split a class is in; leave out --splits and --all-in")
        return given.splits
    if file is not None:
        return given_split(file, units)
    if all_in is not None:
        return one_split(units, all_in)
    return official_split(units, _published_sizes(name, len(units)))


def _published_sizes(name: str, units: int) -> list[int] | None:
    """Classes (of a bilevel data set, superclasses) per split as published, for a known data set that is all there."""
    if name not in KNOWN:
        return None
    sizes = [(KNOWN[name].superclasses or KNOWN[name].classes)[split] for split in SPLITS]
    return sizes if sum(sizes) == units else None


def _caution_other_split(console: Console, name: str, units: int) -> None:
    """Of a known data set whose published splits the official draw does not give."""
    sizes = _published_sizes(name, units)
    if name in KNOWN and (sizes is None or (name not in PUBLISHED_DRAWS and sum(map(bool, sizes)) > 1)):
        _caution(
            console,
            f"{name} as published has other classes in its splits than these, which are drawn at random. For numbers "
            "that compare with published ones say which class is in which split: --splits FILE.json",
        )


def _caution_unlike_published(console: Console, spec: DatasetSpec) -> None:
    """Of a known data set: other numbers of images per split mean other classes in it, or images that are not there."""
    unlike = unlike_published(spec, KNOWN[spec.name]) if spec.name in KNOWN else []
    if unlike:
        _caution(console, f"{spec.name} is not as published: {'; '.join(unlike)}")


def _write(console: Console, folder: Path, given: _Source, chosen: Splits) -> None:
    classes_of = dict(given.units)
    units = [[(unit, classes_of[unit]) for unit in split] for split in chosen.chosen]
    classes = [each for split in units for _, members in split for each in members]

    def make_spec(counts: list[int]) -> dict[str, Any]:
        if not given.bilevel:
            return flat_spec(folder.name, chosen.chosen, counts)
        named = [[(unit, [each.name for each in members]) for unit, members in split] for split in units]
        return bilevel_spec(folder.name, named, counts)

    content = [given.key, conversion_recipe(), folder.name, chosen.chosen]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    try:
        with bar(console, f"{folder.name}: classes", len(classes)) as advance:
            write_dataset(folder, classes, make_spec, key=key, advance=advance)
    except BadImage as error:
        hint = "; mend or delete it, or leave such images out with --skip-unreadable" if given.files else ""
        raise HarnessError(f"{error}{hint}") from error


def _check_whole(console: Console, folder: Path, given: _Source, chosen: Splits, skip_unreadable: bool) -> None:
    """Say how many files have no record, which may be those of a build that was killed and went on with this one."""
    if given.files is None:
        return
    files = sum(given.files[name] for split in chosen.chosen for name in split)
    lost = files - int(load_spec(folder).images_per_class.sum())
    if lost and not skip_unreadable:
        raise HarnessError(
            f"{folder}: {lost:,} images are left out, since it was built with --skip-unreadable; give that again, or "
            "delete the folder to build it anew"
        )
    if lost:
        _say(console, f"{lost:,} of {files:,} images could not be stored and are left out")


def _show(console: Console, folder: Path, given: _Source, chosen: Splits) -> None:
    """What has been written, and the command that uses it."""
    spec = load_spec(folder)
    table = Table()
    for column in ("split", *(["superclasses"] if given.bilevel else []), "classes", "images"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, units in zip(SPLITS, chosen.chosen, strict=True):
        images = spec.split(split).images_per_class
        table.add_row(split, *([f"{len(units):,}"] if given.bilevel else []), f"{len(images):,}", f"{images.sum():,}")
    console.print(Text(f"{folder.name}, in {folder}"), style="italic", soft_wrap=True)
    console.print(table)
    console.print(
        _next_command(folder, spec, fixed=given.splits is not None), markup=False, highlight=False, soft_wrap=True
    )


def _next_command(folder: Path, spec: DatasetSpec, *, fixed: bool) -> str:
    """The command that runs a benchmark on a new data set, on a split that has enough classes for it, test first.

    `fixed`: its splits are the source's own.
    """
    protocol = load_benchmark(NEXT_BENCHMARK).protocol
    ways, fewest = protocol.num_ways or protocol.min_ways, protocol.min_examples_in_class
    for split in reversed(SPLITS):
        if (spec.split(split).images_per_class >= fewest).sum() >= ways:
            words = ["metabench", "run", NEXT_BENCHMARK, "--records", str(folder.parent)]
            words += [] if " " in folder.name else ["--datasets", folder.name]  # names are separated by spaces
            words += ["--backbone", "resnet18-pocket", *([] if split == "test" else ["--split", split])]
            return f"next: {shlex.join(words)}"
    line = f"no split has {ways} classes of {fewest} images, the least that {NEXT_BENCHMARK} can draw episodes from"
    enough = not fixed and (spec.images_per_class >= fewest).sum() >= ways
    return f"{line}; --all-in test puts all classes into one split" if enough else line


def _say(console: Console, text: str) -> None:
    console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def _caution(console: Console, text: str) -> None:
    console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _say_left_out(console: Console, path: Path, reason: str) -> None:
    _say(console, f"left out {path}: {reason}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
