"""url, copa and mokd on several tasks at once: the answers of one at a time, whatever stands beside a task."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import adapters
from adapters import Support
from adapters._batches import TOGETHER, batch

NAMES = ["url", "copa", "mokd"]
RATES = {
    "url": [{"lr": 0.1}, {"lr": 1.0}],
    "copa": [{"lr": 5e-3, "weight_decay": 0.0}, {"lr": 1e-3, "weight_decay": 0.1}],
    "mokd": [{"lr": 1.0, "gamma": 3.0}, {"lr": 0.25, "weight_decay": 0.25}],
}

every_method = pytest.mark.parametrize("name", NAMES)
every_rate = pytest.mark.parametrize(("name", "rates"), [(name, rates) for name in NAMES for rates in RATES[name]])


def task(shots, d=12, dtype=torch.float64, seed=0):
    """Clouds with `shots` samples each, in any order, and 20 queries."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.repeat_interleave(torch.tensor(shots))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.randn(len(shots), d, generator=generator, dtype=torch.float64)
    wanted = torch.cat([labels, torch.arange(20) % len(shots)])
    rows = (centres[wanted] + torch.randn(len(wanted), d, generator=generator, dtype=torch.float64)).relu().to(dtype)
    return Support(labels, len(shots), features=rows[: len(labels)]), rows[len(labels) :]


def assert_batched_as_alone(name, rates, tasks, tolerance):
    adapter: Any = adapters.load(name, **rates)
    together = adapter.adapt_many([support for support, _ in tasks])
    assert len(together) == len(tasks)
    for predictor, (support, queries) in zip(together, tasks, strict=True):
        alone = adapter.adapt(support)
        expected, logits = alone(queries), predictor(queries)
        torch.testing.assert_close(logits, expected, rtol=0, atol=tolerance)
        assert torch.equal(logits.argmax(1), expected.argmax(1))
        torch.testing.assert_close(predictor.prototypes, alone.prototypes, rtol=0, atol=tolerance)


many_shots = st.lists(st.lists(st.integers(1, 7), min_size=2, max_size=9), min_size=1, max_size=6)


@every_rate
@settings(max_examples=15)
@given(shots=many_shots, seed=st.integers(0, 2**31))
def test_tasks_of_any_sizes_are_answered_as_alone_in_double_precision(name, rates, shots, seed):
    tasks = [task(each, seed=seed + i) for i, each in enumerate(shots)]
    assert_batched_as_alone(name, rates, tasks, 1e-10)


@every_rate
def test_tasks_of_published_sizes_are_answered_as_alone_in_single_precision(name, rates):
    shots = [[5] * 5, [1] * 5, [8] * 20, [20, 1, 3, 40, 2, 9], [2, 6] * 25]
    tasks = [task(each, d=64, dtype=torch.float32, seed=i) for i, each in enumerate(shots)]
    assert_batched_as_alone(name, rates, tasks, 1e-4)


@every_method
def test_more_tasks_than_a_batch_holds_keep_their_order(name):
    tasks = [task([1 + i % 3, 2, 3], seed=i) for i in range(TOGETHER + 5)]
    assert_batched_as_alone(name, {"steps": 3}, tasks, 1e-10)


@every_method
def test_tasks_of_several_widths_and_precisions_can_be_given_at_once(name):
    kinds = [(12, torch.float64), (7, torch.float64), (12, torch.float32), (12, torch.float64), (7, torch.float16)]
    tasks = [task([3, 2, 4], d=d, dtype=dtype, seed=i) for i, (d, dtype) in enumerate(kinds)]
    assert_batched_as_alone(name, {"steps": 3}, tasks, 1e-5)


@every_method
def test_no_tasks_give_no_predictors(name):
    adapter: Any = adapters.load(name)
    assert adapter.adapt_many([]) == []


def test_a_task_too_small_for_mokd_stays_as_it_is_beside_a_large_one():
    small, queries = task([1, 1, 1])
    adapter: Any = adapters.load("mokd")
    predictor = adapter.adapt_many([task([5, 5])[0], small])[1]
    torch.testing.assert_close(predictor(queries), adapters.load("ncc").adapt(small)(queries), rtol=0, atol=1e-12)


def test_padding_is_of_no_class_and_has_no_shots():
    features, members, shots, sizes, present = batch([task([2, 1])[0], task([3, 1, 2])[0]])
    assert features.shape == (2, 6, 12)
    assert not features[0, 3:].any()
    assert not members[0, :, 3:].any()
    assert shots[:, :, 0].tolist() == [[2, 1, 0], [3, 1, 2]]
    assert sizes.flatten().tolist() == [3, 6]
    assert present[:, 0].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]


@every_method
def test_several_tasks_are_adapted_without_waiting_for_a_value(name):
    adapter: Any = adapters.load(name)
    supports = [task(shots)[0] for shots in ([3, 2, 4], [1, 1], [2] * 6)]
    moved = [s._replace(labels=s.labels.to("meta"), features=s.features.to("meta")) for s in supports]
    predictors = adapter.adapt_many(moved)
    assert [p.prototypes.shape for p in predictors] == [(3, 12), (2, 12), (6, 12)]


class LargestTensor(TorchDispatchMode):
    """The most elements that any operation gave, in views their own."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() // 8 for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


@every_method
def test_no_tensor_of_a_descent_is_of_way_times_support_times_width(name):
    way, shots, d = 20, 8, 24
    support, _ = task([shots] * way, d=d)
    with LargestTensor() as largest:
        adapters.load(name, steps=2).adapt(support)
    n = way * shots
    assert 0 < largest.elements <= max(2 * d * d, (n + way) * d, n * n) < way * n * d
