"""Which commit of a folder was at work, and whether it had changes; nothing where there is no repository."""

import subprocess
from pathlib import Path
from typing import TypedDict

WAIT_S = 10.0


class GitState(TypedDict):
    """`folder`: the repository's root; `dirty`: tracked files have changes that no commit has (None: not known)."""

    folder: str
    commit: str
    dirty: bool | None


def git_state(folder: Path) -> GitState | None:
    """The repository that holds `folder`; None without one, without a commit, and without git."""
    answer = _git(folder, "rev-parse", "--show-toplevel", "HEAD")
    if answer is None:
        return None
    root, commit = answer.splitlines()
    changes = _git(Path(root), "status", "--porcelain", "--untracked-files=no")
    return GitState(folder=root, commit=commit, dirty=None if changes is None else bool(changes.strip()))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=WAIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
