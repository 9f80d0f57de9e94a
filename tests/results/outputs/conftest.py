"""Leaderboards with names that are hard on a format."""

import pytest

from results.leaderboard import leaderboard

AWKWARD = [
    "a_b & 50% #1 {x}",
    "=1+1",
    "comma, \"quote\" 'single'",
    "two\nlines\tand\rmore",
    "back\\slash | ~^$<y>*[z]`--",
]


@pytest.fixture(scope="session")
def awkward():
    """Names that CSV, Markdown, LaTeX or a spreadsheet could take for something else."""
    return AWKWARD


@pytest.fixture
def make_board(make_frame, make_plan):
    """make_board({adapter: {domain: [...]}}, names={adapter: method}, contaminated={(adapter, domain)}, icons=2)."""

    def make(accuracies, *, names=None, contaminated=(), seen=None, **planned):
        rows = make_frame(accuracies)
        rows["contaminated"] = [cell in contaminated for cell in zip(rows["adapter"], rows["domain"], strict=True)]
        rows = rows.assign(method=rows["adapter"].map(names or {name: name for name in accuracies}))
        return leaderboard(rows, make_plan(**planned), seen or {"icons": "seen", "mnist": "unseen"})

    return make
