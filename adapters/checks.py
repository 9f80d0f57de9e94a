"""What the contract promises, as small checks that run an adapter on made-up tasks.

    for result in check_adapter(adapters.load("my_method.py")):
        print(result.name, result.outcome, result.reason)

Every check is a function whose name and first line say the promise. All inputs and seeds are fixed, so an adapter that
keeps its own promises gets the same results every time. Answers are compared with tolerances: "the same computation
twice" to 1e-6 of the logits' spread, "the same in another order of summation" to 1e-3, because dozens of descent steps
multiply the last bit; the answers that a broken promise gives differ by far more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from adapters._agreement import (
    CLOSE,
    HALF,
    SAME,
    Failed,
    NotApplicable,
    check_logits,
    check_shape,
    compare,
    compare_over_seeds,
)
from adapters._states import check_unchanged, global_random_state, global_random_state_restored, module_state
from adapters._trial import INPUTS, Task, Trial, asked, changed_inputs, renamed_classes, reordered
from adapters.contract import Adapter

_SHOTS = (3, 2, 4, 2)
_NEW_NAMES = (2, 0, 3, 1)

Outcome = Literal["ok", "failed", "not applicable"]


class CheckResult(NamedTuple):
    """`name`: of the check; `reason`, one line: what is promised, what went wrong, or why it does not apply."""

    name: str
    outcome: Outcome
    reason: str


def check_adapter(
    adapter: Adapter, *, feature_shape: tuple[int, ...] | None = None, before: Mapping[str, Any] | None = None
) -> list[CheckResult]:
    """Try the adapter on made-up tasks, every check of CHECKS in turn.

    An adapter with a `backbone` gets images of its card's size (and features and maps that it makes of them), so load
    it with a narrow one. `feature_shape`: of one image's features for the others; None is (16,), and (3, 16) for a
    method over several backbones.
    `before`: `module_state` of the backbone before the adapter was loaded with it; else it is taken now. Exceptions of
    the adapter are failures, not errors.
    """
    trial = Trial(adapter, feature_shape or ((3, 16) if getattr(adapter, "over_backbones", False) else (16,)))
    if before is None:
        before = module_state(trial.module) if trial.module is not None else {}
    results = [run_check(check, trial) for check in CHECKS]
    return [*results, run_check(backbone_is_untouched, trial, before)]  # last, so that it sees what all others left


def run_check(check: Callable[..., None], *arguments: Any) -> CheckResult:
    """The result of one check: it raises Failed or NotApplicable, or whatever the adapter raises."""
    outcome: Outcome = "ok"
    reason = (check.__doc__ or "").splitlines()[0]
    try:
        check(*arguments)
    except NotApplicable as why:
        outcome, reason = "not applicable", str(why)
    except Failed as why:
        outcome, reason = "failed", str(why)
    except (Exception, SystemExit) as error:  # an adapter is foreign code: it may raise anything
        outcome, reason = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    return CheckResult(check.__name__, outcome, reason)


# --- answers to every kind of task -----------------------------------------------------------------------------------


def logits_are_finite_and_of_shape(trial: Trial) -> None:
    """The predictor gives finite logits (queries, way)."""
    check_logits(trial, _SHOTS)


def one_shot(trial: Trial) -> None:
    """Five classes of one image each are a task."""
    check_logits(trial, [1] * 5)


def two_ways(trial: Trial) -> None:
    """Two classes are a task, with two columns of logits."""
    check_logits(trial, [3, 3])


def fifty_ways(trial: Trial) -> None:
    """Fifty classes are a task, also when fewer queries are asked than there are classes."""
    check_logits(trial, [2, 1] * 25)


def unbalanced_shots(trial: Trial) -> None:
    """Classes may have from one to thirty images in one task."""
    check_logits(trial, [1, 9, 2, 30, 4])


def class_with_one_image(trial: Trial) -> None:
    """One class may have a single image while the others have several."""
    check_logits(trial, [5, 1, 5])


def half_precision_inputs(trial: Trial) -> None:
    """Features and maps in float16 are adapted to as the same numbers in float32 are."""
    kinds = sorted({"features", "maps"} & trial.wants)
    if not kinds:
        raise NotApplicable("it reads neither features nor maps")
    task = trial.task(_SHOTS)
    half, single = (_in_precision(task, dtype, kinds, trial) for dtype in (torch.float16, torch.float32))
    compare(trial.answer(half), trial.answer(single), HALF, "float16 inputs give other logits")


# --- what must not matter --------------------------------------------------------------------------------------------


def permuted_labels_permute_logits(trial: Trial) -> None:
    """Calling the classes by other numbers permutes the logits and changes nothing else."""
    new = torch.tensor(_NEW_NAMES)
    task = trial.task(_SHOTS)
    renamed = task._replace(support=renamed_classes(task.support, new))
    compare_over_seeds(trial, renamed, task, "other class numbers give other logits", columns=new)


def support_order_is_irrelevant(trial: Trial) -> None:
    """The order of the support images changes nothing (in the mean over seeds if the adapter is stochastic)."""
    task = trial.task(_SHOTS)
    order = torch.randperm(sum(_SHOTS), generator=torch.Generator().manual_seed(1))
    shuffled = task._replace(support=reordered(task.support, order, trial.views))
    compare_over_seeds(trial, shuffled, task, "another order of the support gives other logits")


def queries_are_answered_alone(trial: Trial) -> None:
    """A query's logits do not depend on which other queries are asked with it, or in what order."""
    if trial.declares("transductive"):
        raise NotApplicable("it says that it is transductive")
    task = trial.task(_SHOTS)
    predictor = trial.adapt(task.support)
    together = asked(predictor, task.queries)
    alone = torch.cat([asked(predictor, query[None]) for query in task.queries])
    compare(alone, together, CLOSE, "a query alone gets other logits than among others")
    backwards = asked(predictor, task.queries.flip(0)).flip(0)
    compare(backwards, together, CLOSE, "queries in another order get other logits")


