"""The hand-derived descents of url and copa against the textbook: broadcast cosines, autograd, torch's optimisers."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from adapters import Support, copa, url
from adapters._batches import Batch, batch

AGREEMENT = 1e-10


def textbook_url(features, labels, way, lr, steps):
    weight = torch.eye(features.shape[1], dtype=features.dtype, requires_grad=True)
    optimizer = torch.optim.Adadelta([weight], lr=lr)
    losses = []
    for _ in range(steps):
        embedded = features @ weight.t()
        prototypes = torch.stack([embedded[labels == c].mean(0) for c in range(way)])
        scores = cosine_similarity(embedded[:, None], prototypes[None], dim=-1, eps=1e-30)
        loss = cross_entropy(10 * scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return weight.detach(), losses


def textbook_copa(features, labels, way, lr, weight_decay, tau, steps):
    image_head, prototype_head = (
        torch.eye(features.shape[1], dtype=features.dtype, requires_grad=True) for _ in range(2)
    )
    optimizer = torch.optim.Adam([image_head, prototype_head], lr=lr, weight_decay=weight_decay)
    prototypes = torch.stack([features[labels == c].mean(0) for c in range(way)])
    pairs = torch.arange(len(features))
    losses = []
    for _ in range(steps):
        images = normalize(features @ image_head.t(), dim=1)
        copies = normalize(prototypes @ prototype_head.t(), dim=1)[labels]
        scores = math.exp(tau) * images @ copies.t()
        loss = (cross_entropy(scores, pairs) + cross_entropy(scores.t(), pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack([image_head.detach(), prototype_head.detach()]), losses


@st.composite
def supports(draw):
    """(features (n, d) float64, labels in any order, way) of unbalanced tasks, one image a class included."""
    shots = draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    labels = torch.repeat_interleave(torch.tensor(shots))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    features = torch.randn(len(labels), draw(st.integers(2, 12)), generator=generator, dtype=torch.float64)
    return features, labels, len(shots)


def one_task(features, labels, way) -> Batch:
    return batch([Support(labels, way, features)])


def agree(ours, textbook):
    weights, losses = ours
    textbook_weights, textbook_losses = textbook
    torch.testing.assert_close(weights, textbook_weights, rtol=0, atol=AGREEMENT)
    torch.testing.assert_close(torch.stack(losses), torch.stack(textbook_losses), rtol=0, atol=AGREEMENT)


def check_url(support, **rates):
    losses: list[torch.Tensor] = []
    weight = url.align(one_task(*support), **rates, losses=losses)[0]
    agree((weight, losses), textbook_url(*support, **rates))


def check_copa(support, **rates):
    losses: list[torch.Tensor] = []
    heads = copa.align(one_task(*support), **rates, losses=losses)[:, 0]
    agree((heads, losses), textbook_copa(*support, **rates))


@settings(max_examples=40)
@given(supports(), st.sampled_from([0.1, 1.0]))
def test_url_descends_like_the_textbook(support, lr):
    check_url(support, lr=lr, steps=10)


@settings(max_examples=40)
@given(supports(), st.sampled_from([(5e-3, 0.0), (1e-3, 0.1)]), st.sampled_from([0.5, 2.0]))
def test_copa_descends_like_the_textbook(support, rates, tau):
    check_copa(support, lr=rates[0], weight_decay=rates[1], tau=tau, steps=10)


def fifty_ways():
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.arange(50), torch.randint(0, 50, (70,), generator=generator)])
    return torch.randn(len(labels), 24, generator=generator, dtype=torch.float64).relu(), labels, 50


def test_url_descends_like_the_textbook_with_fifty_ways():
    check_url(fifty_ways(), lr=1.0, steps=40)


def test_copa_descends_like_the_textbook_with_fifty_ways():
    check_copa(fifty_ways(), lr=5e-3, weight_decay=0.1, tau=2.0, steps=50)
