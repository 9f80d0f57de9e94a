"""Adapters that descend on a loss tell it to who asks, and answer the same whether they are asked or not."""

import pytest
import torch

import adapters
from adapters import copa, url
from adapters._batches import batch
from adapters.contract import Support
from backbones.resnet18 import ResNet18

STEPS = 3


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNet18((8, 8, 8, 8)).eval().requires_grad_(False)


@pytest.fixture
def support():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(9) % 3
    shift = labels[:, None].float()
    return Support(
        labels,
        3,
        features=torch.randn(9, 8, generator=generator) + shift,
        maps=torch.randn(9, 8, 2, 2, generator=generator) + shift[..., None, None],
        images=torch.rand(9, 3, 21, 21, generator=generator) + shift[..., None, None] / 3,
    )


DESCENDING = [
    ("url", {}),
    ("copa", {}),
    ("copa", {"heads": "transformer"}),
    ("sur", {}),
    ("tsa", {}),
    ("tsa", {"optimize": "beta"}),
    ("copa-tsa", {}),
    ("finetune", {}),
]


@pytest.mark.parametrize(("name", "settings"), DESCENDING)
def test_a_loss_is_told_for_each_step_and_changes_no_answer(name, settings, network, support):
    adapter = adapters.load(name, backbone=network, steps=STEPS, **settings)
    queries = getattr(support, adapter.takes)
    losses: list[torch.Tensor] = []
    told = adapter.adapt(support, rng=torch.Generator().manual_seed(0), losses=losses)(queries)
    untold = adapter.adapt(support, rng=torch.Generator().manual_seed(0))(queries)
    assert torch.equal(told, untold)
    assert len(losses) == STEPS
    assert all(loss.ndim == 0 and loss.isfinite() and not loss.requires_grad for loss in losses)
    assert name == "sur" or losses[-1] < losses[0]  # of one backbone there is nothing to select


def test_the_losses_of_url_and_copa_are_those_of_their_descents(support):
    for module, rates in ((url, {"lr": 0.5}), (copa, {"lr": 0.01, "weight_decay": 0.0, "tau": 1.0})):
        told: list[torch.Tensor] = []
        expected: list[torch.Tensor] = []
        adapters.load(module.__name__.split(".")[-1], steps=STEPS, **rates).adapt(support, losses=told)
        module.align(batch([support]), **rates, steps=STEPS, losses=expected)
        assert told == expected
        assert len(told) == STEPS


@pytest.mark.parametrize("name", ["ncc", "knn", "ridge"])
def test_methods_without_a_descent_tell_none(name):
    assert not adapters.tells_losses(adapters.load(name))


def test_who_tells_losses_is_known_without_adapting(network):
    assert all(adapters.tells_losses(adapters.load(name, backbone=network, **given)) for name, given in DESCENDING)
