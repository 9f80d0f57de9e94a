"""One episode, in numbers and as a picture."""

import numpy as np
import pytest
from PIL import Image

from results.episode_figure import EpisodePicture, check_picture_path, draw_episode
from results.episode_summary import summarise
from results.errors import FigureError, WriteError


def test_the_summary_counts_margins_and_confidence():
    logits = np.log(np.array([[0.8, 0.1, 0.1], [0.5, 0.25, 0.25]]))
    found = summarise(logits, np.array([0, 1]))
    assert (found.right, found.queries) == (1, 2)
    assert found.loss == pytest.approx(-(np.log(0.8) + np.log(0.25)) / 2)
    assert found.confidence == pytest.approx((0.8 + 0.5) / 2)
    assert found.margins[0] == pytest.approx(np.log(0.25 / 0.5))
    assert found.margins[-1] == pytest.approx(np.log(8))


def picture(shots=(12, 1), queries=3, **changed):
    labels, truth = np.repeat(np.arange(len(shots)), shots), np.repeat(np.arange(len(shots)), queries)
    facts = {
        "title": "an $episode$",
        "class_names": [f"$class_{i}" for i in range(len(shots))],  # no formula, whatever a name holds
        "support": [np.full((20 + i, 9, 3), 30, np.uint8) for i in range(len(labels))],
        "support_labels": labels,
        "queries": [np.full((200, 300, 3), 90, np.uint8) for _ in truth],
        "query_labels": truth,
        "predicted": np.zeros_like(truth),
    }
    return EpisodePicture(**{**facts, **changed})


def red(path):
    """Pixels in the colour of a wrong answer."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(pixels - (0xC6, 0x28, 0x28)).sum(axis=2) < 30).sum())


def test_only_wrong_answers_are_marked(tmp_path):
    draw_episode(tmp_path / "wrong.png", picture())
    draw_episode(tmp_path / "right.png", picture(predicted=picture().query_labels))
    assert red(tmp_path / "right.png") == 0
    assert red(tmp_path / "wrong.png") > 1000


def test_the_losses_get_a_panel_of_their_own(tmp_path):
    draw_episode(tmp_path / "none.png", picture())
    draw_episode(tmp_path / "losses.png", picture(losses=np.array([2.0, 1.0])))
    heights = [Image.open(tmp_path / f"{name}.png").height for name in ("none", "losses")]
    assert heights[1] > heights[0]


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_same_picture_is_the_same_file(tmp_path, kind):
    first, second = (tmp_path / f"{name}.{kind}" for name in "ab")
    draw_episode(first, picture())
    draw_episode(second, picture())
    assert first.read_bytes() == second.read_bytes()


def test_an_ending_that_is_no_picture_is_refused(tmp_path):
    with pytest.raises(FigureError, match=r"x.bmp: a picture ends in .png, .pdf, .svg"):
        check_picture_path(tmp_path / "x.bmp")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file/x.png"):
        draw_episode(tmp_path / "file/x.png", picture())
