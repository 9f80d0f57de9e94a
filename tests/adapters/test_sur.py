"""sur against the textbook (concatenated features, autograd), and what it promises."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

import adapters
from adapters import Support, sur
from adapters.checks import check_adapter


def task(shots=(3, 1, 2), backbones=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(shots))
    rows = torch.cat([labels, torch.arange(len(shots))])
    centres = torch.randn(len(shots), backbones, 8, generator=generator, dtype=torch.float64)
    features = centres[rows] + torch.randn(len(rows), backbones, 8, generator=generator, dtype=torch.float64)
    features = features.relu().to(dtype)
    return Support(labels, len(shots), features[: len(labels)]), features[len(labels) :]


def textbook(support, queries, lr, steps):
    """Logits and losses with all features put side by side at every step."""

    def weighted(features):
        return (normalize(features, dim=2) * selection.sigmoid()[:, None]).flatten(1)

    def scores(features):
        support_features = weighted(support.features)
        means = torch.stack([support_features[support.labels == c].mean(0) for c in range(support.way)])
        return 10 * cosine_similarity(weighted(features)[:, None], means[None], dim=-1, eps=1e-30)

    selection = nn.Parameter(support.features.new_zeros(support.features.shape[1]))
    optimizer = torch.optim.Adadelta([selection], lr=lr / support.way)
    losses = []
    for _ in range(steps):
        loss = cross_entropy(scores(support.features), support.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return scores(queries).detach(), losses


@pytest.mark.parametrize("shots", [(3, 1, 2), (1, 1, 1, 1, 1), (7, 4)])
def test_sur_is_the_textbook_form(shots):
    support, queries = task(shots)
    losses: list[torch.Tensor] = []
    sur.select(sur.unit_features(support.features), support.labels, support.way, lr=100.0, steps=10, losses=losses)
    logits, expected = textbook(support, queries, 100.0 * support.way, 10)
    torch.testing.assert_close(torch.stack(losses), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-11)
    adapter = adapters.load("sur", lr=100.0 * support.way, steps=10)
    torch.testing.assert_close(adapter.adapt(support)(queries), logits, rtol=0, atol=1e-11)


def test_the_backbone_that_tells_the_classes_apart_is_selected():
    support, _ = task((4, 4, 4))
    features = support.features.clone()
    features[:, 1] = torch.eye(8, dtype=torch.float64)[support.labels]
    predictor = adapters.load("sur").adapt(support._replace(features=features))
    weights = predictor.selection.sigmoid()
    assert weights.argmax() == 1
    assert weights[1] > 10 * max(weights[0], weights[2])


def test_of_a_single_backbone_there_is_nothing_to_select():
    support, queries = task(backbones=1)
    units = normalize(support.features[:, 0])
    expected = adapters.load("ncc").adapt(support._replace(features=units))(queries[:, 0])
    flat = support._replace(features=support.features[:, 0])
    for each, asked in ((support, queries), (flat, queries[:, 0])):
        torch.testing.assert_close(adapters.load("sur").adapt(each)(asked), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 8), (8, 16)])
def test_sur_keeps_the_contract_over_several_backbones(shape):
    results = check_adapter(adapters.load("sur"), feature_shape=shape)
    assert [result for result in results if result.outcome == "failed"] == []


def test_dead_features_give_finite_logits():
    support, queries = task(dtype=torch.float32)
    for dead in (support.features[:, :1], support.features):
        dead.zero_()
        assert adapters.load("sur").adapt(support)(queries).isfinite().all()


def test_tasks_can_be_adapted_in_inference_mode_and_predictors_travel():
    support, queries = task()
    predictor = adapters.load("sur").adapt(support)
    with torch.inference_mode():
        inside = support._replace(features=support.features.clone(), labels=support.labels.clone())
        again = adapters.load("sur").adapt(inside)
    assert torch.equal(again(queries), predictor(queries))
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))
    assert predictor.represent(queries).shape[1:] == predictor.prototypes.shape[1:] == (24,)


@pytest.mark.parametrize("name", ["ncc", "url", "copa"])
def test_methods_over_one_backbone_say_so_when_given_several(name):
    support, _ = task()
    with pytest.raises(ValueError, match=r"features of one backbone are \(n, d\), not \(6, 3, 8\)"):
        adapters.load(name).adapt(support)