def another_task_changes_nothing(trial: Trial) -> None:
    """After adapting to A and then to B, A's predictor and a second adaptation to A answer as before."""
    first, second = trial.task(_SHOTS), trial.task([2, 3, 1, 2, 4], seed=1)
    predictor = trial.adapt(first.support)
    before = asked(predictor, first.queries)
    trial.answer(second)
    compare(asked(predictor, first.queries), before, SAME, "adapting to B changes the predictor of A")
    compare(trial.answer(first), before, SAME, "A is answered differently after B")


# --- randomness ------------------------------------------------------------------------------------------------------


def same_seed_same_answer(trial: Trial) -> None:
    """Adapting twice with generators of the same seed gives the same logits."""
    task = trial.task(_SHOTS)
    compare(trial.answer(task), trial.answer(task), SAME, "the same seed gives other logits")


def seed_is_irrelevant(trial: Trial) -> None:
    """An adapter that does not say `stochastic` answers the same for every seed, and without a generator."""
    if trial.declares("stochastic"):
        raise NotApplicable("it says that it is stochastic")
    task = trial.task(_SHOTS)
    first = trial.answer(task)
    compare(trial.answer(task, seed=1), first, SAME, "another seed gives other logits; say `stochastic = True`")
    without = asked(trial.adapter.adapt(task.support), task.queries)
    compare(without, first, SAME, "without a generator it gives other logits; say `stochastic = True`")


def global_random_state_is_untouched(trial: Trial) -> None:
    """The random states of torch, NumPy and Python are neither moved nor read: randomness is `rng` alone."""
    task = trial.task(_SHOTS)
    answers = []
    with global_random_state_restored():
        for seed in (0, 1):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            before = global_random_state()
            answers.append(trial.answer(task))
            moved = [name for name, state in global_random_state().items() if state != before[name]]
            if moved:
                raise Failed(f"it moves the global random state of {', '.join(moved)}; draw from `rng`")
    compare(answers[1], answers[0], SAME, "the logits depend on a global random state")


# --- hands off, and batches ------------------------------------------------------------------------------------------


def inputs_are_only_read(trial: Trial) -> None:
    """Support and queries are left as they were: values, flags and gradients; other adapters share their memory."""
    task = trial.task(_SHOTS)
    tensors = {kind: getattr(task.support, kind) for kind in ("labels", *INPUTS)} | {"queries": task.queries}
    copies = {kind: tensor.clone() for kind, tensor in tensors.items() if tensor is not None}
    trial.answer(task)
    for kind, copy in copies.items():
        tensor = tensors[kind]
        if tensor.shape != copy.shape or not torch.equal(tensor, copy):
            raise Failed(f"it writes to the {kind}")
        if tensor.requires_grad or tensor.grad is not None:
            raise Failed(f"it leaves gradients switched on for the {kind}; work on a copy or a view (`detach()`)")


