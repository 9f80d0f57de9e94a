"""tsa and copa-tsa against the textbook (separate adapters, normalisation, autograd), and what they promise."""

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cosine_similarity, cross_entropy, normalize

import adapters
import backbones
from adapters import BadHyperparameter, Support, copa_tsa, tsa, url
from adapters._batches import batch
from adapters._residual_adapters import AdaptedNetwork, convolutions
from backbones.resnet18 import ResNet18

FORMS = [("residual", "matrix"), ("residual", "vector"), ("serial", "matrix"), ("serial", "vector")]
AGREEMENT = 1e-9

every_form = pytest.mark.parametrize(("kind", "form"), FORMS)
every_method = pytest.mark.parametrize("name", ["tsa", "copa-tsa"])


def small_network(dtype=torch.float64):
    """A ResNet-18 with statistics and scales as of a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet18((4, 5, 6, 8)).to(dtype).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return network


NETWORK = small_network()


def task(shots=(3, 1, 2), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(shots))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    images = torch.rand(len(labels) + 6, 3, 21, 21, generator=generator, dtype=torch.float64) * 2 - 1
    images[: len(labels)] += labels[:, None, None, None] / 3
    return Support(labels, len(shots), images=images[: len(labels)].to(dtype)), images[len(labels) :].to(dtype)


def loaded(name, backbone=NETWORK, **hyperparameters) -> Any:
    return adapters.load(name, backbone=backbone, **{"steps": 2, **hyperparameters})


def assert_close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left.double(), right.double(), rtol=tolerance, atol=tolerance)


class Textbook(nn.Module):
    """A convolution with its adapter beside or behind it, normalised by whatever follows."""

    def __init__(self, convolution, kind, form):
        super().__init__()
        self.convolution, self.kind = convolution, kind
        c_out, c_in = convolution.weight.shape[:2]
        self.matrix = form == "matrix" or (kind == "residual" and c_in != c_out)
        matrix = torch.eye(c_out, c_in if kind == "residual" else c_out)[:, :, None, None]
        alpha = (matrix if self.matrix else torch.ones(1, c_out, 1, 1)).double()
        self.alpha = nn.Parameter(alpha * 1e-4 if kind == "residual" else alpha)
        self.alpha_bias = nn.Parameter(torch.zeros(1, c_out, 1, 1).double()) if kind == "serial" else None

    def forward(self, x):
        plain = self.convolution(x)
        if self.kind == "residual":
            return plain + (conv2d(x, self.alpha, stride=self.convolution.stride) if self.matrix else x * self.alpha)
        return (conv2d(plain, self.alpha) if self.matrix else plain * self.alpha) + self.alpha_bias


def textbook_network(names, kind="residual", form="matrix"):
    network = copy.deepcopy(NETWORK)
    for name in names:
        network.set_submodule(name, Textbook(network.get_submodule(name), kind, form))
    return network, {name: value for name, value in network.named_parameters() if "alpha" in name}


def class_means_in_a_loop(features, support):
    return torch.stack([features[support.labels == c].mean(0) for c in range(support.way)])


def textbook_tsa(support, kind, form, lr, lr_beta, steps):
    network, alpha = textbook_network(convolutions(NETWORK), kind, form)
    beta = nn.Parameter(torch.eye(8, dtype=torch.float64))
    groups = [{"params": list(alpha.values()), "lr": lr}, {"params": [beta], "lr": lr_beta}]
    optimizer = torch.optim.Adadelta(groups)
    losses = []
    for _ in range(steps):
        features = network(support.images) @ beta.t()
        prototypes = class_means_in_a_loop(features, support)
        scores = cosine_similarity(features[:, None], prototypes[None], dim=-1, eps=1e-30)
        loss = cross_entropy(10 * scores, support.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return network, alpha, beta.detach(), torch.stack(losses)


def textbook_copa_tsa(support, lr, scale, weight_decay, tau, steps):
    network, alpha = textbook_network([name for name in convolutions(NETWORK) if name[:6] in ("layer2", "layer3")])
    heads = [nn.Parameter(torch.eye(8, dtype=torch.float64)) for _ in range(2)]
    groups = [{"params": list(alpha.values()), "lr": lr * scale}, {"params": heads, "lr": lr}]
    optimizer = torch.optim.Adam(groups, weight_decay=weight_decay)
    losses = []
    for _ in range(steps):
        features = network(support.images)
        images = normalize(features @ heads[0].t(), dim=1)
        copies = normalize(class_means_in_a_loop(features, support) @ heads[1].t(), dim=1)[support.labels]
        scores, pairs = math.exp(tau) * images @ copies.t(), torch.arange(len(images))
        loss = (cross_entropy(scores, pairs) + cross_entropy(scores.t(), pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return alpha, torch.stack(heads).detach(), torch.stack(losses)


def assert_same_parameters(ours, textbook):
    assert ours.keys() == textbook.keys()
    for name, value in ours.items():
        assert_close(value.detach(), textbook[name].detach(), AGREEMENT)


@every_form
@pytest.mark.parametrize("rates", [(0.05, 0.1), (1.0, 1.0)])
def test_tsa_descends_like_the_textbook(kind, form, rates):
    support, queries = task()
    network = AdaptedNetwork(NETWORK, convolutions(NETWORK), kind=kind, form=form)
    losses: list[torch.Tensor] = []
    settings: dict[str, Any] = {"lr": rates[0], "lr_beta": rates[1], "steps": 5}
    begun = network.begin(support.images)
    beta = tsa.tune(network, begun, support.labels, 3, optimize="alpha+beta", **settings, losses=losses)
    plain, alpha, textbook_beta, textbook_losses = textbook_tsa(support, kind, form, **settings)
    assert beta is not None
    assert_close(torch.stack(losses), textbook_losses, AGREEMENT)
    assert_close(beta, textbook_beta, AGREEMENT)
    assert_same_parameters(network.parameters, alpha)
    with torch.no_grad():
        assert_close(network(queries), plain(queries), AGREEMENT)
        adapted = plain(queries) @ beta.t(), class_means_in_a_loop(plain(support.images), support) @ beta.t()
    logits = loaded("tsa", kind=kind, form=form, **settings).adapt(support)(queries)
    assert_close(logits, 10 * cosine_similarity(adapted[0][:, None], adapted[1][None], dim=-1), AGREEMENT)


@pytest.mark.parametrize(("lr", "scale", "weight_decay"), [(1e-3, 0.1, 0.1), (5e-3, 0.5, 0.0)])
def test_copa_tsa_descends_like_the_textbook(lr, scale, weight_decay):
    support, _ = task()
    network = AdaptedNetwork(NETWORK, convolutions(NETWORK, "23"))
    losses: list[torch.Tensor] = []
    rates: dict[str, Any] = {"lr": lr, "scale": scale, "weight_decay": weight_decay, "tau": 2.0, "steps": 5}
    heads = copa_tsa.align(network, network.begin(support.images), support.labels, 3, **rates, losses=losses)
    alpha, textbook_heads, textbook_losses = textbook_copa_tsa(support, **rates)
    assert_close(torch.stack(losses), textbook_losses, AGREEMENT)
    assert_close(heads, textbook_heads, AGREEMENT)
    assert_same_parameters(network.parameters, alpha)


def test_tsa_adapts_the_sixteen_and_copa_tsa_the_eight_in_the_middle():
    names = convolutions(NETWORK)
    assert len(names) == 16
    assert all(name.startswith("layer") and "downsample" not in name for name in names)
    assert convolutions(NETWORK, "23") == names[4:12]


def test_adapters_of_full_width_have_the_published_number_of_parameters():
    network = ResNet18()
    parameters = AdaptedNetwork(network, convolutions(network)).parameters
    assert sum(value.numel() for value in parameters.values()) == 1_220_608


@every_form
def test_random_adapters_follow_the_generator_and_nothing_else(kind, form):
    support, queries = task()
    adapter = loaded("tsa", kind=kind, form=form, init="random")

    def answer(seed):
        return adapter.adapt(support, rng=torch.Generator().manual_seed(seed))(queries)

    state = torch.get_rng_state()
    first = answer(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    assert torch.equal(answer(1), first)
    assert not torch.equal(answer(2), first)
    assert adapter.stochastic
    assert not loaded("tsa").stochastic


@every_method
def test_the_backbone_stays_as_it_was_even_if_it_is_not_frozen(name):
    network = small_network().train().requires_grad_(True)
    before = copy.deepcopy(network.state_dict())
    support, queries = task()
    answer = loaded(name, network).adapt(support)(queries)
    assert_close(answer, loaded(name).adapt(support)(queries), 1e-12)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(own.requires_grad and own.grad is None for own in network.parameters())
    assert all(module.training for module in network.modules())
    assert not any(isinstance(module, nn.Identity) for module in network.modules())


@every_method
def test_another_task_in_between_changes_nothing(name):
    (first, queries), (second, _) = task(), task((2, 2, 2, 2), seed=1)
    adapter = loaded(name)
    predictor = adapter.adapt(first)
    before = predictor(queries)
    adapter.adapt(second)
    assert torch.equal(predictor(queries), before)
    assert torch.equal(adapter.adapt(first)(queries), before)


@every_method
def test_permuted_labels_permute_the_logits_and_the_order_of_the_support_does_not_matter(name):
    support, queries = task()
    logits = loaded(name).adapt(support)(queries)
    renamed, order = torch.tensor([2, 0, 1]), torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = support._replace(labels=renamed[support.labels])
    assert_close(loaded(name).adapt(permuted)(queries)[:, renamed], logits)
    shuffled = support._replace(labels=support.labels[order], images=support.images[order])
    assert_close(loaded(name).adapt(shuffled)(queries), logits)


@every_method
def test_each_query_is_answered_alone(name):
    support, queries = task()
    predictor = loaded(name).adapt(support)
    assert_close(torch.cat([predictor(query[None]) for query in queries]), predictor(queries), 1e-10)


@every_method
def test_tasks_can_be_adapted_in_inference_mode_or_without_gradients_and_queried_outside(name):
    support, queries = task()
    expected = loaded(name).adapt(support)(queries)
    with torch.inference_mode():
        inside = support._replace(images=support.images.clone())
        predictor = loaded(name).adapt(inside)
    assert_close(predictor(queries), expected, 1e-12)
    with torch.no_grad():
        assert torch.equal(loaded(name).adapt(support)(queries), expected)
    assert not expected.requires_grad


@every_method
def test_predictors_travel_between_processes_and_show_prototypes_and_representation(name):
    support, queries = task()
    predictor = loaded(name).adapt(support)
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))
    assert predictor.prototypes.shape == (3, 8)
    assert predictor.represent(queries).shape == (6, 8)


@every_method
def test_images_of_any_precision_are_computed_in_that_of_the_backbone(name):
    support, queries = task(dtype=torch.float16)
    assert loaded(name).adapt(support)(queries).dtype == torch.float64
    for dtype in (torch.float32, torch.bfloat16):
        logits = loaded(name, small_network(dtype)).adapt(support)(queries)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


@every_method
@pytest.mark.parametrize("shots", [(1, 1, 1, 1, 1), (9, 1), (1,) * 12])
def test_logits_are_finite_and_of_shape_queries_by_way(name, shots):
    support, queries = task(shots)
    logits = loaded(name).adapt(support)(queries)
    assert logits.shape == (6, len(shots))
    assert logits.isfinite().all()


@every_method
def test_a_network_whose_features_are_dead_gives_finite_logits(name):
    network = small_network(torch.float32)
    network.get_submodule("layer4.1.bn2").bias.fill_(-1e3)
    network.get_submodule("layer4.0.bn2").bias.fill_(-1e3)
    network.get_submodule("layer4.0.downsample.1").bias.fill_(-1e3)
    support, queries = task(dtype=torch.float32)
    assert loaded(name, network).adapt(support)(queries).isfinite().all()


def test_only_beta_is_url_on_the_features_of_fresh_adapters():
    support, queries = task()
    predictor = loaded("tsa", optimize="beta", lr_beta=0.5).adapt(support)
    fresh = AdaptedNetwork(NETWORK, convolutions(NETWORK))
    features = fresh(support.images)
    beta = url.align(batch([support._replace(features=features)]), lr=0.5, steps=2)[0]
    assert_close(predictor.represent(queries), fresh(queries) @ beta.t(), 1e-12)


def test_only_alpha_adds_no_map():
    support, queries = task()
    predictor = loaded("tsa", optimize="alpha").adapt(support)
    assert torch.equal(predictor.represent(queries), predictor.network(queries))


def test_serial_adapters_of_no_steps_are_nearest_centroid():
    support, queries = task()
    features, asked = NETWORK(support.images), NETWORK(queries)
    expected = adapters.load("ncc").adapt(support._replace(features=features))(asked)
    assert_close(loaded("tsa", kind="serial", steps=0).adapt(support)(queries), expected, 1e-10)


@every_form
def test_a_step_in_single_precision_is_that_in_double_precision(kind, form):
    support, queries = task()
    single = support._replace(images=support.images.float()), queries.float()
    settings: dict[str, Any] = {"kind": kind, "form": form, "steps": 1, "lr": 0.5}
    exact = loaded("tsa", **settings).adapt(support)
    rounded = loaded("tsa", small_network().float(), **settings).adapt(single[0])
    assert_close(rounded(single[1]), exact(queries), 1e-4)
    for name, value in exact.network.parameters.items():
        assert_close(rounded.network.parameters[name].detach(), value.detach(), 1e-4)


@every_form
def test_in_bf16_the_answers_are_near_and_what_is_trained_stays_in_single_precision(kind, form):
    network = small_network(torch.float32)
    support, queries = task(dtype=torch.float32)
    settings: dict[str, Any] = {"kind": kind, "form": form, "lr": 0.01, "lr_beta": 0.1}
    exact = loaded("tsa", network, **settings).adapt(support)
    rounded = loaded("tsa", network, **settings, dtype="bf16").adapt(support)
    assert rounded(queries).dtype == torch.float32
    assert {value.dtype for value in rounded.network.parameters.values()} == {torch.float32}
    assert rounded.head.weight.dtype == torch.float32
    difference = (rounded(queries) - exact(queries)).abs().max()
    assert 0 < difference < 0.05  # of a range of 20
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_in_bf16_a_network_that_cannot_be_traced_is_computed_in_bf16_too():
    support, queries = task(dtype=torch.float32)
    seen = []

    class Watched(Branching):
        def forward(self, images):
            if isinstance(images, torch.Tensor):
                seen.append(images.dtype)
            return super().forward(images)

    backbone = Watched(small_network(torch.float32))
    assert loaded("tsa", backbone, dtype="bf16").adapt(support)(queries).isfinite().all()
    assert set(seen) == {torch.bfloat16}


class Branching(nn.Module):
    """A network that cannot be traced: its control flow looks at values."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images if images.sum() < 1e9 else images / 2)


