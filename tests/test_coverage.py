"""The coverage simulations run, and say what they claim to."""

import io

import numpy as np
from rich.console import Console

from benches import coverage, coverage_ncc


def test_the_table_has_a_line_for_every_world():
    out = io.StringIO()
    assert coverage.main(["--repeats", "2", "--classes", "10", "30"], Console(file=out, width=120)) == 0
    lines = [line.split("│")[1:3] for line in out.getvalue().splitlines() if line.startswith("│")]
    ways = [(classes.strip(), way.strip()) for classes, way in lines]
    assert ways == [*[("10", "5-10"), ("30", "5-30")], *[("10", "5"), ("30", "5")] * 2, ("10", "5-10"), ("30", "5-30")]


def test_a_worlds_true_mean_is_that_of_many_pools():
    world, rng = coverage.World(40, episodes=200), np.random.default_rng(0)
    means = [coverage.draw(world, rng)[0].mean() for _ in range(300)]
    assert abs(np.mean(means) - world.truth) < 3 * np.std(means) / np.sqrt(300)


def test_under_a_classifier_the_data_interval_holds_more_often_than_the_conventional_one(capsys):
    assert coverage_ncc.main(["--repeats", "20", "--episodes", "100", "--classes", "30"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    shares = [float(word.strip("%,")) for word in line.split() if "%" in word]
    assert shares[0] < 60
    assert shares[1] >= 85
