"""Plans are kept by what they are sampled from."""

import pytest

from episodes.plan import Plan
from episodes.sampling import EpisodeConfig
from harness.plan_cache import keep_plan, kept_plan, plan_path

FACTS = {"split": "test", "protocol": EpisodeConfig(), "seed": 0, "tasks": 5}


def path_of(cache, benchmark="pocket", digests=None, **changed):
    return plan_path(cache, benchmark, digests or {"a": "1", "b": "2"}, **{**FACTS, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"benchmark": "other"},
        {"digests": {"a": "1"}},
        {"digests": {"a": "1", "b": "3"}},
        {"digests": {"b": "2", "a": "1"}},
        {"split": "valid"},
        {"protocol": EpisodeConfig(max_ways=20)},
        {"seed": 1},
        {"tasks": 6},
    ],
)
def test_whatever_changes_the_episodes_changes_the_place_of_the_plan(tmp_path, changed):
    assert path_of(tmp_path, **changed) != path_of(tmp_path) == path_of(tmp_path)


def test_a_kept_plan_is_the_plan_and_a_damaged_one_is_none(tmp_path):
    plan, path = Plan("pocket", "test", 0, 5, ()), path_of(tmp_path)
    assert kept_plan(path) is None
    keep_plan(plan, path)
    kept = kept_plan(path)
    assert kept is not None and kept.hash == plan.hash
    path.write_bytes(path.read_bytes()[:-9])
    assert kept_plan(path) is None


def test_a_plan_that_cannot_be_kept_is_no_error(tmp_path):
    (tmp_path / "plans").write_text("a file where the folder should be")
    keep_plan(Plan("pocket", "test", 0, 5, ()), path_of(tmp_path))
    assert kept_plan(path_of(tmp_path)) is None
