"""A table of accuracies in the form of the Meta-Dataset leaderboard, to hand in or to compare with it."""

from collections.abc import Mapping

import pandas as pd

from results.ranks import OFFICIAL10, average_ranks, leading

TITLES = dict(
    zip(
        OFFICIAL10,
        (
            *("ILSVRC (test)", "Omniglot", "Aircraft", "Birds", "Textures"),
            *("QuickDraw", "Fungi", "VGG Flower", "Traffic signs", "MSCOCO"),
        ),
        strict=True,
    )
)
_WIDTH = 27  # of a cell


def official_markdown(cells: pd.DataFrame, references: Mapping[str, int] | None = None) -> str:
    """The leaderboard's table (github.com/google-research/meta-dataset) of cells(dataset, method, accuracy, ci95).

    Accuracy and ci95 in percent. A line per method with all ten official data sets, the best average rank first, equal
    ones in the order of the alphabet; other data sets are left out, and so are methods that lack one of the ten, before
    anything is ranked. In bold, all who share the lowest rank of a data set and the lowest average rank. `references`:
    numbers of the papers, shown behind the methods' names.
    """
    whole = cells[cells["dataset"].isin(OFFICIAL10)]
    whole = whole[whole.groupby("method")["dataset"].transform("nunique") == len(OFFICIAL10)]
    ranks = average_ranks(whole)
    ranks = ranks.assign(bold=leading(ranks)).merge(whole, on=["dataset", "method"])
    columns = (ranks[column] for column in ("dataset", "method", "accuracy", "ci95", "rank", "bold"))
    shown = {(dataset, method): _cell(*cell) for dataset, method, *cell in zip(*columns, strict=True)}
    averages = ranks.groupby("method")["rank"].mean().reset_index().sort_values(["rank", "method"])
    lines = [["Method", "Avg rank", *TITLES.values()], ["-" * _WIDTH] * (2 + len(TITLES))]
    for method, average in averages.itertuples(index=False):
        name = f"{method} [[{references[method]}]]" if references and method in references else method
        rank = f"**{average:g}**" if average == averages["rank"].min() else f"{average:g}"
        lines.append([name, rank, *(shown[dataset, method] for dataset in OFFICIAL10)])
    return "".join("|".join(f"{cell:<{_WIDTH}}" for cell in line).rstrip() + "\n" for line in lines)


def _cell(accuracy: float, ci95: float, rank: float, bold: bool) -> str:
    mark = "**" if bold else ""
    return f"{mark}{accuracy:5.2f}{mark}±{ci95:4.2f}&nbsp;(rank {rank:g})"
