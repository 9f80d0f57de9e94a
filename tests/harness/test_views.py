"""Augmented copies of support images: what they are, and how an adapter is given them."""

import json
import sqlite3

import pytest
import torch

from adapters.contract import Views
from harness.views import augmented

IMAGES = torch.rand(3, 3, 84, 84, generator=torch.Generator().manual_seed(0)) * 2 - 1
HASH = "ab" * 32


def copies(count, seed=0, episode_hash=HASH):
    return augmented(IMAGES, Views(count), seed=seed, episode_hash=episode_hash)


def test_copies_come_round_by_round_and_every_image_changes_in_its_own_way():
    two = copies(2)
    assert two.shape == (6, 3, 84, 84)
    assert two.abs().max() <= 1
    assert torch.equal(two[:3], copies(1))
    assert not torch.equal(two[:3], two[3:])
    assert not any(torch.equal(copy, image) for copy, image in zip(two, IMAGES.repeat(2, 1, 1, 1), strict=True))


def test_copies_depend_on_the_seed_and_the_episode_alone():
    torch.manual_seed(1)
    first = copies(2)
    torch.manual_seed(2)
    assert torch.equal(copies(2), first)
    assert not torch.equal(copies(2, seed=1), first)
    assert not torch.equal(copies(2, episode_hash="cd" * 32), first)


def test_colours_stay_near_those_of_the_image():
    red = torch.tensor([0.5, -0.5, -0.5]).view(1, 3, 1, 1).expand(8, 3, 84, 84)
    moved = augmented(red, Views(3), seed=0, episode_hash=HASH).mean(dim=(2, 3))
    assert (moved[:, 0] > moved[:, 1]).all()
    assert moved.std(0).min() > 0.05


SPY = '''
from dataclasses import dataclass
from typing import ClassVar

from adapters import Views


@dataclass(frozen=True, slots=True, kw_only=True)
class Spy:
    """Checks what it is given."""

    needs: ClassVar = frozenset({"features", "images", "maps"})
    takes: ClassVar = "features"
    views: ClassVar = Views(2)

    def adapt(self, support, *, rng=None):
        n = len(support.labels) // 3
        assert support.labels.view(3, n).eq(support.labels[:n]).all()
        assert len(support.features) == len(support.images) == len(support.maps) == 3 * n
        assert (support.maps.flatten(1) - support.features).abs().max() < 1e-6  # raw pixels
        assert support.features[:n].ne(support.features[n : 2 * n]).any(1).all()
        return lambda queries: queries.new_zeros(len(queries), support.way)
'''


def test_originals_come_first_and_every_input_is_that_of_the_augmented_images(run_ok, workspace):
    (workspace / "spy.py").write_text(SPY)
    run_ok("--adapters", "spy.py", "--tasks", 2)
    assert len(stored(workspace)) == 4


def stored(workspace):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        return sorted(database.execute("SELECT domain, task, adapter, flags, hyperparameters, accuracy FROM rows"))


@pytest.mark.parametrize("backbone", ["raw-pixels", pytest.param("resnet18-pocket-random", marks=pytest.mark.faults)])
def test_logistic_on_augmented_copies_is_recorded_as_such_and_repeatable(run_ok, workspace, backbone):
    options = ("--tasks", 2, "--backbone", backbone, "--adapters", "logistic(copies=5,penalty=1,unit_length=true)")
    run_ok(*options)
    first = stored(workspace)
    assert {json.loads(row[3])["views"].split(":")[0] for row in first} == {"5 copies"}
    assert {json.loads(row[4])["copies"] for row in first} == {5}
    (workspace / "runs/results.sqlite").unlink()
    run_ok(*options, "--workers", 2)
    assert stored(workspace) == first
    run_ok("--tasks", 2, "--backbone", backbone, "--adapters", "logistic(penalty=1,unit_length=true)")
    assert sum("views" in json.loads(row[3]) for row in stored(workspace)) == 4
