"""`harness.evaluate` in a training loop: the numbers of `metabench run`, and nothing of the caller's is touched."""

import random
import sqlite3
import subprocess
import sys

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import backbones
from backbones.errors import BackboneError
from backbones.resnet18 import ResNet18
from backbones.weights import save_weights
from harness import evaluate
from harness.errors import HarnessError

COLUMNS = ["domain", "adapter", "task", "accuracy", "way", "n_support", "n_query", "seen", "wall_s"]


class Net(nn.Module):
    """Batch statistics, random numbers in training, and part of it frozen: what a loop has and an evaluation not."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.conv.weight.requires_grad_(False)

    def forward(self, images):
        return self.dropout(self.bn(self.conv(images)).relu()).mean((2, 3))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def tiny(workspace):
    """evaluate() on the two tiny data sets; further arguments may follow."""

    def call(module, adapters="ncc", **options):
        options = {"tasks": 4, "records": workspace / "records", "image_size": 32, **options}
        return evaluate(module, adapters, workspace / "tiny.toml", **options)

    return call


def test_the_numbers_are_those_of_metabench_run_on_the_same_network(run_ok, workspace):
    torch.manual_seed(0)
    net = ResNet18((4, 4, 8, 8))
    card = msgspec.structs.replace(backbones.load("resnet18-pocket-random").card, name="mine", widths=(4, 4, 8, 8))
    save_weights(net.state_dict(), card, workspace / "mine.safetensors")
    run_ok("--backbone", "mine.safetensors", "--adapters", "ncc,url,finetune(steps=1)", "--tasks", 2, "--seed", 5)
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        columns = "domain, adapter, task, accuracy, way, n_support, n_query"
        stored = sorted(database.execute(f"SELECT {columns} FROM rows"))
    frame = evaluate(
        net.train(),
        ["ncc", "url", "finetune(steps=1)"],
        workspace / "tiny.toml",
        2,
        seed=5,
        records=workspace / "records",
        trained_on={},
    )
    assert list(frame.columns) == COLUMNS
    named = frame.assign(adapter=frame["adapter"].str.partition("(")[0])
    assert sorted(named[COLUMNS[:7]].itertuples(index=False, name=None)) == stored
    assert (frame["wall_s"] > 0).all()


def test_rows_stand_domain_by_domain_adapter_by_adapter(tiny, net):
    frame = tiny(net, "url ncc", tasks=2)
    keys = [(domain, adapter, task) for domain in ("reds", "blues") for adapter in ("url", "ncc") for task in (0, 1)]
    assert list(frame[["domain", "adapter", "task"]].itertuples(index=False, name=None)) == keys


def test_the_module_and_all_random_states_stay_as_they_were(tiny, net):
    net.train()
    net.bn.eval()
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    flags = [module.training for module in net.modules()], [p.requires_grad for p in net.parameters()]
    random_states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    tiny(net, ["ncc", "url", "finetune(steps=1)"], tasks=2)
    assert all(torch.equal(value, weights[key]) for key, value in net.state_dict().items())
    for parameter, grad in zip(net.parameters(), grads, strict=True):
        assert parameter.grad is grad is None or torch.equal(parameter.grad, grad)
    assert ([module.training for module in net.modules()], [p.requires_grad for p in net.parameters()]) == flags
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == random_states[1:]
    assert "feature_dim" not in vars(net)


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_what_the_caller_is_in_the_middle_of_changes_nothing(tiny, net, surroundings):
    plain = tiny(net, "url")
    with surroundings():
        inside = tiny(net, "url")
    assert inside["accuracy"].tolist() == plain["accuracy"].tolist()


def test_every_call_looks_at_the_weights_of_now(tiny, net):
    before = tiny(net)
    with torch.no_grad():
        net.bn.weight[1:] = 0.0
    after = tiny(net)
    assert before["accuracy"].tolist() != after["accuracy"].tolist()


def test_nothing_is_printed_and_no_embedding_or_row_is_kept(tiny, net, workspace, monkeypatch, capfd):
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("METABENCH_CACHE", str(workspace / "cache"))
    tiny(net)
    assert capfd.readouterr() == ("", "")
    assert not (workspace / "cache/embeddings").exists()
    assert not (workspace / "runs").exists()


def test_rows_are_kept_where_they_are_asked_for_and_each_state_has_its_own(tiny, net, workspace, metabench):
    tiny(net, out="kept", name="epoch 1")
    with torch.no_grad():
        net.conv.weight.mul_(-1)
    tiny(net, out="kept", name="epoch 2")
    with sqlite3.connect(workspace / "kept/results.sqlite") as database:
        found = list(database.execute("SELECT backbone, count(DISTINCT backbone_hash), count(*) FROM rows GROUP BY 1"))
    assert found == [("epoch 1", 1, 8), ("epoch 2", 1, 8)]
    shown = metabench("leaderboard", "--out", "kept")
    assert "@ epoch 1" in shown.out
    assert "@ epoch 2" in shown.out


def test_what_it_was_trained_on_decides_the_state_of_each_domain(tiny, net):
    states = {}
    for trained_on in (None, "reds", {"blues": "all"}):
        frame = tiny(net, tasks=1, trained_on=trained_on)
        states[str(trained_on)] = dict(zip(frame["domain"], frame["seen"], strict=True))
    assert list(states.values()) == [
        {"reds": "unknown", "blues": "unknown"},
        {"reds": "seen", "blues": "unseen"},
        {"reds": "unseen", "blues": "seen"},
    ]


def test_a_misspelt_name_of_what_it_was_trained_on_is_warned_about(tiny, net):
    with pytest.warns(UserWarning, match="trained on 'bleus': no data set of that name is known. Did you mean 'blues'"):
        tiny(net, tasks=1, trained_on="reds,bleus")


def test_valid_classes_of_some_domains_can_be_asked_for(net):
    frame = evaluate(net, datasets="emoji", split="valid", tasks=2, image_size=32)
    assert set(frame["domain"]) == {"emoji"}
    assert (frame["way"] <= 8).all()


@pytest.mark.parametrize("tasks", [0, -1])
def test_less_than_one_episode_is_refused_in_words(tiny, net, tasks):
    with pytest.raises(HarnessError, match=f"tasks={tasks}: give 1 or more"):
        tiny(net, tasks=tasks)


def test_a_backbone_is_taken_as_it_is(tiny):
    backbone = backbones.load("raw-pixels")
    assert set(tiny(backbone)["seen"]) == {"unseen"}
    with pytest.raises(HarnessError, match="'raw-pixels' has a name and a card; leave out name and trained_on"):
        tiny(backbone, trained_on="reds")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of importing the compiler
def test_a_wrapper_is_looked_through(tiny, net):
    plain = tiny(net)
    wrapped = torch.compile(nn.DataParallel(net))  # compiles at its first call, which never comes
    assert tiny(wrapped)["accuracy"].tolist() == plain["accuracy"].tolist()


class Broken(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x, r"'Broken': 2 images must give features of shape \(2, d\), not shape \(2, 3, 32, 32\)"),
        (lambda x: (x, x), "not tuple"),
        (lambda x: x.flatten(1)[:1], r"not shape \(1, 3072\)"),
        (lambda x: x.flatten(1) / 0, "NaN or infinity; has its training diverged"),
        (lambda x: x @ x[..., :3, :], "'Broken' fails on images of 32 pixels: RuntimeError"),
    ],
)
def test_a_module_that_makes_no_features_is_refused_in_words(tiny, answer, words):
    with pytest.raises(BackboneError, match=words):
        tiny(Broken(answer))


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ("resnet18", {}, "evaluate wants a torch module or a Backbone, not str"),
        ([Net()], {}, "not list"),
        (Net(), {"image_size": 0}, "image_size=0: give the side"),
        (Net(), {"device": "gpu"}, "no --device 'gpu'. Did you mean 'cpu'?"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_words(tiny, given, options, words):
    with pytest.raises(HarnessError, match=words):
        tiny(given, **options)


class SaysItsDim(Net):
    says = 8

    @property
    def feature_dim(self):
        return self.says


def test_a_feature_dim_of_the_networks_own_is_taken_and_a_wrong_one_refused(tiny):
    assert len(tiny(SaysItsDim(), tasks=1)) == 2
    wrong = SaysItsDim()
    wrong.says = 7
    with pytest.raises(BackboneError, match="'SaysItsDim': its feature_dim is 7, its features have 8; correct"):
        tiny(wrong, tasks=1)


def with_batch_statistics(net):
    net.bn = nn.BatchNorm2d(8, track_running_stats=False)


def with_training_mode_kept(net):
    net.dropout.train = lambda mode=True: net.dropout
    net.dropout.eval = net.dropout.train


@pytest.mark.parametrize("spoilt", [with_batch_statistics, with_training_mode_kept])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_depend_on_the_batch_or_on_chance_are_refused_as_by_metabench_run(tiny, net, spoilt, dtype):
    spoilt(net)
    random_state = torch.get_rng_state()
    with pytest.raises(BackboneError, match="'Net': an image's features change with the other images of the batch"):
        tiny(net.to(dtype))
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_network_is_evaluated_in_its_own_dtype(tiny, net, dtype, workspace):
    assert len(tiny(net.to(dtype), out=workspace / "kept")) == 8
    assert {tensor.dtype for tensor in net.parameters()} == {dtype}
    with sqlite3.connect(workspace / "kept/results.sqlite") as database:
        assert list(database.execute("SELECT DISTINCT dtype FROM rows")) == [(str(dtype).removeprefix("torch."),)]


def test_a_module_that_cannot_be_copied_is_refused_in_words(tiny, net):
    net.kept = net.bn.weight * 2  # a tensor with a history
    with pytest.raises(HarnessError, match="Net cannot be copied"):
        tiny(net)


def test_a_module_of_several_dtypes_is_refused_in_words(tiny, net):
    net.conv.bfloat16()
    with pytest.raises(HarnessError, match=r"Net has weights in bfloat16 and float32; one is wanted"):
        tiny(net)


def test_a_method_on_maps_asks_for_a_network_that_has_them(tiny, net):
    with pytest.raises(HarnessError, match=r"adapter 'copa' works on maps; give Net a method maps"):
        tiny(net, "copa(heads=transformer)")


def test_importing_the_harness_imports_no_torch():
    code = "import sys, harness; assert 'evaluate' in harness.__all__; print({'torch', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
