"""The frozen-feature classifiers: published numbers, textbook forms, and the corners that solvers do not like."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from published_adapters import episode_of, largest_difference
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.nn.functional import cosine_similarity, normalize, one_hot

import adapters
from adapters import BadHyperparameter, Support, mokd
from adapters._batches import batch
from adapters.checks import check_adapter

ADAPTERS: dict[str, Any] = {
    "knn": adapters.load("knn"),
    "knn-5-l2": adapters.load("knn", k=5, distance="l2"),
    "logistic": adapters.load("logistic"),
    "logistic-scl": adapters.load("logistic", penalty=1, unit_length=True),
    "svm": adapters.load("svm"),
    "svm-ties": adapters.load("svm", break_ties=True),
    "ridge": adapters.load("ridge"),
    "mahalanobis": adapters.load("mahalanobis"),
    "mahalanobis-quirk": adapters.load("mahalanobis", one_shot_quirk=True),
    "mokd": adapters.load("mokd"),
}
DECISIONS = {
    "knn_pred": ("knn", {}),
    "lr_pred": ("logistic", {}),
    "lr_l2norm_pred": ("logistic", {"unit_length": True}),
    "svm_pred": ("svm", {}),
    "svm_l2norm_pred": ("svm", {"unit_length": True}),
}

every_adapter = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
every_episode = pytest.mark.parametrize("episode", ["small", "oneshot"])
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def task(shots, d=16, noise=1.5, seed=0):
    """Overlapping clouds in shuffled order, float64, and 40 queries."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(shots))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.randn(len(shots), d, generator=generator, dtype=torch.float64)
    every = torch.cat([labels, torch.arange(40) % len(shots)])
    rows = (centres[every] + noise * torch.randn(len(every), d, generator=generator, dtype=torch.float64)).relu()
    return Support(labels, len(shots), rows[: len(labels)]), rows[len(labels) :]


def assert_close(left, right, tolerance):
    torch.testing.assert_close(left, torch.as_tensor(right), rtol=tolerance, atol=tolerance)


# --- published numbers -----------------------------------------------------------------------------------------------


@every_episode
@both_precisions
@pytest.mark.parametrize("key", DECISIONS)
def test_classifiers_take_the_published_decisions(golden, episode, dtype, key):
    path = golden / "adapters" / f"classifiers_{episode}_float64.npz"
    support, queries = episode_of(path, dtype)
    name, settings = DECISIONS[key]
    decided = adapters.load(name, **settings).adapt(support)(queries).argmax(1)
    with np.load(path) as published:
        assert decided.tolist() == published[key].tolist()


@every_episode
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_mahalanobis_with_the_quirk_has_the_published_logits(golden, episode, dtype, tolerance):
    path = golden / "adapters" / f"classifiers_{episode}_float64.npz"
    support, queries = episode_of(path, dtype)
    logits = ADAPTERS["mahalanobis-quirk"].adapt(support)(queries)
    with np.load(path) as published:
        largest = np.abs(published["scm_logits"]).max()
        assert largest_difference(logits, published["scm_logits"]) <= tolerance * largest


def mokd_differences(path, dtype=torch.float64):
    support, queries = episode_of(path, dtype)
    with np.load(path) as published:
        rates: dict[str, Any] = {key: float(published[key]) for key in ("lr", "weight_decay", "gamma")}
        weight = mokd.align(batch([support]), **rates, steps=int(published["iters"]))[0]
        logits = adapters.load("mokd", **rates).adapt(support)(queries)
        assert mokd.best_bandwidth(batch([support])).item() == published["scale"].item()
        assert torch.equal(logits.argmax(1), torch.from_numpy(published["query_logits"]).argmax(1))
        weights = largest_difference(weight, published["weight"])
        return weights, largest_difference(logits, published["query_logits"])


def mokd_files(golden):
    files = sorted((golden / "adapters").glob("mokd_*.npz"))
    assert len(files) == 2
    return files


def test_mokd_has_the_weights_and_logits_of_the_released_arithmetic_under_autograd(golden):
    differences = np.array([mokd_differences(path) for path in mokd_files(golden)])
    assert (differences <= (1e-12, 1e-13)).all(), differences


def test_mokd_in_float32_stays_close(golden):
    differences = np.array([mokd_differences(path, torch.float32) for path in mokd_files(golden)])
    assert (differences <= (1e-5, 1e-4)).all(), differences


