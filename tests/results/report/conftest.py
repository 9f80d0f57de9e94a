"""Rows of a plan with episodes of different ways and shots, and what figures are made of."""

import numpy as np
import pandas as pd
import pytest

from results.leaderboard import leaderboard, seen_states
from results.report.aligned import align

TASKS = 60
DOMAINS = ("icons", "mnist", "sprites")
QUALITY = {"ncc": 0.60, "url": 0.66, "copa": 0.67}


@pytest.fixture
def plan(make_plan):
    return make_plan(**dict.fromkeys(DOMAINS, TASKS))


@pytest.fixture
def rows(make_frame):
    """Three methods, three domains, 60 episodes each; url and copa are better than ncc on the same episodes."""
    rng = np.random.default_rng(0)
    ease = {domain: rng.normal(0, 0.1, TASKS) for domain in DOMAINS}
    frame = make_frame(
        {
            method: {d: np.clip(quality + ease[d] + rng.normal(0, 0.01, TASKS), 0, 1) for d in DOMAINS}
            for method, quality in QUALITY.items()
        }
    )
    way = {(d, task): int(rng.integers(5, 21)) for d in DOMAINS for task in range(TASKS)}
    shots = {key: int(rng.integers(1, 30)) for key in way}
    keys = list(zip(frame["domain"], frame["task"], strict=True))
    return frame.assign(way=[way[k] for k in keys], n_support=[way[k] * shots[k] for k in keys])


@pytest.fixture
def board(rows, plan):
    return leaderboard(rows, plan, seen_states(rows))


@pytest.fixture
def episodes(rows, plan, board):
    return align(rows, plan, board.methods["method"].tolist())


@pytest.fixture
def without():
    """without(rows, method, domain, task): the same rows less that one."""

    def dropped(rows, method, domain, task):
        gone = (rows["method"] == method) & (rows["domain"] == domain) & (rows["task"] == task)
        assert gone.sum() == 1
        return rows[~gone]

    return dropped


@pytest.fixture
def shuffled():
    """shuffled(rows, seed): the same rows in another order."""

    def mixed(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        return rows.sample(frac=1, random_state=seed)

    return mixed
