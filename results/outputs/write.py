"""All outputs of a leaderboard into one folder."""

from pathlib import Path

import pandas as pd

from results.files import write_whole
from results.leaderboard import Leaderboard
from results.outputs import episodes, timings
from results.outputs.latex import leaderboard_latex
from results.outputs.leaderboard_csv import leaderboard_csv
from results.outputs.manifest import leaderboard_json
from results.outputs.markdown import leaderboard_markdown
from results.outputs.table import shown

FORMATS = {"md": "leaderboard.md", "latex": "leaderboard.tex", "csv": "leaderboard.csv", "json": "leaderboard.json"}
"""The files that hold the leaderboard itself, by the name of their format."""


def write_outputs(board: Leaderboard, rows: pd.DataFrame, folder: Path) -> list[Path]:
    """Write every file, leaderboard.json last; equal rows, in whatever order, give equal bytes.

    rows: those of `board`, with all fields of `Row` and what `name_methods` adds. Raises WriteError.
    """
    table = shown(board)
    texts = {
        folder / FORMATS["csv"]: leaderboard_csv(board),
        folder / "timings.csv": timings.timings_csv(rows),
        folder / FORMATS["md"]: leaderboard_markdown(table),
        folder / FORMATS["latex"]: leaderboard_latex(table),
    }
    for path, text in texts.items():
        write_whole(path, text.encode())
    long_form = episodes.episode_table(rows, board.plan)
    episodes.write_episodes_csv(long_form, folder / "episodes.csv")
    episodes.write_episodes_parquet(long_form, folder / "episodes.parquet")
    paths = [*texts, folder / "episodes.csv", folder / "episodes.parquet"]
    write_whole(folder / FORMATS["json"], leaderboard_json(board, paths).encode())
    return [*paths, folder / FORMATS["json"]]
