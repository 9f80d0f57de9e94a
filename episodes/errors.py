"""What can be wrong with records, specs, images and plans. Every message names the file, offset or key."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,  # a flipped "encrypted" flag; NotImplementedError, a flipped compression method, is one of these
    MemoryError,  # an array of an absurd size
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What NumPy and zipfile raise on a `.npz` or `.npy` whose bytes were cut or changed."""


class EpisodesError(Exception):
    """Base of all errors of this room; its text is one line for the user."""


class CorruptRecord(EpisodesError):
    """A TFRecord file whose bytes contradict themselves.

    `path`: the file; `offset`: byte position of the record; `reason`: what failed there.
    """

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}: byte {offset}: {reason}")
        self.path, self.offset, self.reason = path, offset, reason

    def __reduce__(self) -> tuple[type["CorruptRecord"], tuple[Path, int, str]]:
        return type(self), (self.path, self.offset, self.reason)


class BadExample(EpisodesError):
    """A record payload that is not a Meta-Dataset example (one `image`, one `label`)."""


class BadImage(EpisodesError):
    """Image bytes that cannot be decoded, or that claim an absurd size."""


class DecodingStopped(EpisodesError):
    """A process that decodes images has ended before its work."""


class BadSpec(EpisodesError):
    """A `dataset_spec.json` that is missing, malformed, or disagrees with its files."""


class BadProtocol(EpisodesError):
    """An episode configuration that contradicts itself."""


class NotEnoughImages(EpisodesError):
    """The protocol asks a split for more classes or images than it has."""


class BadFeatures(EpisodesError):
    """A file of pre-computed features that cannot be used."""


class BadPlan(EpisodesError):
    """A plan file that cannot be read, or a plan that cannot be made."""


class MissingSource(EpisodesError):
    """A data set that cannot be made or found, with what to do about it."""
