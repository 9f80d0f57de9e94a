"""What can go wrong between a weights file and an embedding."""

import difflib
from collections.abc import Iterable


class BackboneError(Exception):
    """Base of all errors of this room; its text is one line for the user."""


class UnknownBackbone(BackboneError):
    """No backbone of that name; the text lists those there are."""


class BadWeights(BackboneError):
    """A weights file that is missing, unsafe, incomplete or of another network."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'resnet18'?", to go behind a full stop; nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
