"""Pre-computed features as files, in the place of a data set's images: `NAME.npz` with the arrays `features` and
`labels`, or `NAME.npy` with `NAME.labels.npy` beside it. Pickled arrays are never read.
"""

import hashlib
import json
from pathlib import Path
from typing import NoReturn

import numpy as np

from episodes.errors import DAMAGED_ARCHIVE, BadFeatures
from episodes.spec import SPLITS, DatasetSpec

ARCHIVE, ARRAY, LABELS = ".npz", ".npy", ".labels.npy"
_MAGIC = {ARCHIVE: b"PK", ARRAY: np.lib.format.MAGIC_PREFIX}
_CHUNK = 4096
"""Vectors that are checked at a time."""


def feature_files(place: Path, split: str) -> dict[str, Path]:
    """Data sets by name: one file, or all in a folder, or in its subfolder of the split's name where there is one.

    Raises BadFeatures when there are none, or two files of one name.
    """
    if place.is_file():
        return {place.name.removesuffix(place.suffix): place}
    folder = place / split if (place / split).is_dir() else place
    found = sorted(path for path in folder.glob("*.np[yz]") if not path.name.endswith(LABELS))
    if not found:
        why = "no such file or folder" if not place.exists() else "no features in it"
        raise BadFeatures(f"{place}: {why} (NAME{ARCHIVE} with features and labels, or NAME{ARRAY} and NAME{LABELS})")
    files: dict[str, Path] = {}
    for path in found:
        if path.stem in files:
            raise BadFeatures(f"{path}: {files[path.stem].name} is there too; take one of them away")
        files[path.stem] = path
    return files


class FeatureRecords:
    """A file of features with the interface of `DatasetRecords`; labels make its classes, images it has none.

    `folder`: the file. `split`: where all of its classes count as belonging. `features`: (n, d), or (n, K, d) of K
    networks, in float16, float32 or float64 as stored. `content`: their sha256. Raises BadFeatures, naming the file.
    """

    def __init__(self, file: Path, split: str) -> None:
        self.folder = Path(file)
        self.features, labels = _read(self.folder)
        _check_shapes(self.folder, self.features, labels)
        self.content = _checked_content(self.folder, self.features)
        names, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._order, self._bounds = np.argsort(classes, kind="stable"), np.concatenate([[0], np.cumsum(counts)])
        self._labels = hashlib.sha256(classes.astype("<i8").tobytes()).hexdigest()
        self.spec = _spec(self.folder.stem, [str(name) for name in names.tolist()], counts, split)

    def fingerprint(self, class_id: int) -> str:
        """Identity of a class's features."""
        return hashlib.sha256(f"{self.content}/{self._labels}/{class_id}".encode()).hexdigest()

    def split_fingerprint(self, split: str) -> str:
        """Identity of all images: their labels in order, so that those of two networks' features are the same."""
        return self._labels

    def encoded(self, class_id: int, record: int) -> NoReturn:
        """There are no images."""
        raise BadFeatures(f"{self.folder}: holds features, no images")

    def vectors(self, class_id: int, records: np.ndarray) -> np.ndarray:
        """(m, d) or (m, K, d) of these records of a class, in float32 (float64 if they are stored so)."""
        found = self.features[self._order[self._bounds[class_id] + records]]
        return found.astype(np.float64 if found.dtype == np.float64 else np.float32)


def _read(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels as they are stored."""
    if file.suffix not in (ARCHIVE, ARRAY):
        raise BadFeatures(f"{file}: features are read from {ARCHIVE} and {ARRAY} files")
    beside = file.with_name(file.name.removesuffix(ARRAY) + LABELS)
    if file.suffix == ARRAY and not beside.is_file():
        raise BadFeatures(f"{beside}: missing; it holds the label of each vector in {file.name}")
    for path in [file, beside] if file.suffix == ARRAY else [file]:
        _check_magic(path)
    try:
        if file.suffix == ARRAY:
            return np.load(file, mmap_mode="r", allow_pickle=False), np.load(beside, allow_pickle=False)
        with np.load(file, allow_pickle=False) as arrays:
            lacking = [name for name in ("features", "labels") if name not in arrays]
            if lacking:
                raise BadFeatures(f"{file}: no array {lacking[0]!r}; it holds {', '.join(arrays) or 'none'}")
            features, labels = arrays["features"], arrays["labels"]
            if isinstance(features, bytes) or isinstance(labels, bytes):  # what NumPy gives of any other file in it
                raise BadFeatures(f"{file}: its features or labels are no array of NumPy")
            return features, labels
    except DAMAGED_ARCHIVE as error:
        if "allow_pickle" in str(error):
            reason = "holds Python objects, which are not read since that can run code; save plain numbers and text"
        else:
            reason = f"cannot be read ({' '.join(str(error).split())})"
        raise BadFeatures(f"{file}: {reason}") from error


def _check_magic(file: Path) -> None:
    """NumPy takes whatever does not begin as its own files do for pickled objects."""
    magic = _MAGIC[file.suffix]
    try:
        with file.open("rb") as opened:
            found = opened.read(len(magic))
    except OSError as error:
        raise BadFeatures(f"{file}: cannot be read ({error.strerror})") from error
    if found != magic:
        raise BadFeatures(f"{file}: is no {file.suffix} file of NumPy, whatever its name says")


def _check_shapes(file: Path, features: np.ndarray, labels: np.ndarray) -> None:
    if features.ndim not in (2, 3) or not features.size:
        raise BadFeatures(f"{file}: features of shape {features.shape}; (n, d) is wanted, or (n, K, d) of K networks")
    if features.dtype not in (np.float16, np.float32, np.float64):
        raise BadFeatures(f"{file}: features of type {features.dtype}; float16, float32 or float64 is wanted")
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
        raise BadFeatures(
            f"{file}: labels of shape {labels.shape}, type {labels.dtype}; (n,) integers or text are wanted"
        )
    if len(labels) != len(features):
        raise BadFeatures(f"{file}: {len(features)} features, but {len(labels)} labels")


def _checked_content(file: Path, features: np.ndarray) -> str:
    """Digest of the features, once all of them are known to be finite."""
    digest = hashlib.sha256(f"{features.dtype.name} {features.shape}".encode())
    for start in range(0, len(features), _CHUNK):
        part = np.ascontiguousarray(features[start : start + _CHUNK])
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            raise BadFeatures(f"{file}: vector {start + int(np.argmin(finite))} holds NaN or infinity")
        digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _spec(name: str, class_names: list[str], images: np.ndarray, split: str) -> DatasetSpec:
    images = images.astype(np.int64)
    images.setflags(write=False)
    n, own = len(images), SPLITS.index(split)
    ids = {other: range(n if i > own else 0, n if i >= own else 0) for i, other in enumerate(SPLITS)}
    digest = hashlib.sha256(json.dumps(["features", images.tolist()]).encode()).hexdigest()
    return DatasetSpec(name, images, ids, tuple(class_names), digest=digest)
