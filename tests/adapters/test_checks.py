"""The contract checker: every adapter of the room passes, and for every check there is a cheat that fails it."""

import random
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import adapters
from adapters import Support
from adapters.checks import CHECKS, CheckResult, check_adapter
from adapters.contract import Views
from harness.commands.check_adapter import narrow_backbone

CHEATS = {}
NAMES = [check.__name__ for check in CHECKS] + ["backbone_is_untouched"]


def cheats(*names):
    """The adapter below must fail these checks."""

    def register(adapter):
        CHEATS[adapter] = names
        return adapter

    return register


def outcomes(adapter, **options) -> dict[str, CheckResult]:
    return {result.name: result for result in check_adapter(adapter, **options)}


def failed(adapter, **options):
    return {name: result.reason for name, result in outcomes(adapter, **options).items() if result.outcome == "failed"}


@dataclass(frozen=True)
class Honest:
    """Class means and inner products; the cheats change one thing about it."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    transductive: ClassVar = False
    stochastic: ClassVar = False
    batched: ClassVar = False
    views: ClassVar[Views | None] = None

    def adapt(self, support: Support, *, rng=None) -> Any:
        prototypes = self.prototypes(support, rng)
        return lambda queries: self.logits(queries, prototypes)

    def prototypes(self, support, rng):
        features = self.inputs(support).to(torch.float64)
        return torch.stack([features[support.labels == c].mean(0) for c in range(support.way)])

    def inputs(self, support):
        return getattr(support, self.takes).flatten(1)

    def logits(self, queries, prototypes):
        return queries.flatten(1).to(torch.float64) @ prototypes.t()


@cheats("logits_are_finite_and_of_shape")
class GivesClasses(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries, prototypes).argmax(1)


@cheats("logits_are_finite_and_of_shape")
class DividesByZero(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries, prototypes) / 0


@cheats("one_shot")
class WhitensEachClass(Honest):
    def prototypes(self, support, rng):
        shots = support.labels.bincount()
        return super().prototypes(support, rng) / (shots.max() - 1)


@cheats("two_ways")
class OneColumnForTwoClasses(Honest):
    def logits(self, queries, prototypes):
        logits = super().logits(queries, prototypes)
        return logits[:, 1] - logits[:, 0] if len(prototypes) == 2 else logits


@cheats("fifty_ways")
class CountsClassesOfQueries(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries, prototypes)[:, : len(queries)]


@cheats("unbalanced_shots")
class ExpectsEqualShots(Honest):
    def prototypes(self, support, rng):
        if support.labels.bincount().max() > 5 * support.labels.bincount().min():
            raise ValueError("shots differ too much")
        return super().prototypes(support, rng)


@cheats("class_with_one_image", "one_shot")
class DividesByShotsLessOne(Honest):
    def prototypes(self, support, rng):
        return super().prototypes(support, rng) / (support.labels.bincount()[:, None] - 1)


@cheats("half_precision_inputs")
class ComputesInTheGivenPrecision(Honest):
    def adapt(self, support, *, rng=None):
        prototypes = super().prototypes(support, rng)
        return lambda queries: (queries * 1e4) @ prototypes.to(queries.dtype).t()


@cheats("permuted_labels_permute_logits")
class PrefersTheFirstClass(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries, prototypes) + torch.arange(len(prototypes))


@cheats("support_order_is_irrelevant")
class LooksAtTheFirstImageOfEachClass(Honest):
    def prototypes(self, support, rng):
        return torch.stack([self.inputs(support)[support.labels == c][0].double() for c in range(support.way)])


@cheats("support_order_is_irrelevant")
class LooksAtTheFirstImageWithNoise(LooksAtTheFirstImageOfEachClass):
    stochastic = True

    def prototypes(self, support, rng):
        first = super().prototypes(support, rng)
        return first + 0.01 * torch.randn(first.shape, generator=rng)


@cheats("permuted_labels_permute_logits")
class PrefersTheFirstClassWithNoise(Honest):
    stochastic = True

    def prototypes(self, support, rng):
        means = super().prototypes(support, rng) + 0.01 * torch.randn(support.way, 1, generator=rng)
        return means * torch.arange(1, support.way + 1)[:, None]


@cheats("queries_are_answered_alone")
class CentresTheQueries(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries - queries.mean(0), prototypes)


@cheats("queries_are_answered_alone")
class LearnsThatClassesTakeTurns(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries, prototypes) + torch.eye(len(prototypes)).repeat(12, 1)[: len(queries)]


@cheats("another_task_changes_nothing")
@dataclass(frozen=True)
class KeepsTheLastTaskInItself(Honest):
    last: list = field(default_factory=list)

    def prototypes(self, support, rng):
        self.last[:] = [super().prototypes(support, rng)]
        return self.last[0]

    def logits(self, queries, prototypes):
        return super().logits(queries, self.last[0])


@cheats("another_task_changes_nothing")
@dataclass(frozen=True)
class StartsWhereTheLastTaskEnded(Honest):
    start: list = field(default_factory=lambda: [0.0])

    def prototypes(self, support, rng):
        prototypes = super().prototypes(support, rng) + self.start[0]
        self.start[0] = 0.1 * prototypes.mean()
        return prototypes


@cheats("same_seed_same_answer")
class DrawsFromASourceOfItsOwn(Honest):
    stochastic = True
    source: ClassVar = torch.Generator().manual_seed(0)

    def prototypes(self, support, rng):
        return super().prototypes(support, rng) + torch.randn(support.way, 1, generator=self.source)


@cheats("seed_is_irrelevant")
class DrawsWithoutSayingSo(Honest):
    def prototypes(self, support, rng):
        return super().prototypes(support, rng) + 0.1 * torch.randn(support.way, 1, generator=rng)


@cheats("seed_is_irrelevant")
class NeedsAGeneratorWithoutSayingSo(Honest):
    def prototypes(self, support, rng):
        torch.rand(1, generator=rng.clone_state())
        return super().prototypes(support, rng)


@cheats("global_random_state_is_untouched")
class DrawsFromTorch(Honest):
    def prototypes(self, support, rng):
        torch.rand(1)
        return super().prototypes(support, rng)


@cheats("global_random_state_is_untouched")
class DrawsFromNumpy(Honest):
    def prototypes(self, support, rng):
        np.random.rand()
        return super().prototypes(support, rng)


@cheats("global_random_state_is_untouched")
class DrawsFromPython(Honest):
    def prototypes(self, support, rng):
        random.random()
        return super().prototypes(support, rng)


@cheats("global_random_state_is_untouched")
class ReadsTheGlobalSeed(Honest):
    def prototypes(self, support, rng):
        return super().prototypes(support, rng) + torch.initial_seed() % 2


@cheats("inputs_are_only_read")
class NormalisesTheSupportInPlace(Honest):
    def prototypes(self, support, rng):
        support.features.div_(support.features.norm())
        return super().prototypes(support, rng)


@cheats("inputs_are_only_read")
class NormalisesTheQueriesInPlace(Honest):
    def logits(self, queries, prototypes):
        return super().logits(queries.div_(queries.norm()), prototypes)


@cheats("inputs_are_only_read")
class WritesToTheLabels(Honest):
    def prototypes(self, support, rng):
        prototypes = super().prototypes(support, rng)
        support.labels.zero_()
        return prototypes


@cheats("inputs_are_only_read")
class SwitchesGradientsOn(Honest):
    def prototypes(self, support, rng):
        return super().prototypes(support._replace(features=support.features.requires_grad_()), rng).detach()


class HonestInBatches(Honest):
    """Without host syncs: class means as a product."""

    batched = True

    def prototypes(self, support, rng):
        members = (support.labels[:, None] == torch.arange(support.way, device=support.labels.device)).double()
        return (members / members.sum(0)).t() @ self.inputs(support).double()

    def adapt_many(self, supports):
        return [self.adapt(support) for support in supports]


@cheats("adapt_many_equals_adapt")
class SaysBatchedWithoutAdaptMany(HonestInBatches):
    adapt_many: Any = None


@cheats("adapt_many_equals_adapt")
class SortsTasksAndForgetsTheOrder(HonestInBatches):
    def adapt_many(self, supports):
        return super().adapt_many(sorted(supports, key=lambda support: len(support.labels)))


@cheats("adapt_many_equals_adapt")
class RoundsInBatches(HonestInBatches):
    def adapt_many(self, supports):
        return super().adapt_many([s._replace(features=s.features.float()) for s in supports])


@cheats("adapt_many_equals_adapt")
class LosesATask(HonestInBatches):
    def adapt_many(self, supports):
        return super().adapt_many(supports[1:])


@cheats("adapt_many_equals_adapt")
class GivesNaNWhereItWouldDecide(HonestInBatches):
    def adapt_many(self, supports):
        def spoilt(predictor):
            def answer(queries):
                logits = predictor(queries)
                return logits.scatter(1, logits.argmax(1, keepdim=True), torch.nan)

            return answer

        return [spoilt(predictor) for predictor in super().adapt_many(supports)]


@cheats("adapts_without_host_sync")
class StopsEarlyInBatches(HonestInBatches):
    def adapt_many(self, supports):
        return [self.adapt(support) for support in supports if support.features.sum() > -1e9]


@cheats("adapts_without_host_sync")
class StopsEarly(HonestInBatches):
    def prototypes(self, support, rng):
        prototypes = super().prototypes(support, rng)
        return prototypes if prototypes.norm() > 0 else -prototypes


@dataclass(frozen=True)
class HonestWithImages(Honest):
    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"
    backbone: Any = field(default_factory=narrow_backbone)

    def prototypes(self, support, rng):
        features = self.backbone.embed(support.images)
        return torch.stack([features[support.labels == c].mean(0) for c in range(support.way)])

    def logits(self, queries, prototypes):
        return self.backbone.embed(queries) @ prototypes.t()


@cheats("backbone_is_untouched")
class TrainsTheWeights(HonestWithImages):
    def prototypes(self, support, rng):
        with torch.no_grad():
            self.backbone.module.conv1.weight.mul_(1.1)
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
class UpdatesRunningStatistics(HonestWithImages):
    def prototypes(self, support, rng):
        self.backbone.module.train()
        self.backbone.module(support.images.to(next(self.backbone.module.parameters())))
        self.backbone.module.eval()
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
class LeavesTrainingModeOn(HonestWithImages):
    def prototypes(self, support, rng):
        self.backbone.module.bn1.train()
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
class ThawsTheWeights(HonestWithImages):
    def prototypes(self, support, rng):
        self.backbone.module.conv1.weight.requires_grad_()
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
@dataclass(frozen=True)
class ThawsTheWeightsWhenItIsMade(HonestWithImages):
    def __post_init__(self):
        self.backbone.module.requires_grad_()


@cheats("backbone_is_untouched")
class LeavesGradientsBehind(HonestWithImages):
    def prototypes(self, support, rng):
        weight = self.backbone.module.conv1.weight
        weight.requires_grad_().square().sum().backward()
        weight.requires_grad_(False)
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
class WrapsAConvolution(HonestWithImages):
    def prototypes(self, support, rng):
        module = self.backbone.module
        if isinstance(module.conv1, nn.Conv2d):
            module.conv1 = nn.Sequential(module.conv1, nn.Identity())
        return super().prototypes(support, rng)


@cheats("backbone_is_untouched")
class LeavesAHook(HonestWithImages):
    def logits(self, queries, prototypes):
        self.backbone.module.layer1.register_forward_hook(lambda *_: None)
        return super().logits(queries, prototypes)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
def test_a_cheat_fails_its_check(cheat):
    found = failed(cheat())
    assert set(CHEATS[cheat]) <= set(found)
    assert all(reason and "\n" not in reason for reason in found.values())


def test_there_is_a_cheat_for_every_check():
    assert {name for names in CHEATS.values() for name in names} == set(NAMES)


@pytest.mark.parametrize(
    "cheat",
    [PrefersTheFirstClass, LooksAtTheFirstImageOfEachClass, CentresTheQueries, DrawsFromTorch, LeavesAHook],
)
def test_a_cheat_of_one_kind_fails_no_other_check(cheat):
    assert set(failed(cheat())) == set(CHEATS[cheat])


@pytest.mark.parametrize("adapter", [Honest(), HonestInBatches(), HonestWithImages()], ids=lambda a: type(a).__name__)
def test_an_honest_adapter_fails_nothing(adapter):
    assert not failed(adapter)


def test_a_check_applies_only_to_what_the_adapter_declares():
    class Transductive(CentresTheQueries):
        transductive = True

    def not_applicable(adapter):
        return {name for name, result in outcomes(adapter).items() if result.outcome == "not applicable"}

    without_batches = {"adapt_many_equals_adapt", "adapts_without_host_sync"}
    assert not_applicable(Honest()) == {*without_batches, "backbone_is_untouched"}
    assert not_applicable(HonestInBatches()) == {"backbone_is_untouched"}
    assert not_applicable(Transductive()) == {*without_batches, "backbone_is_untouched", "queries_are_answered_alone"}
    assert not_applicable(HonestWithImages()) == {*without_batches, "half_precision_inputs"}


def test_a_stochastic_adapter_may_answer_differently_for_each_seed():
    class Noisy(Honest):
        stochastic = True

        def prototypes(self, support, rng):
            means = super().prototypes(support, rng)
            return means + 0.3 * torch.randn(means.shape, generator=rng)

    found = outcomes(Noisy())
    assert not failed(Noisy())
    assert found["seed_is_irrelevant"].outcome == "not applicable"


@pytest.mark.parametrize("takes", ["features", "maps", "images"])
def test_inputs_of_every_kind_are_made_without_a_backbone(takes):
    class Reader(Honest):
        needs = frozenset({takes})

    Reader.takes = takes
    assert not failed(Reader())


def test_features_of_several_backbones_can_be_asked_for():
    shapes = []

    class Spy(Honest):
        def inputs(self, support):
            shapes.append(tuple(support.features.shape[1:]))
            return super().inputs(support)

    assert not failed(Spy(), feature_shape=(3, 8))
    assert set(shapes) == {(3, 8)}


def test_class_names_follow_their_classes():
    class ByName(Honest):
        needs = frozenset({"features", "class_names"})

        def prototypes(self, support, rng):
            numbers = torch.tensor([float(name.split()[1]) for name in support.class_names])
            return super().prototypes(support, rng) + numbers[:, None]

    assert not failed(ByName())


def test_augmented_copies_come_after_the_originals():
    class Averaging(Honest):
        views = Views(2)

        def prototypes(self, support, rng):
            originals, *copies = support.labels.chunk(3)
            assert all(torch.equal(originals, labels) for labels in copies)
            return super().prototypes(support, rng)

    assert not failed(Averaging())


def test_checking_leaves_the_callers_random_states_alone():
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    check_adapter(Honest())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_checking_twice_gives_the_same_report():
    adapter = adapters.load("url")
    assert check_adapter(adapter) == check_adapter(adapter)


@pytest.mark.parametrize("name", adapters.known())
def test_every_adapter_of_the_room_keeps_the_contract(name):
    adapter = adapters.load(name, backbone=narrow_backbone())
    if hasattr(adapter, "backbone") and hasattr(adapter, "steps"):
        adapter = replace(adapter, steps=3)  # a few steps show as much as forty
    assert not failed(adapter)
