"""A folder of image files as a source of records: `class/...jpg`, or `split/class/...jpg` where splits are given.

Classes and files are taken in a fixed order, whatever the file system's. What is not plainly a folder of images is
refused by name: nothing is silently lost, counted twice or read from elsewhere.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from episodes.conversion import stored_image
from episodes.errors import BadImage, MissingSource
from episodes.splits import Splits, class_order
from episodes.writing import ClassSource

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPLIT_LIKE = frozenset({*SPLIT_FOLDERS, "dev", "development", "eval", "evaluation", "holdout"})
"""Names that splits have elsewhere; which split the last ones are, only their makers know."""
NOT_IMAGES = re.compile(
    r".*\.(csv|db|h5|html?|ini|jsonl?|log|mat|md|npy|npz|pdf|pickle|pkl|py|rst|sh|tsv|txt|xlsx?|xml|ya?ml"
    r"|7z|gz|md5|rar|sha256|tar|zip)",
    re.IGNORECASE,
)
NOT_CLASSES = frozenset({"__MACOSX", "@eaDir"})
TRACKS = frozenset({"traffic_sign"})
"""Data sets whose files, in sorted order, are video tracks: neighbours show the same object."""
TRACKS_SEED = 23

LeftOut = Callable[[Path, str], None]


class FolderClass(NamedTuple):
    """A class: its name and its files, as sorted paths relative to the source, with `/`."""

    name: str
    files: tuple[str, ...]


class ImageFolder(NamedTuple):
    """What lies in an image folder.

    `classes`: in `class_order`. `splits`: where the folder itself says which class is in which split, else None.
    `ignored`: files that are no images by their suffix, relative to the source (hidden files are not even named).
    `hidden`: folders that are not looked into, since their names begin with a dot or are a system's.
    """

    source: Path
    classes: tuple[FolderClass, ...]
    splits: Splits | None
    ignored: tuple[str, ...]
    hidden: tuple[str, ...]

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Classes that are called like a split and hold nothing but folders, which may be the classes meant."""
        return tuple(
            name
            for name, files in self.classes
            if self.splits is None and name.casefold() in SPLIT_LIKE and all(file.count("/") > 1 for file in files)
        )


class _PassedOver(NamedTuple):
    """What is no image, relative to the source, gathered while looking through it."""

    files: list[str]
    folders: list[str]


def scan_folder(source: Path) -> ImageFolder:
    """Look through an image folder; no image is opened.

    Raises MissingSource, naming the path, for a folder without classes, a class without images, an image outside any
    class, a class that is in two splits, and links that lead out of the folder or to folders.
    """
    source = Path(source).resolve()
    if not source.is_dir():
        raise MissingSource(f"{source}: no such folder of images")
    passed = _PassedOver([], [])
    tops = _class_folders(source, "", passed)
    if tops and all(top.casefold() in SPLIT_FOLDERS for top in tops):
        return _with_splits(source, tops, passed)
    classes = _classes(source, tops, passed)
    if len(classes) == 1 and all(file.count("/") > 1 for file in classes[0].files):
        inner = source / classes[0].name
        raise MissingSource(f"{source}: its only folder holds folders; if those are the classes, give {inner}")
    return ImageFolder(source, classes, None, tuple(passed.files), tuple(passed.folders))


def shuffled(folder: ImageFolder) -> ImageFolder:
    """The files of each class in a seeded random order, as the official converter stores traffic_sign.

    Readers that shuffle little or not at all would put frames of one track into support and query (issue 54 of
    google-research/meta-dataset).
    """
    classes = []
    for name, files in folder.classes:
        order = np.random.RandomState(TRACKS_SEED).permutation(len(files))
        classes.append(FolderClass(name, tuple(files[i] for i in order)))
    return folder._replace(classes=tuple(classes))


def folder_key(folder: ImageFolder) -> str:
    """Hex digest of what decides the images of its classes: names, sizes and times of the files."""
    digest = hashlib.sha256(b"image folder")
    for name, files in folder.classes:
        digest.update(json.dumps([name, len(files)]).encode())
        for file in files:
            status = (folder.source / file).stat()
            digest.update(os.fsencode(f"{file}\0{status.st_size} {status.st_mtime_ns}\0"))
    return digest.hexdigest()


def class_sources(folder: ImageFolder, left_out: LeftOut | None = None) -> list[ClassSource]:
    """The classes as `write_dataset` takes them.

    An image that cannot be stored raises BadImage naming its file; with `left_out` it is told to that (path, reason)
    and the class goes on, unless none of its images can be: MissingSource.
    """
    return [
        ClassSource(found.name, functools.partial(_stored, folder.source, found, left_out)) for found in folder.classes
    ]


