"""The analysis as pictures: embeddings with their prototypes, gaps, gap against loss, spectra; PNG and SVG each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from results.analysis.tables import FROZEN
from results.analysis.vectors import unit
from results.files import open_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A6761D")
_FROZEN_COLOUR = "#7F7F7F"
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "metabench",
    "svg.fonttype": "none",
}


class Example(NamedTuple):
    """The embedding of one episode: support (n, d), labels (n,), prototypes (way, d), and its gap of unit vectors."""

    domain: str
    method: str
    task: int
    support: np.ndarray
    labels: np.ndarray
    prototypes: np.ndarray
    gap: float


def write_figures(
    folder: Path, examples: Sequence[Example], summary: pd.DataFrame, sweep: pd.DataFrame, spectra: pd.DataFrame
) -> list[str]:
    """Write `embedding`, `gap`, `gap-and-loss`, `singular-values` and `explained-variance`, each .png and .svg, to
    `folder`; their names. Tables as `results.analysis.tables` makes them."""
    import matplotlib as mpl

    made: dict[str, Callable[[], Figure]] = {
        "embedding": lambda: embedding_figure(examples),
        "gap": lambda: gap_figure(summary),
        "gap-and-loss": lambda: sweep_figure(sweep),
        "singular-values": lambda: spectrum_figure(spectra, "singular value"),
        "explained-variance": lambda: spectrum_figure(spectra, "explained variance"),
    }
    with mpl.rc_context(_STYLE):
        for name, draw in made.items():
            _save(draw(), folder / name)
    return [*made]


def embedding_figure(examples: Sequence[Example]) -> Figure:
    """Images (dots) and prototypes (stars) of an episode, coloured by class: a row per domain, a column per method.

    Unit vectors on the first two principal components of both kinds together, so that the gap shows where it is large.
    """
    from matplotlib.figure import Figure

    domains, methods = _in_order(e.domain for e in examples), _in_order(e.method for e in examples)
    figure = Figure(figsize=(2.3 * len(methods), 2.2 * len(domains)), layout="constrained")
    axes = figure.subplots(len(domains), len(methods), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_aspect("equal", "datalim")
    for example in examples:
        axis = axes[domains.index(example.domain), methods.index(example.method)]
        _scatter(axis, example)
        axis.set_title(f"{example.method}: ‖Δ‖ = {example.gap:.2f}")
        if example.method == methods[0]:
            axis.set_ylabel(f"{example.domain}, episode {example.task}")
    return figure


def gap_figure(summary: pd.DataFrame) -> Figure:
    """Mean gap of unit vectors and its 95% interval: a row per domain, a colour per method."""
    from matplotlib.figure import Figure

    gaps = summary[summary["measure"] == "gap"]
    domains, methods = _in_order(gaps["domain"]), _in_order(gaps["method"])
    figure = Figure(figsize=(6, 1.2 + len(domains) * (0.15 + 0.13 * len(methods))), layout="constrained")
    axis = figure.subplots()
    colours = _colours(methods)
    for place, method in enumerate(methods):
        own = gaps[gaps["method"] == method].set_index("domain").reindex(domains)
        heights = np.arange(len(domains)) + 0.7 * ((place + 0.5) / len(methods) - 0.5)
        axis.errorbar(own["mean"], heights, xerr=own["ci95"], fmt="o", ms=4, color=colours[method], label=method)
    axis.set(yticks=range(len(domains)), yticklabels=domains, xlabel="gap ‖Δ‖ of unit vectors, mean ±95% interval")
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    return figure


def sweep_figure(sweep: pd.DataFrame) -> Figure:
    """Validation loss against the gap as both kinds are moved apart; a dot where the method itself is."""

    def draw(axis: Axes, method: str, part: pd.DataFrame, colour: str) -> None:
        axis.plot(part["along"], part["loss"], color=colour, label=method)
        here = part[part["shift"] == 0]
        axis.plot(here["along"], here["loss"], "o", ms=5, color=colour)

    return _small_multiples(sweep, draw, "gap of unit vectors in its own direction", "validation loss")


def spectrum_figure(spectra: pd.DataFrame, kind: str) -> Figure:
    """Mean curves of one `kind`: "singular value" (as part of the largest, logarithmic) or "explained variance"."""
    logarithmic = kind == "singular value"

    def draw(axis: Axes, method: str, part: pd.DataFrame, colour: str) -> None:
        axis.plot(part["component"], part["value"], color=colour, label=method)
        if logarithmic:
            axis.set(yscale="log", ylim=(1e-3, 1.2))
        else:
            axis.set(ylim=(0, 1.02), xscale="log")
            axis.axhline(0.8, color="#BBBBBB", lw=0.8, zorder=0)

    return _small_multiples(spectra[spectra["kind"] == kind], draw, "component", kind)


def _small_multiples(
    table: pd.DataFrame, draw: Callable[[Axes, str, pd.DataFrame, str], None], xlabel: str, ylabel: str
) -> Figure:
    """A panel per domain, a line per method."""
    from matplotlib.figure import Figure

    domains, methods = _in_order(table["domain"]), _in_order(table["method"])
    columns = max(1, min(COLUMNS, len(domains)))
    rows = max(1, -(-len(domains) // columns))
    figure = Figure(figsize=(max(4.0, 2.4 * columns), 0.6 + 2.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    colours = _colours(methods)
    for axis in axes.flat[len(domains) :]:
        axis.set_axis_off()
    for axis, domain in zip(axes.flat, domains, strict=False):
        here = table[table["domain"] == domain]
        for method in _in_order(here["method"]):
            draw(axis, method, here[here["method"] == method], colours[method])
        axis.set_title(domain)
        axis.grid(alpha=0.3)
    figure.supxlabel(xlabel, fontsize=8)
    figure.supylabel(ylabel, fontsize=8)
    if domains:
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return figure


def _scatter(axis: Axes, example: Example) -> None:
    images, prototypes = unit(example.support), unit(example.prototypes)
    both = np.vstack([images, prototypes])
    directions = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:2]
    places = (both - both.mean(0)) @ directions.T
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    colours = np.array([_COLOURS[k % len(_COLOURS)] for k in range(len(prototypes))])
    of_images, of_prototypes = places[: len(images)], places[len(images) :]
    axis.scatter(of_images[:, 0], of_images[:, 1], s=7, c=colours[example.labels], alpha=0.6, linewidths=0)
    star: dict[str, Any] = {"marker": "*", "edgecolors": "black", "linewidths": 0.6}
    axis.scatter(of_prototypes[:, 0], of_prototypes[:, 1], s=90, c=colours, **star)


def _colours(methods: Sequence[str]) -> dict[str, str]:
    others = [method for method in methods if method != FROZEN]
    return {FROZEN: _FROZEN_COLOUR, **{name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(others)}}


def _in_order(names: Iterable[Any]) -> list[str]:
    return [*dict.fromkeys(names)]


def _save(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    for ending, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
        with open_whole(path.with_name(f"{path.name}.{ending}")) as file:
            figure.savefig(file, format=ending, **options)
