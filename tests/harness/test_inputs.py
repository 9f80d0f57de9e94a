from pathlib import Path

import numpy as np
import pytest
import torch

import adapters
from backbones.resnet18 import ResNet18
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness import blocks
from harness.blocks import Block, evaluate_block
from harness.errors import HarnessError
from harness.inputs import DomainData, check_needs, make_task
from harness.methods import HYPERS, Method, configure
from harness.pixels import PixelChoice
from results.identity import canonical_hash


@pytest.fixture
def plan():
    spec = DatasetSpec("set", np.full(11, 20), {"test": range(3, 11)}, ("",) * 11)
    return plan_domain("set", spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=4)


@pytest.fixture
def data(plan):
    """Features that name their image: (class id, record number)."""
    classes, records = plan.images
    features = np.stack([classes, records], axis=1).astype(np.float32)
    return DomainData(plan, Path(), PixelChoice("keep", 84, Path()), features)


def test_every_feature_is_that_of_its_image(data, plan):
    for task in range(len(plan)):
        episode = plan.episode(task)
        support, queries, labels = make_task(data, task, adapters.load("ncc"), None, "cpu")
        assert support.features[:, 0].tolist() == episode.support_classes.tolist()
        assert support.features[:, 1].tolist() == episode.support_records.tolist()
        assert support.way == episode.way
        expected = zip(episode.query_classes, episode.query_records, episode.query_labels, strict=True)
        given = zip(*queries.T.tolist(), labels.tolist(), strict=True)
        assert sorted(given) == sorted(map(tuple, np.array(list(expected)).tolist()))


def test_the_order_of_the_queries_tells_nothing_and_is_always_the_same(data):
    adapter = adapters.load("ncc")
    labels = [make_task(data, task, adapter, None, "cpu").query_labels.tolist() for task in range(4)]
    assert labels == [make_task(data, task, adapter, None, "cpu").query_labels.tolist() for task in range(4)]
    assert all(order != sorted(order) for order in labels)


def test_an_adapter_gets_only_what_it_asks_for(data):
    support, _, _ = make_task(data, 0, adapters.load("ncc"), None, "cpu")
    given = {name for name, value in support._asdict().items() if value is not None}
    assert given == {"labels", "way", "features"}


