"""CoPA's attention heads against the textbook: all places attend to each other, and the class token is taken."""

import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

import adapters
from adapters import Support
from adapters._copa_transformer import AttentionHead, adapt, align, places_of
from adapters.checks import check_adapter

D, HEADS, SIDE = 16, 8, 3


def task(shots=(3, 1, 2), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.tensor(shots))
    maps = torch.rand(len(labels) + 6, D, SIDE, SIDE, generator=generator, dtype=torch.float64)
    maps[: len(labels), :3] += labels[:, None, None, None] / 3
    return Support(labels, len(shots), maps=maps[: len(labels)].to(dtype)), maps[len(labels) :].to(dtype)


class Textbook(nn.Module):
    """The whole block, for every place, keys with their bias."""

    def __init__(self, positions):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, D))
        self.positions = nn.Parameter(positions.clone()[None])
        for name in ("query", "key", "value", "output"):
            layer = nn.Linear(D, D)
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
            self.add_module(name, layer)
        self.norm = nn.LayerNorm(D, eps=1e-6)
        self.double()

    def forward(self, maps):
        x = torch.cat([self.token.expand(len(maps), -1, -1), maps.flatten(2).transpose(1, 2)], 1) + self.positions
        q, k, v = (part(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        attention = (q @ k.transpose(2, 3) / (D // HEADS) ** 0.5).softmax(-1)
        heard = (attention @ v).transpose(1, 2).flatten(2)
        return self.output(self.norm(x + heard))[:, 0]


def fresh(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return AttentionHead(SIDE * SIDE, D, generator, torch.zeros(1, dtype=torch.float64))


def textbook_loss(images, prototypes, labels):
    logits = torch.e**2 * normalize(images) @ normalize(prototypes)[labels].t()  # one copy per sample
    own = torch.arange(len(labels))
    return (cross_entropy(logits, own) + cross_entropy(logits.t(), own)) / 2


def test_a_trained_head_and_its_losses_are_the_textbooks():
    support, queries = task()
    maps, labels = support.maps, support.labels
    means = torch.stack([maps[labels == c].mean(0) for c in range(3)])
    ours, textbook = [fresh(0), fresh(1)], [Textbook(fresh(seed).positions.detach()) for seed in (0, 1)]
    optimizer = torch.optim.Adam([p for head in textbook for p in head.parameters()], lr=1e-2, weight_decay=0.1)
    expected = []
    for _ in range(8):
        loss = textbook_loss(textbook[0](maps), textbook[1](means), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.detach())
    losses: list[torch.Tensor] = []
    rates: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.1, "tau": 2.0, "steps": 8, "losses": losses}
    align(*ours, places_of(maps), places_of(means), labels, **rates)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=0, atol=1e-10)
    for head, other in zip(ours, textbook, strict=True):
        torch.testing.assert_close(head(places_of(queries)), other(queries), rtol=0, atol=1e-8)


def test_positions_are_drawn_for_each_head_and_the_rest_starts_at_identity_and_zero():
    one, other = fresh(0), fresh(1)
    assert not torch.equal(one.positions, other.positions)
    assert one.positions.std().item() == pytest.approx(0.02, rel=0.2)
    identity = torch.eye(D, dtype=torch.float64)
    assert all(torch.equal(p, identity) for p in (one.query, one.key, one.value, one.output))
    assert not any(p.any() for p in (one.token, one.query_bias, one.value_bias, one.norm_bias, one.output_bias))


def test_logits_are_cosines_of_the_two_heads_and_follow_the_generator():
    support, queries = task()
    rates: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.1, "tau": 2.0, "steps": 3, "scale": 10.0}
    one, again, other = (adapt(support, **rates, rng=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    logits = one(queries)
    assert torch.equal(logits, again(queries))
    assert not torch.equal(logits, other(queries))
    expected = 10 * normalize(one.represent(queries)) @ normalize(one.prototypes).t()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    assert not logits.requires_grad


def test_copa_with_attention_heads_keeps_the_contract():
    adapter: Any = adapters.load("copa", heads="transformer", steps=5)
    assert (adapter.needs, adapter.takes, adapter.stochastic, adapter.batched) == ({"maps"}, "maps", True, False)
    results = check_adapter(adapter)
    assert [result for result in results if result.outcome == "failed"] == []


def test_tasks_can_be_adapted_in_inference_mode_and_predictors_travel():
    support, queries = task()
    adapter = adapters.load("copa", heads="transformer", steps=2)
    predictor = adapter.adapt(support)
    with torch.inference_mode():
        inside = support._replace(maps=support.maps.clone(), labels=support.labels.clone())
        again = adapter.adapt(inside)
    assert torch.equal(again(queries), predictor(queries))
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))


def test_a_number_of_features_that_heads_cannot_share_is_refused():
    support, _ = task()
    narrow = support._replace(maps=support.maps[:, :12])
    with pytest.raises(ValueError, match="needs features of a multiple of 8, not 12"):
        adapt(narrow, lr=1e-3, weight_decay=0.1, tau=2.0, steps=1, scale=10.0, rng=None)