@every_method
def test_a_network_that_cannot_be_traced_gives_the_same_answers(name):
    support, queries = task()
    predictor = loaded(name, Branching(NETWORK)).adapt(support)
    assert_close(predictor(queries), loaded(name).adapt(support)(queries), AGREEMENT)
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))


def test_a_network_without_stages_is_adapted_at_all_its_3x3_convolutions():
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 1)),
        *(nn.Conv2d(6, 6, 3, padding=2, dilation=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ).eval()
    assert convolutions(network) == ["0", "3", "6"]
    support, queries = task(dtype=torch.float32)
    plain = Branching(network)
    assert_close(loaded("tsa", network).adapt(support)(queries), loaded("tsa", plain).adapt(support)(queries))


@pytest.mark.parametrize(
    ("name", "says"), [("tsa", "in layer1 or layer2 or layer3 or layer4"), ("copa-tsa", "in layer2 or layer3")]
)
def test_a_backbone_without_3x3_convolutions_is_refused_in_one_line(name, says):
    with pytest.raises(BadHyperparameter) as caught:
        loaded(name, backbones.load("raw-pixels"))
    assert str(caught.value) == f"adapter '{name}': the backbone has no 3x3 convolutions {says} to adapt"


@every_method
def test_a_loaded_backbone_serves(name):
    backbone = backbones.load("resnet18-pocket-random")
    support, queries = task(dtype=torch.float32)
    assert loaded(name, backbone).adapt(support)(queries).shape == (6, 3)


@every_form
def test_official_rates_of_tsa_depend_on_the_form_and_on_what_the_backbone_has_seen(kind, form):
    seen, unseen = (tsa.official("dtd", seen, "1shot", kind=kind, form=form) for seen in (True, False))
    assert (seen["lr_beta"], unseen["lr_beta"]) == (0.1, 1.0)
    expected = {"vector": (0.05, 1.0), "serial": (0.001, 0.01), "residual": (0.05, 0.5)}
    assert (seen["lr"], unseen["lr"]) == expected["vector" if form == "vector" else kind]


def test_official_rates_without_a_form_are_those_of_residual_matrices():
    assert adapters.official_hyperparameters("tsa", "dtd", True, "standard") == {"lr": 0.05, "lr_beta": 0.1}
    assert adapters.official_hyperparameters("tsa", "dtd", False, "5shot") == {"lr": 0.5, "lr_beta": 1.0}


@pytest.mark.parametrize(
    ("domain", "lr", "scale", "weight_decay"),
    [("mnist", 5e-3, 0.5, 0.0), ("traffic_sign", 5e-3, 0.5, 0.0), ("cifar10", 5e-3, 0.5, 0.1), ("dtd", 1e-3, 0.1, 0.1)],
)
def test_official_rates_of_copa_tsa_depend_on_the_domain_and_are_a_tenth_in_1_shot(domain, lr, scale, weight_decay):
    for setting, factor in (("standard", 1), ("5shot", 1), ("1shot", 0.1)):
        rates = adapters.official_hyperparameters("copa-tsa", domain, True, setting)
        assert rates == {"lr": pytest.approx(lr * factor), "scale": scale, "weight_decay": weight_decay}