def test_an_adapter_cannot_spoil_the_shared_features(data):
    support, _, _ = make_task(data, 0, adapters.load("ncc"), None, "cpu")
    before = data.features.copy()
    support.features.zero_()
    assert np.array_equal(data.features, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_before_the_adapter_sees_them(data, bad):
    data.features[:, 1] = bad
    with pytest.raises(HarnessError, match="set, episode 2: the features tensor holds NaN or infinity"):
        make_task(data, 2, adapters.load("ncc"), None, "cpu")


def test_a_wish_that_no_episode_can_grant_is_named():
    class Wishful:
        needs = frozenset({"features", "query_labels"})
        takes = "features"

    with pytest.raises(HarnessError, match="adapter 'wishful' needs 'query_labels'"):
        check_needs("wishful", Wishful())


@pytest.mark.parametrize(
    ("method", "domain", "seen", "expected"),
    [
        ("url", "icons", "seen", {"lr": 0.1}),
        ("url", "icons", "unseen", {"lr": 1.0}),
        ("url", "icons", "unknown", {"lr": 1.0}),
        ("copa", "mnist", "unseen", {"lr": 5e-3, "weight_decay": 0.0}),
        ("copa", "traffic_sign", "seen", {"lr": 5e-3, "weight_decay": 0.0}),
        ("copa", "icons", "seen", {"lr": 1e-3, "weight_decay": 0.1}),
    ],
)
def test_published_rates_are_resolved_by_the_harness(method, domain, seen, expected):
    configured = configure(Method(method, {}), domain, seen, "standard", torch.nn.Identity())
    assert expected.items() <= dict(configured.hyperparameters).items()


def test_published_rates_follow_the_form_that_the_user_chose():
    network = ResNet18((4, 4, 4, 4))
    chosen = {"residual": {}, "serial": {"kind": "serial"}, "vector": {"form": "vector"}}
    configured = [configure(Method("tsa", given), "icons", "seen", "standard", network) for given in chosen.values()]
    assert [each.hyperparameters["lr"] for each in configured] == [0.05, 0.001, 0.05]
    assert [each.hyperparameters["kind"] for each in configured] == ["residual", "serial", "residual"]


@pytest.mark.parametrize("name", ["url", "copa", "mokd", "tsa", "copa-tsa"])
def test_fixed_hyperparameters_are_the_same_for_every_domain_and_the_adapters_defaults(name):
    network = ResNet18((4, 4, 4, 4))
    domains = [("mnist", "unseen"), ("icons", "seen"), ("glyphs", "unknown")]
    fixed = [configure(Method(name, {}), *each, "standard", network, "fixed") for each in domains]
    defaults = adapters.configuration(adapters.load(name, backbone=network))["hyperparameters"]
    assert [dict(each.hyperparameters) for each in fixed] == 3 * [defaults]


@pytest.mark.parametrize(
    ("name", "given", "setting", "lr"),
    [
        ("url", {"lr": "0.25"}, "standard", 0.25),
        ("copa", {"heads": "transformer"}, "standard", 1e-4),
        ("tsa", {"kind": "serial"}, "standard", 0.01),
        ("tsa", {"form": "vector"}, "standard", 1.0),
        ("copa-tsa", {}, "1shot", 1e-4),
    ],
)
def test_fixed_hyperparameters_follow_the_form_and_the_setting_but_not_the_domain(name, given, setting, lr):
    network = ResNet18((4, 4, 4, 4))
    for domain in [("mnist", "unseen"), ("icons", "seen")]:
        assert configure(Method(name, given), *domain, setting, network, "fixed").hyperparameters["lr"] == lr


def test_the_name_on_the_leaderboard_says_when_published_rates_were_left_aside():
    labels = {}
    for name in ("url", "ncc"):
        for hyper in HYPERS:
            configured = configure(Method(name, {}), "icons", "seen", "standard", torch.nn.Identity(), hyper)
            labels[name, hyper] = configured.label, configured.hyper
    assert labels == {
        ("url", "official"): ("url", "official"),
        ("url", "fixed"): ("url (fixed)", "fixed"),
        ("ncc", "official"): ("ncc", "fixed"),  # nothing is published by domain
        ("ncc", "fixed"): ("ncc", "fixed"),
    }


def test_a_users_hyperparameter_wins_over_the_published_one():
    configured = configure(Method("url", {"lr": "0.25"}), "icons", "seen", "standard", torch.nn.Identity())
    assert configured.hyperparameters == {"lr": 0.25, "steps": 40}


def test_a_block_that_is_adapted_to_at_once_gives_what_its_episodes_give_alone(data, monkeypatch):
    adapter = adapters.load("url", lr=0.5)
    block = Block(data, "url", {"lr": 0.5}, canonical_hash(adapters.configuration(adapter)), None, "", "cpu", 1, 3)
    alone, asked = evaluate_block(block), []
    monkeypatch.setattr(blocks, "_together", lambda adapter, device: asked.append(device) or True)
    together = evaluate_block(block)
    assert asked == ["cpu"]
    assert [result[:2] for result in together] == [result[:2] for result in alone]
    assert [result.task for result in together] == [1, 2, 3]
    assert len({result.wall_s for result in together}) == 1  # an equal share each


def test_episodes_are_adapted_to_at_once_on_a_gpu_only_by_those_that_can():
    url, ncc = adapters.load("url"), adapters.load("ncc")
    assert blocks._together(url, "cuda")
    assert not blocks._together(url, "cpu")
    assert not blocks._together(ncc, "cuda")
    assert not blocks._together(adapters.load("copa", heads="transformer"), "cuda")


def test_an_error_in_a_block_adapted_to_at_once_names_the_episodes(data, monkeypatch):
    adapter = adapters.load("url")
    block = Block(data, "url", {}, canonical_hash(adapters.configuration(adapter)), None, "", "cpu", 1, 3)
    monkeypatch.setattr(blocks, "_together", lambda adapter, device: True)
    monkeypatch.setattr(type(adapter), "adapt_many", lambda self, supports: 1 / 0)
    with pytest.raises(HarnessError, match="adapter 'url', set, episode 1 to 3: ZeroDivisionError"):
        evaluate_block(block)
