"""`metabench check-adapter`: the report, and the harness's own part of the contract."""

from io import StringIO

import pytest
from rich.console import Console

from adapters import BadHyperparameter, UnknownAdapter
from harness.commands import check_adapter as check_command
from harness.commands.check_adapter import check, check_adapter

MAPS = """
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class MapMeans:
    needs: ClassVar = frozenset({NEEDS})
    takes: ClassVar = "maps"

    def adapt(self, support, *, rng=None):
        means = [support.maps[support.labels == c].mean(0).flatten() for c in range(support.way)]
        prototypes = torch.stack(means).double()
        return lambda maps: maps.double().flatten(1) @ prototypes.t()
"""


@pytest.fixture
def report():
    """Check an adapter: (whether nothing failed, what was printed)."""

    def command(text):
        out = StringIO()
        return check_adapter(Console(file=out, width=160), str(text)), out.getvalue()

    return command


@pytest.fixture
def map_means(tmp_path):
    """A plug-in of maps that needs this."""

    def write(needs='"maps"'):
        path = tmp_path / "map_means.py"
        path.write_text(MAPS.replace("NEEDS", needs))
        return str(path)

    return write


def outcome(results, name):
    (found,) = (result for result in results if result.name == name)
    return found.outcome


def test_the_report_names_every_check_with_its_outcome_and_reason(report):
    ok, text = report("ncc(scale=5)")
    assert ok
    assert "support_order_is_irrelevant" in text
    assert "it does not say that it is batched" in text
    assert "ncc(scale=5): 17 ok, 0 failed, 3 not applicable" in text


def test_a_failed_check_fails_the_command_and_says_why(report, tmp_path):
    path = tmp_path / "first_seen.py"
    path.write_text(MAPS.replace("NEEDS", '"maps"').replace(".mean(0)", "[0]"))
    ok, text = report(path)
    assert not ok
    assert "another order of the support gives other logits" in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(5)", "SystemExit: 5"),
        ("return lambda maps: maps.flatten(1).numpy()", "logits are numpy.ndarray, not a torch tensor"),
    ],
)
def test_an_adapter_that_leaves_or_gives_no_tensor_is_told_so(report, tmp_path, body, words):
    path = tmp_path / "strange.py"
    path.write_text(MAPS.replace("NEEDS", '"maps"').replace("        means =", f"        {body}\n        means ="))
    ok, text = report(path)
    assert not ok
    assert words in text


def test_a_nan_is_refused_in_features_and_in_maps(map_means):
    assert outcome(check("ncc"), "nan_is_refused_before_adapt") == "ok"
    assert outcome(check(map_means('"features", "maps"')), "nan_is_refused_before_adapt") == "ok"


@pytest.mark.parametrize("kinds", ['"maps"', '"features", "maps"'])
def test_a_harness_that_refuses_no_nan_fails(map_means, monkeypatch, kinds):
    monkeypatch.setattr(check_command, "make_task", lambda *_: None)
    assert outcome(check(map_means(kinds)), "nan_is_refused_before_adapt") == "failed"


RUINS = """
from dataclasses import dataclass
from typing import Any, ClassVar
import torch


@dataclass(frozen=True)
class Ruins:
    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"
    backbone: Any

    def __post_init__(self):
        with torch.no_grad():
            self.backbone.module.conv1.weight.zero_()

    def adapt(self, support, *, rng=None):
        return lambda queries: queries.new_zeros(len(queries), support.way)
"""


def test_a_backbone_that_is_ruined_while_the_adapter_is_loaded_is_noticed(tmp_path):
    (tmp_path / "ruins.py").write_text(RUINS)
    assert outcome(check(str(tmp_path / "ruins.py")), "backbone_is_untouched") == "failed"


def test_a_wish_that_no_episode_grants_fails(map_means):
    results = check(map_means('"maps", "validation"'))
    assert outcome(results, "episodes_offer_what_it_needs") == "failed"


def test_what_cannot_be_loaded_is_an_error_and_no_report(report):
    with pytest.raises(UnknownAdapter, match="Did you mean 'url'"):
        report("ulr")
    with pytest.raises(BadHyperparameter, match="no hyper-parameter 'rate'"):
        report("url(rate=1)")


def test_the_narrow_backbone_is_always_the_same():
    one, other = (check_command.narrow_backbone().module.state_dict() for _ in range(2))
    assert all(value.equal(other[key]) for key, value in one.items())
