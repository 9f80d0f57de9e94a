"""Errors that are the user's to mend: shown as one line, without traceback."""

import difflib
from collections.abc import Iterable

from adapters.errors import AdapterError
from backbones.errors import BackboneError
from episodes.errors import EpisodesError
from results.errors import ResultsError


class HarnessError(Exception):
    """A wrong option, benchmark file or combination; its text is one line for the user."""


class NoNetwork(HarnessError):
    """Features were given without the network that made them."""


USER_ERRORS = (HarnessError, AdapterError, BackboneError, EpisodesError, ResultsError, OSError)


def unknown(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return HarnessError(f"no {kind} {name!r}.{hint} Known: {', '.join(names)}")
