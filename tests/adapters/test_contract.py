"""What every adapter of features promises, tried on those of the room and on a plug-in file."""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

import adapters
from adapters import Support

PLUGIN = Path(__file__).parent / "plugins" / "centred_centroid.py"
OURS = {
    "ncc": adapters.load("ncc"),
    "ncc-l2": adapters.load("ncc", distance="l2"),
    "url": adapters.load("url"),
    "copa": adapters.load("copa"),
}
ADAPTERS = OURS | {"plug-in": adapters.load(PLUGIN)}
SHOTS = {"1shot": [1] * 5, "50way": [3] * 50, "uneven": [1, 9, 2, 30, 4], "2way": [5, 5]}

every_adapter = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS.keys())
every_own_adapter = pytest.mark.parametrize("adapter", OURS.values(), ids=OURS.keys())


def task(shots, d=16, dtype=torch.float64, seed=0):
    """A support set with these shots in shuffled order and 12 queries; classes are clouds around random centres."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(shots))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.randn(len(shots), d, generator=generator, dtype=torch.float64)
    features = centres[labels] + 0.5 * torch.randn(len(labels), d, generator=generator, dtype=torch.float64)
    asked = torch.arange(12) % len(shots)
    queries = centres[asked] + 0.5 * torch.randn(12, d, generator=generator, dtype=torch.float64)
    return Support(labels, len(shots), features.relu().to(dtype)), queries.relu().to(dtype)


def assert_close(left, right, tolerance=1e-5):
    torch.testing.assert_close(left.double(), right.double(), rtol=tolerance, atol=tolerance)


@every_adapter
@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS.keys())
def test_logits_are_finite_and_of_shape_queries_by_way(adapter, shots):
    support, queries = task(shots)
    logits = adapter.adapt(support)(queries)
    assert logits.shape == (len(queries), support.way)
    assert logits.isfinite().all()


@every_adapter
def test_permuted_labels_permute_the_logits(adapter):
    support, queries = task([1, 4, 2, 6])
    renamed = torch.tensor([2, 0, 3, 1])
    logits = adapter.adapt(support)(queries)
    assert_close(adapter.adapt(support._replace(labels=renamed[support.labels]))(queries)[:, renamed], logits)


@every_adapter
def test_order_of_the_support_does_not_matter(adapter):
    support, queries = task([1, 4, 2, 6])
    order = torch.randperm(len(support.labels), generator=torch.Generator().manual_seed(1))
    shuffled = support._replace(labels=support.labels[order], features=support.features[order])
    assert_close(adapter.adapt(shuffled)(queries), adapter.adapt(support)(queries))


@every_adapter
def test_each_query_is_answered_alone(adapter):
    support, queries = task([3, 3, 3])
    predictor = adapter.adapt(support)
    assert_close(torch.cat([predictor(query[None]) for query in queries]), predictor(queries))


@every_adapter
def test_another_task_in_between_changes_nothing(adapter):
    first, queries = task([3, 1, 2])
    second, _ = task([2, 2, 2, 2, 2], seed=1)
    predictor = adapter.adapt(first)
    before = predictor(queries)
    adapter.adapt(second)
    assert torch.equal(predictor(queries), before)
    assert torch.equal(adapter.adapt(first)(queries), before)


@every_adapter
def test_support_and_queries_are_left_as_they_were(adapter):
    support, queries = task([3, 1, 2])
    copies = support.features.clone(), support.labels.clone(), queries.clone()
    adapter.adapt(support)(queries)
    assert all(map(torch.equal, copies, (support.features, support.labels, queries)))


def numpy_state():
    state = np.random.get_state(legacy=False)["state"]
    return state["pos"], state["key"].tolist()


@every_adapter
def test_global_random_state_is_neither_read_nor_moved(adapter):
    support, queries = task([3, 1, 2])
    torch.manual_seed(0)
    before = adapter.adapt(support)(queries)
    torch.manual_seed(1)
    states = torch.get_rng_state(), numpy_state(), random.getstate()
    assert torch.equal(adapter.adapt(support)(queries), before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (numpy_state(), random.getstate()) == states[1:]


@every_adapter
def test_a_support_of_float16_is_computed_in_float32(adapter):
    support, queries = task([3, 1, 2], dtype=torch.float16)
    logits = adapter.adapt(support)(queries)
    assert logits.dtype == torch.float32
    assert_close(logits, adapter.adapt(support._replace(features=support.features.float()))(queries.float()))


@every_adapter
def test_tasks_can_be_adapted_in_inference_mode_and_queried_outside(adapter):
    support, queries = task([3, 1, 2])
    with torch.inference_mode():
        predictor = adapter.adapt(support)
    assert_close(predictor(queries), adapter.adapt(support)(queries))


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@every_adapter
def test_read_only_memory_serves_as_support(adapter):
    support, queries = task([3, 1, 2], dtype=torch.float32)
    memory = support.features.numpy().copy()
    memory.flags.writeable = False
    read_only = support._replace(features=torch.from_numpy(memory))
    assert torch.equal(adapter.adapt(read_only)(queries), adapter.adapt(support)(queries))


@every_own_adapter
def test_float64_stays_float64(adapter):
    support, queries = task([3, 1, 2])
    assert adapter.adapt(support)(queries).dtype == torch.float64


@every_own_adapter
def test_adapting_never_waits_for_a_value(adapter):
    """A meta tensor has no values: any .item(), bool() or copy to the host would fail."""
    support, queries = task([3, 1, 2])
    nowhere = Support(support.labels.to("meta"), support.way, support.features.to("meta"))
    assert adapter.adapt(nowhere)(queries.to("meta")).shape == (12, 3)


@every_own_adapter
def test_a_class_of_dead_features_gives_finite_logits(adapter):
    support, queries = task([1, 2, 3], dtype=torch.float32)
    features = torch.where((support.labels == 1)[:, None], torch.zeros(()), support.features)
    queries[0] = 0
    assert adapter.adapt(support._replace(features=features))(queries).isfinite().all()


@every_own_adapter
def test_features_that_track_gradients_are_only_read(adapter):
    support, queries = task([3, 1, 2])
    features = support.features.clone().requires_grad_()
    logits = adapter.adapt(support._replace(features=features))(queries)
    assert not logits.requires_grad
    assert features.grad is None


@every_own_adapter
def test_predictors_travel_between_processes(adapter):
    support, queries = task([3, 1, 2])
    predictor = adapter.adapt(support)
    assert torch.equal(pickle.loads(pickle.dumps(predictor))(queries), predictor(queries))


@every_own_adapter
def test_predictors_show_their_prototypes_and_representation(adapter):
    support, queries = task([3, 1, 2])
    predictor = adapter.adapt(support)
    assert predictor.prototypes.shape == (3, 16)
    assert predictor.represent(queries).shape == (12, 16)


@pytest.mark.parametrize("name", ["url", "copa"])
def test_zero_steps_are_nearest_centroid(name):
    support, queries = task([3, 1, 2])
    assert_close(adapters.load(name, steps=0).adapt(support)(queries), OURS["ncc"].adapt(support)(queries), 1e-12)


@pytest.mark.parametrize("name", ["url", "copa"])
def test_adaptation_fits_the_support_better_than_no_adaptation(name):
    support, _ = task([5, 1, 8, 3, 3])
    loss = torch.nn.functional.cross_entropy
    before = loss(OURS["ncc"].adapt(support)(support.features), support.labels)
    assert loss(OURS[name].adapt(support)(support.features), support.labels) < before
