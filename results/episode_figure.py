"""A picture of one episode: a line for each class, its support images on the left, its queries on the right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from results.errors import FigureError
from results.files import open_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "pdf", "svg")
SHOWN = 10
"""Images of a class on either side at most."""
SIDE = 64  # pixels of an image in the picture
CELL_W, CELL_H = SIDE + 6, SIDE + 18  # an image, and the word beneath a query
NAMES_W, GAP = 150, 40
NAME_LENGTH, WORD_LENGTH = 22, 11
DPI = 100
RIGHT, WRONG = "#2e7d32", "#c62828"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EpisodePicture:
    """What is drawn. Images: (H, W, 3) uint8 of any size; labels and predictions: (n,) 0..way-1; `losses`: (steps,),
    before each step of adaptation, or None."""

    title: str
    class_names: list[str]
    support: list[np.ndarray]
    support_labels: np.ndarray
    queries: list[np.ndarray]
    query_labels: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray | None = None


def check_picture_path(path: Path) -> None:
    """Raise FigureError for a file whose ending names no picture that can be drawn."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise FigureError(f"{path}: a picture ends in {', '.join(f'.{kind}' for kind in FORMATS)}")


def draw_episode(path: Path, picture: EpisodePicture) -> None:
    """Write the picture, in the format that the file's ending says; wrong answers are framed and say what was seen.

    Of a class with more than SHOWN images on a side the first are drawn, and the number of the others is given; of
    queries the wrong ones come first. Raises FigureError for another ending and WriteError naming the file.
    """
    from matplotlib.figure import Figure

    check_picture_path(path)
    way = len(picture.class_names)
    width, height = NAMES_W + 2 * (SHOWN + 1) * CELL_W + GAP, way * CELL_H
    losses_h = 0 if picture.losses is None or not len(picture.losses) else 180
    top, inches = 70, (width + 20) / DPI
    total = top + height + losses_h + 10
    figure = Figure(figsize=(inches, total / DPI), dpi=DPI, facecolor="white")
    axes: Axes = figure.add_axes((10 / (width + 20), (losses_h + 10) / total, width / (width + 20), height / total))
    _draw_classes(axes, picture, width, height)
    figure.text(0.01, 1 - 8 / total, picture.title, va="top", fontsize=10)
    if losses_h:
        box = (0.06, 45 / total, 0.9, (losses_h - 70) / total)
        _draw_losses(figure.add_axes(box), picture.losses)
    with open_whole(path) as file:
        figure.savefig(file, format=path.suffix.lower().removeprefix("."), metadata=_undated(path))


def _draw_classes(axes: Axes, picture: EpisodePicture, width: int, height: int) -> None:
    canvas = np.full((height, width, 3), 255, np.uint8)
    queries_x = NAMES_W + (SHOWN + 1) * CELL_W + GAP
    for label, name in enumerate(picture.class_names):
        y = label * CELL_H
        text: dict[str, Any] = {"fontsize": 8, "va": "center"}
        axes.text(0, y + SIDE / 2, f"{label}  {_short(name, NAME_LENGTH)}", **text)
        support = np.flatnonzero(picture.support_labels == label)
        for column, i in enumerate(support[:SHOWN]):
            _paste(canvas, picture.support[i], NAMES_W + column * CELL_W, y)
        queries = np.flatnonzero(picture.query_labels == label)
        queries = queries[np.argsort(picture.predicted[queries] == label, kind="stable")]
        for column, i in enumerate(queries[:SHOWN]):
            x = queries_x + column * CELL_W
            _paste(canvas, picture.queries[i], x, y)
            _mark(axes, picture, int(picture.predicted[i]), label, x, y)
        for beyond, x in ((len(support), NAMES_W), (len(queries), queries_x)):
            if beyond > SHOWN:
                axes.text(x + SHOWN * CELL_W + 4, y + SIDE / 2, f"+ {beyond - SHOWN}", color="grey", **text)
    axes.imshow(canvas, interpolation="none", aspect="auto", extent=(0, width, height, 0))
    for x, heading in ((NAMES_W, "support"), (queries_x, "queries (wrong ones first, and what they were taken for)")):
        axes.text(x, -8, heading, fontsize=9, color="grey", va="bottom")
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()


def _mark(axes: Axes, picture: EpisodePicture, predicted: int, label: int, x: int, y: int) -> None:
    """A frame around a query; beneath a wrong one, the class that it was taken for."""
    from matplotlib.patches import Rectangle

    wrong = predicted != label
    frame = Rectangle(
        (x - 1, y + 1), SIDE + 2, SIDE + 2, fill=False, lw=2.5 if wrong else 1, ec=WRONG if wrong else RIGHT
    )
    axes.add_patch(frame)
    if wrong:
        word = f"{predicted} {_short(picture.class_names[predicted], WORD_LENGTH)}"
        axes.text(x + SIDE / 2, y + SIDE + 5, word, fontsize=6, color=WRONG, ha="center", va="top", parse_math=False)


def _draw_losses(axes: Axes, losses: np.ndarray | None) -> None:
    assert losses is not None
    axes.plot(np.arange(len(losses)), losses, color="#1565c0", lw=1.5)
    axes.set_xlabel("step of adaptation", fontsize=8)
    axes.set_ylabel("loss on the support", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _paste(canvas: np.ndarray, image: np.ndarray, x: int, y: int) -> None:
    """Put an image, no larger than SIDE and in its own proportions, in the middle of its place."""
    from PIL import Image

    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    kept = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    small = np.asarray(Image.fromarray(image).resize(size, kept))
    left, upper = x + (SIDE - size[0]) // 2, y + 2 + (SIDE - size[1]) // 2
    canvas[upper : upper + size[1], left : left + size[0]] = small


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _undated(path: Path) -> dict[str, None]:
    """Equal pictures are equal files: vector formats would hold the time."""
    return {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower(), {})
