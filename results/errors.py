"""What can go wrong between rows and the leaderboard."""

import difflib
from collections.abc import Iterable


class ResultsError(Exception):
    """Base of all errors of this room; its text is one line for the user."""


class StoreError(ResultsError):
    """The result store cannot be opened, read or written."""


class MergeError(ResultsError):
    """Stores that do not belong together."""


class StatisticsError(ResultsError):
    """Numbers that no mean, interval or rank can be made of."""


class LeaderboardError(ResultsError):
    """Rows that do not make a leaderboard of their plan."""


class WriteError(ResultsError):
    """A file cannot be written: the disk is full, or the folder is not ours to write to."""


class PublishedError(ResultsError):
    """A published table that is not shipped."""


class ContenderError(ResultsError):
    """What is to be compared is not on the plan, or may be several things."""


class LogitsError(ResultsError):
    """A file of logits that cannot be read."""


class FigureError(ResultsError):
    """A picture that cannot be drawn as asked."""


class AnalysisError(ResultsError):
    """Arrays that are not the representation of an episode."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'copa'?", to go behind a full stop; nothing where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
