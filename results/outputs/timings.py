"""timings.csv: seconds per episode, apart from the leaderboard, since they differ from run to run."""

import pandas as pd

from results.entries import plain_name
from results.outputs.delimited import csv_text

COLUMNS = ("method", "backbone", "domain", "episodes", "mean_s", "median_s")


def timings_csv(rows: pd.DataFrame) -> str:
    """A line per method, backbone and domain, in alphabetical order; `rows` as for `leaderboard`."""
    ordered = rows.sort_values("wall_s")  # so that sums are the same to the last bit
    seconds = ordered.groupby(["method", "backbone", "domain"])["wall_s"].agg(["count", "mean", "median"]).reset_index()
    lines = [
        (plain_name(name, backbone), backbone, domain, count, f"{mean:.6f}", f"{median:.6f}")
        for name, backbone, domain, count, mean, median in seconds.itertuples(index=False)
    ]
    return csv_text([COLUMNS, *lines])