@pytest.mark.parametrize(
    ("domain", "setting", "rates"),
    [
        ("traffic_sign", "standard", (1.0, 0.0, 3.0)),
        ("mnist", "standard", (1.0, 0.0, 1.0)),
        ("ilsvrc_2012", "standard", (0.25, 0.25, 3.0)),
        ("omniglot", "5shot", (0.25, 0.25, 1.0)),
        ("cifar10", "1shot", (0.25, 0.0, 0.0)),
        ("elsewhere", "standard", (0.25, 0.0, 1.0)),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_mokd_rates_follow_the_domain_and_the_setting(domain, setting, rates, seen):
    given = adapters.official_hyperparameters("mokd", domain, seen, setting)
    assert (given["lr"], given["weight_decay"], given["gamma"]) == rates


# --- textbook forms --------------------------------------------------------------------------------------------------


def textbook_hsic(first, second):
    """Song et al. 2012, equation 4, of two kernel matrices."""
    n = len(first)
    first, second = first - first.diag().diag(), second - second.diag().diag()
    sums = first.sum() * second.sum() / ((n - 1) * (n - 2)) - 2 * (first @ second).sum() / (n - 2)
    return ((first @ second).trace() + sums) / (n * (n - 3))


def textbook_kernel(rows, bandwidth):
    distances = (rows[:, None] - rows).square().sum(2)
    width = bandwidth * distances.detach()[~torch.eye(len(rows), dtype=torch.bool) & (distances > 1e-14)].median()
    return (-distances / (2 * width)).exp()


@pytest.mark.parametrize("shots", [[3, 3], [1, 5, 2, 7], [2] * 20], ids=["2way", "uneven", "20way"])
def test_mokd_descends_on_the_textbook_loss(shots):
    support, _ = task(shots)
    labels = one_hot(support.labels).double()
    bandwidth = mokd.best_bandwidth(batch([support])).item()
    weight = torch.eye(16, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adadelta([weight], lr=0.5, weight_decay=0.1)
    for _ in range(5):
        own = textbook_kernel(normalize(support.features @ weight.t(), dim=1), bandwidth)
        loss = len(labels) * (2 * textbook_hsic(own, own) - textbook_hsic(own, textbook_kernel(labels, bandwidth)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ours = mokd.align(batch([support]), lr=0.5, weight_decay=0.1, gamma=2, steps=5)[0]
    assert (ours - torch.eye(16)).abs().max() > 1e-3
    assert_close(ours, weight.detach(), 1e-12)


@pytest.mark.parametrize("shots", [[4, 9], [1, 4, 2, 6], [8] * 10], ids=["2way", "few", "many"])
def test_ridge_has_the_decisions_and_scores_of_the_library(shots):
    support, queries = task(shots)
    model = RidgeClassifier(alpha=2.5).fit(support.features.numpy(), support.labels.numpy())
    scores = adapters.load("ridge", penalty=2.5).adapt(support)(queries)
    signed = 2 * scores - 1  # the library's targets are -1 and 1
    assert_close(signed[:, 1] if support.way == 2 else signed, model.decision_function(queries.numpy()), 1e-10)


@pytest.mark.parametrize("shots", [[4, 9], [1, 4, 2, 6, 3, 2], [2] * 30], ids=["2way", "uneven", "30way"])
def test_svm_decides_as_the_library_also_where_votes_are_equal(shots):
    support, queries = task(shots, noise=3)
    model = make_pipeline(StandardScaler(), SVC(kernel="linear", tol=1e-9))
    model.fit(support.features.numpy(), support.labels.numpy())
    scores = model.decision_function(queries.numpy())
    logits = ADAPTERS["svm"].adapt(support)(queries)
    assert logits.argmax(1).tolist() == model.predict(queries.numpy()).tolist()
    if support.way > 2:
        assert_close(ADAPTERS["svm-ties"].adapt(support)(queries), scores, 1e-6)
    if support.way == 30:
        assert (scores.argmax(1) != logits.argmax(1).numpy()).any(), "no equal votes were tried"


def test_logistic_of_two_ways_gives_the_same_odds_as_its_mirror_image():
    support, queries = task([4, 9])
    adapter = adapters.load("logistic", penalty=1)
    logits = adapter.adapt(support)(queries)
    mirrored = adapter.adapt(support._replace(labels=1 - support.labels))(queries)
    assert logits.shape == (40, 2)
    assert_close(mirrored.flip(1), logits, 1e-9)


def test_logistic_at_its_optimum_predicts_the_shares_of_the_classes():
    support, _ = task([4, 9, 6])
    logits = adapters.load("logistic", penalty=1).adapt(support)(support.features)
    assert_close(logits.softmax(1).sum(0), torch.tensor([4.0, 9.0, 6.0]).double(), 1e-2)


@pytest.mark.parametrize("name", ["logistic", "svm", "ridge"])
def test_on_unit_length_the_length_of_queries_does_not_matter(name):
    support, queries = task([4, 9, 6])
    predictor = adapters.load(name, unit_length=True).adapt(support)
    assert_close(predictor(3 * queries), predictor(queries), 1e-12)
    assert not torch.allclose(predictor(queries), adapters.load(name).adapt(support)(queries))


def test_mahalanobis_is_the_textbook_distance():
    support, queries = task([1, 4, 2, 6])
    rows, labels = support.features.numpy(), support.labels.numpy()
    logits = ADAPTERS["mahalanobis"].adapt(support)(queries).numpy()
    for c in range(support.way):
        own = rows[labels == c]
        share = len(own) / (len(own) + 1)
        spread = np.cov(own.T) if len(own) > 1 else np.zeros((16, 16))
        metric = np.linalg.inv(share * spread + (1 - share) * np.cov(rows.T) + np.eye(16))
        away = queries.numpy() - own.mean(0)
        np.testing.assert_allclose(logits[:, c], -np.einsum("md,de,me->m", away, metric, away), rtol=1e-11)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_knn_counts_the_votes_of_the_nearest(distance):
    support, queries = task([5, 9, 6, 3])
    logits = adapters.load("knn", k=7, distance=distance).adapt(support)(queries)
    away = torch.cdist(queries, support.features)
    if distance == "cosine":
        away = -cosine_similarity(queries[:, None], support.features, dim=2)
    nearest = support.labels[away.argsort(1)[:, :7]]
    votes = one_hot(nearest, 4).sum(1)
    assert torch.equal(logits.floor().long(), votes)
    for row, owners in zip(logits, nearest.tolist(), strict=True):
        winners = [c for c in range(4) if owners.count(c) == max(map(owners.count, range(4)))]
        assert row.argmax().item() == next(c for c in owners if c in winners)  # of equal ones, the nearest image's


def test_knn_with_more_neighbours_than_images_counts_them_all():
    support, queries = task([2, 1])
    logits = adapters.load("knn", k=100).adapt(support)(queries)
    assert torch.equal(logits.floor(), torch.tensor([2.0, 1.0]).double().expand(40, 2))


# --- promises and corners --------------------------------------------------------------------------------------------


@every_adapter
def test_the_contract_is_kept(adapter):
    failed = [result for result in check_adapter(adapter) if result.outcome == "failed"]
    assert not failed


@every_adapter
@both_precisions
@pytest.mark.parametrize("value", [0.0, 0.3], ids=["dead", "constant"])
@pytest.mark.parametrize("shots", [[1, 1], [3, 1, 2], [4, 4]], ids=["1shot", "uneven", "2way"])
def test_equal_features_give_finite_logits(adapter, dtype, value, shots):
    support, queries = task(shots)
    features = torch.full_like(support.features, value, dtype=dtype)
    predictor = adapter.adapt(support._replace(features=features))
    for asked in (queries.to(dtype), torch.full_like(queries, value, dtype=dtype)):
        logits = predictor(asked)
        assert logits.shape == (40, support.way)
        assert logits.dtype == dtype
        assert logits.isfinite().all()


@every_adapter
@pytest.mark.parametrize("shots", [[1, 1], [1, 1, 1], [5, 5], [1] * 30], ids=["1+1", "1+1+1", "5+5", "30x1"])
def test_few_images_and_two_ways_are_tasks_without_a_warning(adapter, shots):
    support, queries = task(shots)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits = adapter.adapt(support)(queries)
    assert logits.shape == (40, len(shots))
    assert logits.isfinite().all()


@every_adapter
def test_predictors_travel_between_processes(adapter):
    support, queries = task([3, 1, 2])
    predictor = adapter.adapt(support)
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))


@every_adapter
def test_clear_classes_are_told_apart(adapter):
    support, queries = task([5, 8, 6, 5], d=32, noise=0.2)
    assert (adapter.adapt(support)(queries).argmax(1) == torch.arange(40) % 4).all()


def test_mokd_leaves_tasks_too_small_for_its_estimate_as_they_are():
    support, queries = task([1, 1, 1])
    assert_close(ADAPTERS["mokd"].adapt(support)(queries), adapters.load("ncc").adapt(support)(queries), 1e-12)


def test_mokd_with_images_twice_stays_finite():
    support, queries = task([2, 2, 3])
    features = support.features.repeat(2, 1).float()
    doubled = Support(support.labels.repeat(2), 3, features)
    assert ADAPTERS["mokd"].adapt(doubled)(queries).isfinite().all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [("knn", {"k": 0}), ("ridge", {"penalty": 0}), ("logistic", {"penalty": -1}), ("svm", {"c": 0})],
)
def test_values_without_sense_are_refused(name, settings):
    with pytest.raises(BadHyperparameter):
        adapters.load(name, **settings)
