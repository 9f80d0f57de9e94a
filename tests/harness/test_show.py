import numpy as np
import pytest
from PIL import Image

from results.logits import read_logits


@pytest.fixture
def show(metabench):
    """Show an episode of the tiny benchmark: show("reds", 2, *options) -> Outcome."""
    return lambda *arguments: metabench("show", "tiny.toml", *arguments, "--records", "records")


def test_an_episode_is_drawn_and_agrees_with_its_row_and_logits(run_ok, show, workspace):
    run_ok("--adapters", "url", "--save-logits")
    done = show("blues", 4, "--adapter", "url")
    assert done.status == 0, done.err
    assert "blues · test · episode 4 · seed 0" in done.out
    assert "%, the same\n" in done.out
    assert "logits equal to the bit" in done.out
    assert "before the last of 40" in done.out
    assert Image.open(workspace / "runs/episodes/blues-4-url.png").width > 1000


def test_showing_stores_nothing(show, workspace):
    done = show("reds", 0, "--to", "a.png")
    assert "stored    nothing: runs has no results" in done.out
    assert (workspace / "a.png").is_file()
    assert not (workspace / "runs").exists()


@pytest.mark.parametrize("adapter", ["copa(heads=transformer,steps=2)", "tsa(steps=2)", "finetune(steps=2)"])
def test_methods_on_maps_and_on_images_are_shown(show, run_tiny, adapter, monkeypatch):
    monkeypatch.setenv("METABENCH_CACHE", "cache")
    network = ("--backbone", "resnet18-pocket-random")
    assert run_tiny("--adapters", adapter, "--tasks", 1, "--datasets", "reds", *network).status == 0
    done = show("reds", 0, "--adapter", adapter, "--to", "a.png", *network)
    assert done.status == 0, done.err
    assert "%, the same\n" in done.out
    assert "before the last of 2" in done.out


def test_a_method_without_losses_says_so(show):
    assert "this method tells none" in show("reds", 0, "--adapter", "ncc", "--to", "a.png").out


def test_an_episode_beyond_the_plan_is_refused(show):
    assert "no episode 6: the plan has 6, from 0 to 5; give --tasks 7" in show("reds", 6).error
    assert show("reds", 6, "--tasks", 7, "--to", "a.png").status == 0


def test_an_unknown_domain_gets_the_nearest_name(show):
    assert "Did you mean 'reds'?" in show("red", 0).error


def test_two_methods_at_a_time_are_refused(show):
    assert "one is shown at a time" in show("reds", 0, "--adapter", "ncc,url").error


def test_a_picture_of_unknown_kind_is_refused_before_anything_is_computed(show, workspace):
    assert "a picture ends in" in show("reds", 0, "--to", "a.bmp").error
    assert not (workspace / "cache/embeddings").exists()


def test_the_shown_logits_are_the_runs_whatever_the_task(run_ok, show, workspace):
    run_ok("--save-logits", "--datasets", "reds")
    tasks = sorted(episode.task for _, episode in read_logits(workspace / "runs"))
    assert tasks == list(range(6))
    assert all("equal to the bit" in show("reds", task, "--to", "a.png").out for task in (0, 5))
    assert np.isfinite([episode.accuracy for _, episode in read_logits(workspace / "runs")]).all()