def _stored(source: Path, found: FolderClass, left_out: LeftOut | None) -> Iterator[bytes]:
    stored = 0
    for file in found.files:
        path = source / file
        try:
            image = stored_image(path.read_bytes())
        except BadImage as error:
            if left_out is None:
                raise BadImage(f"{path}: {error}") from error
            left_out(path, str(error))
        else:
            yield image
            stored += 1
    if not stored:
        raise MissingSource(f"{source}: class {found.name!r} has no readable image among its {len(found.files)} files")


def _with_splits(source: Path, tops: Sequence[str], passed: _PassedOver) -> ImageFolder:
    """The layout `split/class/...`."""
    found: dict[str, tuple[FolderClass, ...]] = {}
    split_of: dict[str, str] = {}
    for top in tops:
        split = SPLIT_FOLDERS[top.casefold()]
        if split in found:
            raise MissingSource(f"{source / top}: a second folder of {split} classes; put them into one")
        found[split] = _classes(source, _class_folders(source, top, passed), passed)
        for name, _ in found[split]:
            if name in split_of:
                raise MissingSource(
                    f"{source}: class {name!r} is in {split_of[name]} and in {split}, but few-shot splits share no "
                    "class; build from one folder per class, or from one of these folders alone"
                )
            split_of[name] = split
    names = {split: tuple(name for name, _ in classes) for split, classes in found.items()}
    by_name = {each.name: each for classes in found.values() for each in classes}
    ordered = tuple(by_name[name] for name in class_order(by_name))
    return ImageFolder(source, ordered, Splits(**names), tuple(passed.files), tuple(passed.folders))


def _class_folders(source: Path, folder: str, passed: _PassedOver) -> list[str]:
    """The folders directly in `folder`. Raises MissingSource for an image that lies beside them."""
    folders = []
    for path, is_folder in _visible(source, folder, passed):
        if is_folder:
            folders.append(path)
        elif NOT_IMAGES.fullmatch(path) or "." not in path:
            passed.files.append(path)
        else:
            raise MissingSource(f"{source / path}: lies outside any class; images belong into one folder per class")
    return folders


def _classes(source: Path, folders: Sequence[str], passed: _PassedOver) -> tuple[FolderClass, ...]:
    """The classes that lie in these folders, in `class_order`."""
    if not folders:
        raise MissingSource(f"{source}: no classes; wanted is one folder per class, or train/, valid/, test/ of such")
    path_of = {path.rpartition("/")[2]: path for path in folders}
    classes = []
    for name in class_order(path_of):
        files = tuple(_files(source, path_of[name], passed))
        if not files:
            raise MissingSource(f"{source / path_of[name]}: a class without images; add some or delete the folder")
        classes.append(FolderClass(name, files))
    return tuple(classes)


def _files(source: Path, folder: str, passed: _PassedOver) -> Iterator[str]:
    """The image files in a folder and below, in sorted order of their paths."""
    for path, is_folder in _visible(source, folder, passed):
        if is_folder:
            yield from _files(source, path, passed)
        elif NOT_IMAGES.fullmatch(path):
            passed.files.append(path)
        else:
            yield path


def _visible(source: Path, folder: str, passed: _PassedOver) -> list[tuple[str, bool]]:
    """(path relative to the source, whether it is a folder) of all in a folder but hidden entries, sorted.

    Raises MissingSource for links that are not followed, what is neither file nor folder, and names that no spec holds
    and no terminal shows.
    """
    found = []
    with os.scandir(source / folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in NOT_CLASSES:
                if entry.is_dir(follow_symlinks=False):
                    passed.folders.append(path.encode(errors="replace").decode())
                continue
            if entry.name.encode(errors="ignore").decode() != entry.name:
                raise MissingSource(f"{source / folder}: the name {entry.name!r} is not valid UTF-8; rename it")
            if entry.is_symlink():
                _check_link(source, Path(entry.path))
            if not entry.is_dir() and not entry.is_file():
                raise MissingSource(f"{entry.path}: neither a file nor a folder; delete it")
            found.append((path, entry.is_dir()))
    return found


def _check_link(source: Path, link: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop, up to Python 3.12
        raise MissingSource(f"{link}: a link to nothing; delete it") from error
    if not target.is_relative_to(source):
        raise MissingSource(f"{link}: a link that leads out of {source}; copy there what it leads to")
    if target.is_dir():
        raise MissingSource(f"{link}: a link to a folder, whose images would count twice; delete it or copy them")
