"""finetune against the textbook (a deep copy, autograd, torch.optim.Adam), and what it promises."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

import adapters
import backbones
from adapters import BadHyperparameter, Support, finetune
from adapters.checks import check_adapter
from backbones.normalisation import normalised
from harness.commands.check_adapter import narrow_backbone

BACKBONE = narrow_backbone()
NETWORK = BACKBONE.module

every_form = pytest.mark.parametrize("head", ["cosine", "linear"])
every_depth = pytest.mark.parametrize("layers", ["all", "last"])


def task(shots=(3, 1, 2), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.tensor(shots))
    images = torch.rand(len(labels) + 6, 3, 32, 32, generator=generator, dtype=torch.float64) * 2 - 1
    images[: len(labels)] += labels[:, None, None, None] / 3
    return Support(labels, len(shots), images=images[: len(labels)].to(dtype)), images[len(labels) :].to(dtype)


def loaded(backbone: Any = BACKBONE, **hyperparameters) -> Any:
    return adapters.load("finetune", backbone=backbone, **{"steps": 3, "lr": 0.01, "lr_head": 0.02, **hyperparameters})


def assert_close(left, right, tolerance=1e-9):
    torch.testing.assert_close(left.double(), right.double(), rtol=tolerance, atol=tolerance)


def textbook(support, queries, layers, head, steps):
    network = copy.deepcopy(NETWORK).requires_grad_()
    features = network(support.images)
    means = torch.stack([features[support.labels == c].mean(0) for c in range(support.way)]).detach()
    weight = nn.Parameter(means if head == "cosine" else 2 * means)
    bias = nn.Parameter(-(means.norm(dim=1) ** 2))
    trained = network.layer4.parameters() if layers == "last" else network.parameters()
    optimizer = torch.optim.Adam([{"params": trained, "lr": 0.01}, {"params": [weight, bias], "lr": 0.02}])

    def scores(images):
        features = network(images)
        if head == "linear":
            return features @ weight.t() + bias
        return 10 * cosine_similarity(features[:, None], weight[None], dim=-1)

    losses = []
    for _ in range(steps):
        loss = cross_entropy(scores(support.images), support.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return scores(queries).detach(), losses


@every_form
@every_depth
def test_finetune_is_the_textbook_form(layers, head):
    support, queries = task()
    logits, expected = textbook(support, queries, layers, head, 5)
    network, parameters = finetune.thawed(BACKBONE, layers)
    losses: list[torch.Tensor] = []
    begun = network.begin(support.images)
    settings: dict[str, Any] = {"head": head, "lr": 0.01, "lr_head": 0.02, "steps": 5, "losses": losses}
    finetune.tune(network, parameters, begun, support.labels, 3, **settings)
    assert_close(torch.stack(losses), torch.tensor(expected, dtype=torch.float64))
    assert_close(loaded(layers=layers, head=head, steps=5).adapt(support)(queries), logits)


@pytest.mark.parametrize(("head", "distance"), [("cosine", "cosine"), ("linear", "l2")])
def test_before_the_first_step_it_is_nearest_centroid(head, distance):
    support, queries = task()
    features, asked = NETWORK(support.images), NETWORK(queries)
    expected = adapters.load("ncc", distance=distance).adapt(support._replace(features=features))(asked)
    logits = loaded(head=head, steps=0).adapt(support)(queries)
    if distance == "l2":
        expected = expected + asked.square().sum(1, keepdim=True)  # the same for all classes
    assert_close(logits, expected)


def test_the_last_stage_of_a_network_behind_its_normalisation_is_the_networks_own():
    mean_and_std = "mean 0.485,0.456,0.406 std 0.229,0.224,0.225"
    _, bare = finetune.thawed(BACKBONE, "last")
    _, wrapped = finetune.thawed(normalised(NETWORK, mean_and_std), "last")
    assert [parameter.shape for parameter in wrapped] == [parameter.shape for parameter in bare]


def test_the_last_stage_is_layer4_and_the_rest_keeps_the_frozen_weights():
    support, queries = task()
    predictor = loaded(layers="last").adapt(support)
    before = dict(NETWORK.named_parameters())
    _, parameters = finetune.thawed(BACKBONE, "last")
    assert sum(map(torch.numel, parameters)) == sum(map(torch.numel, NETWORK.layer4.parameters()))
    kept = [p.data_ptr() for part in (predictor.network._before, predictor.network._after) for p in part.parameters()]
    assert before["layer3.1.conv2.weight"].data_ptr() in kept
    assert before["layer4.0.conv1.weight"].data_ptr() not in kept
    assert not torch.equal(predictor.represent(queries), NETWORK(queries))


def test_weights_that_no_gradient_should_reach_stay_without_one_after_adaptation():
    support, queries = task()
    predictor = loaded().adapt(support)
    network = predictor.network._after
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not predictor(queries).requires_grad


@every_form
@every_depth
@pytest.mark.filterwarnings("error")
def test_every_form_keeps_the_contract(layers, head):
    results = check_adapter(loaded(layers=layers, head=head, lr=1e-3, lr_head=1e-3))
    assert [result for result in results if result.outcome == "failed"] == []


class Branching(nn.Module):
    """A network that cannot be traced: its control flow looks at values."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images if images.sum() < 1e9 else images / 2)


def test_a_network_that_cannot_be_traced_gives_the_same_answers():
    support, queries = task()
    assert_close(loaded(Branching(NETWORK)).adapt(support)(queries), loaded().adapt(support)(queries))


class WithDirectParameter(nn.Module):
    """A network whose last child comes after a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3, 1, 1))
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)

    def forward(self, images):
        return self.last(self.first(images + self.shift).relu()).mean(dim=(2, 3))


def test_parameters_outside_of_modules_are_trained_with_the_whole_network():
    support, _ = task(dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = WithDirectParameter().requires_grad_(False).eval()
    moved = {}
    for layers in ("all", "last"):
        whole, parameters = finetune.thawed(network, layers)
        begun = whole.begin(support.images)
        finetune.tune(whole, parameters, begun, support.labels, 3, head="cosine", lr=0.01, lr_head=0.01, steps=1)
        before = dict(network.named_parameters())
        moved[layers] = {name for name, now in whole._after.named_parameters() if not torch.equal(now, before[name])}
    assert moved == {"all": set(before), "last": {"last.weight", "last.bias"}}
    assert not network.shift.any()


@every_form
def test_tasks_can_be_adapted_in_inference_mode_and_predictors_travel(head):
    support, queries = task()
    predictor = loaded(head=head).adapt(support)
    with torch.inference_mode():
        inside = support._replace(images=support.images.clone(), labels=support.labels.clone())
        again = loaded(head=head).adapt(inside)
    assert_close(again(queries), predictor(queries), 1e-12)
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))


@pytest.mark.parametrize("shots", [(1, 1, 1, 1, 1), (9, 1), (1,) * 12])
def test_logits_are_finite_and_of_shape_queries_by_way(shots):
    support, queries = task(shots)
    logits = loaded().adapt(support)(queries)
    assert logits.shape == (6, len(shots))
    assert logits.isfinite().all()


def test_a_backbone_without_parameters_is_refused_in_one_line():
    with pytest.raises(BadHyperparameter) as caught:
        loaded(backbones.load("raw-pixels"))
    assert str(caught.value) == "adapter 'finetune': the backbone has no parameters to finetune"