def adapt_many_equals_adapt(trial: Trial) -> None:
    """`adapt_many` of several tasks answers each as `adapt` does: within 1e-10 in float64, 1e-4 in float32."""
    _refuse_unless_batched(trial)
    if trial.declares("stochastic"):
        raise NotApplicable("it is stochastic, and adapt_many takes no generators")
    if not callable(getattr(trial.adapter, "adapt_many", None)):
        raise Failed("it says that it is batched and has no adapt_many")
    shots = [(3, 2, 4), (1,) * 6, (2, 9, 1, 1), (3, 2, 4)]  # of several sizes, one of them twice
    tasks = [trial.task(each, seed) for seed, each in enumerate(shots)]
    predictors = trial.adapter.adapt_many([task.support for task in tasks])
    if len(predictors) != len(tasks):
        raise Failed(f"adapt_many gives {len(predictors)} predictors for {len(tasks)} tasks")
    for predictor, task in zip(predictors, tasks, strict=True):
        together, alone = asked(predictor, task.queries), trial.answer(task)
        check_shape(together, task)
        allowed = (1e-10 if alone.dtype == torch.float64 else 1e-4) * max(1.0, float(alone.abs().max()))
        if not (worst := float((together - alone).abs().max())) <= allowed:  # NaN too
            raise Failed(f"adapt_many differs from adapt by {worst:.1g}; {allowed:.1g} are allowed")
        if not torch.equal(together.argmax(1), alone.argmax(1)):
            raise Failed("adapt_many decides for other classes than adapt")


def adapts_without_host_sync(trial: Trial) -> None:
    """`adapt` and `adapt_many` never wait for a value: they complete on the meta device, which has none."""
    _refuse_unless_batched(trial)
    if trial.module is not None:
        raise NotApplicable("its backbone lies on a real device")
    support = changed_inputs(trial.task(_SHOTS).support, lambda tensor: tensor.to("meta"))
    support = support._replace(labels=support.labels.to("meta"))
    try:
        trial.adapt(support)
        many = getattr(trial.adapter, "adapt_many", None)
        if callable(many):  # else another check says so
            many([support, support])
    except Exception as error:  # torch has a type of its own for each way to ask
        reason = " ".join(str(error).split())
        raise Failed(f"adapting needs a tensor's values on the host (.item(), bool(), .cpu() ...): {reason}") from error


def backbone_is_untouched(trial: Trial, before: Mapping[str, Any]) -> None:
    """The frozen network is what it was before all checks: weights, buffers, gradients, flags, hooks, modules."""
    if trial.module is None:
        raise NotApplicable("it holds no backbone")
    thawed = [name for name, value in before.items() if name.endswith((".requires_grad", ".training")) and value]
    if thawed:
        raise Failed(f"the backbone is not frozen before `adapt`: {thawed[0]} is on ({len(thawed)} in all)")
    task = trial.task(_SHOTS)
    predictor = trial.adapt(task.support)
    check_unchanged(before, module_state(trial.module), "after `adapt`")
    asked(predictor, task.queries)
    check_unchanged(before, module_state(trial.module), "after the predictor's answer")


CHECKS: tuple[Callable[[Trial], None], ...] = (
    logits_are_finite_and_of_shape,
    one_shot,
    two_ways,
    fifty_ways,
    unbalanced_shots,
    class_with_one_image,
    half_precision_inputs,
    permuted_labels_permute_logits,
    support_order_is_irrelevant,
    queries_are_answered_alone,
    another_task_changes_nothing,
    same_seed_same_answer,
    seed_is_irrelevant,
    global_random_state_is_untouched,
    inputs_are_only_read,
    adapt_many_equals_adapt,
    adapts_without_host_sync,
)
"""All checks but `backbone_is_untouched`, in the order of the report."""


def _in_precision(task: Task, dtype: torch.dtype, kinds: list[str], trial: Trial) -> Task:
    """The task with these kinds of input rounded to float16 and held in `dtype`."""
    support = changed_inputs(task.support, lambda tensor: tensor.half().to(dtype), kinds)
    queries = task.queries.half().to(dtype) if trial.adapter.takes in kinds else task.queries
    return Task(support, queries)


def _refuse_unless_batched(trial: Trial) -> None:
    if not trial.declares("batched"):
        raise NotApplicable("it does not say that it is batched")
