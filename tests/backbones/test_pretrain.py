from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from backbones.contract import Backbone
from backbones.errors import BackboneError
from backbones.pretrain.augment import Augmentation
from backbones.pretrain.supervised import LabelledImages, Recipe, Step, Trained, train

STILL = Augmentation(
    shift_px=0, rotation_deg=0, scale=0, brightness=0, contrast=0, saturation=0, invert_chance=0, grey_chance=0,
    coarse_chance=0,
)  # fmt: skip
RECIPE = Recipe(widths=(4, 4, 8, 8), steps=6, batch_size=8, lr=0.02, evaluate_every=2)


def colours(n: int, seed: int) -> LabelledImages:
    """Noisy images of 24 pixels whose class is their strongest colour."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 100, (n, 24, 24, 3), dtype=np.uint8)
    images[np.arange(n), :, :, labels] += 150
    return LabelledImages(images, labels)


DOMAINS = {"few": colours(5, 0), "many": colours(40, 1)}


def run(recipe: Recipe = RECIPE, scores: list[float] | None = None) -> Trained:
    remaining = iter(scores or [1.0, 2.0, 3.0])
    return train(DOMAINS, recipe, evaluate=lambda backbone: next(remaining))


def equal(one: Trained, two: Trained) -> bool:
    return all(torch.equal(value, two.state[key]) for key, value in one.state.items())


def test_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = run()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    second = run()
    assert equal(first, second)
    assert first.history == second.history


def test_another_seed_gives_other_weights() -> None:
    assert not equal(run(), run(replace(RECIPE, seed=1)))


def test_the_state_with_the_best_score_is_kept() -> None:
    middle = run(scores=[1.0, 3.0, 2.0])
    assert middle.best.step == 4
    assert [line.step for line in middle.history] == [2, 4, 6]
    assert not equal(middle, run(scores=[1.0, 2.0, 3.0]))
    assert run(scores=[2.0, 2.0, 2.0]).best.step == 2


def test_evaluated_network_is_frozen_and_training_goes_on_unharmed() -> None:
    def harm(backbone: Backbone) -> float:
        assert not any(p.requires_grad for p in backbone.module.parameters())
        assert backbone.embed(torch.zeros(2, 3, 24, 24)).shape == (2, 8)
        for p in backbone.module.parameters():
            p.fill_(float("nan"))
        return 0.0

    trained = train(DOMAINS, RECIPE, evaluate=harm)
    assert np.isfinite([line.loss for line in trained.history]).all()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_learns_what_tells_the_classes_apart(precision: Literal["float32", "bf16"]) -> None:
    steps: list[int] = []
    lines: list[Step] = []
    recipe = replace(RECIPE, steps=60, evaluate_every=20, lr=0.05, precision=precision, augmentation=STILL)
    train(DOMAINS, recipe, evaluate=lambda backbone: 0.0, advance=steps.append, report=lines.append)
    assert sum(steps) == 60
    assert lines[-1].loss < 0.5 * lines[0].loss


def test_training_that_diverges_is_stopped_with_a_line() -> None:
    with pytest.raises(BackboneError, match=r"training diverged before step .*try a lower lr than 1e\+30"):
        run(replace(RECIPE, lr=1e30))


def test_augmentation_of_no_strength_only_scales_the_pixels() -> None:
    images = torch.from_numpy(DOMAINS["few"].images)
    out = STILL(images, torch.Generator())
    torch.testing.assert_close(out, images.permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-5, rtol=0)


def test_augmented_images_keep_the_range_and_differ_from_each_other() -> None:
    images = torch.from_numpy(DOMAINS["few"].images[:1]).expand(6, -1, -1, -1)
    original = images.clone()
    out = Augmentation()(images, torch.Generator().manual_seed(0))
    assert out.shape == (6, 3, 24, 24)
    assert out.min() >= -1
    assert out.max() <= 1
    assert len({tuple(image.flatten().tolist()) for image in out}) == 6
    assert torch.equal(images, original)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"invert_chance": 1.0}, lambda x: -x),
        ({"flip_chance": 1.0}, lambda x: x.flip(3)),
    ],
)
def test_certain_changes_are_what_they_say(
    change: dict[str, Any], expected: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    images = torch.from_numpy(DOMAINS["few"].images)
    out = replace(STILL, **change)(images, torch.Generator())
    torch.testing.assert_close(out, expected(images.permute(0, 3, 1, 2) / 127.5 - 1), atol=1e-4, rtol=0)


def test_grey_images_have_three_equal_channels() -> None:
    out = replace(STILL, grey_chance=1.0)(torch.from_numpy(DOMAINS["few"].images), torch.Generator())
    torch.testing.assert_close(out, out[:, :1].expand_as(out))
