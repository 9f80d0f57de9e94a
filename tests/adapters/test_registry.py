"""From names to adapters: files of the room, plug-in files, entry points, and the errors on the way."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import adapters
from adapters import BadAdapter, BadHyperparameter, Support, UnknownAdapter

PLUGIN = Path(__file__).parent / "plugins" / "centred_centroid.py"
MINIMAL = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Zeros:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    bias: float = 0.0

    def adapt(self, support, *, rng=None):
        return lambda queries: queries.new_full((len(queries), support.way), self.bias)
"""


@pytest.fixture
def plugin(tmp_path):
    """Write a plug-in file and give its path."""

    def write(text, name="zeros.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def load(*args, **kwargs) -> Any:
    """An adapter of whatever fields."""
    return adapters.load(*args, **kwargs)


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_methods_of_the_room_are_known():
    assert {"ncc", "url", "copa"} <= set(adapters.known())
    assert not {"contract", "registry", "errors", "checks"} & set(adapters.known())
    assert not any(name.startswith("-") or "_" in name for name in adapters.known())


def test_listing_imports_no_method_and_no_torch():
    program = "import sys, adapters; adapters.known(); print(*sys.modules)"
    root = Path(adapters.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    imported = set(done.stdout.split())
    assert not {"torch", "numpy", "adapters.url", "adapters.ncc", "adapters.copa"} & imported
    assert "adapters.registry" in imported


def test_defaults_are_the_published_ones():
    given = {name: dataclasses.asdict(load(name)) for name in ("ncc", "url", "copa")}
    assert given == {
        "ncc": {"distance": "cosine", "scale": 10.0},
        "url": {"lr": 1.0, "steps": 40},
        "copa": {"lr": 1e-3, "weight_decay": 0.1, "tau": 2.0, "steps": 50, "heads": "linear"},
    }


def test_text_becomes_the_type_of_the_field():
    adapter = load("url", lr="0.5", steps="20")
    assert (adapter.lr, adapter.steps) == (0.5, 20)


def test_adapters_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("url").lr = 3.0


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownAdapter) as caught:
        load("ulr")
    assert one_line(caught).startswith("no adapter 'ulr'. Did you mean 'url'? Known: ")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lrr": 1}, "no hyper-parameter 'lrr'. Did you mean 'lr'? Known: lr, steps"),
        ({"lr": "fast"}, "lr must be float"),
        ({"lr": -1}, "lr must be float > 0"),
        ({"lr": "nan"}, "lr must be float"),
        ({"lr": "inf"}, "lr must be float"),
        ({"steps": 2.5}, "steps must be int"),
        ({"steps": True}, "steps must be int"),
        ({"steps": -1}, "steps must be int >= 0, not -1"),
    ],
)
def test_a_bad_hyperparameter_is_named_in_one_line(settings, says):
    with pytest.raises(BadHyperparameter) as caught:
        load("url", **settings)
    assert one_line(caught).startswith("adapter 'url'")
    assert says in str(caught.value)


def test_copa_refuses_heads_that_it_does_not_have():
    with pytest.raises(BadHyperparameter) as caught:
        load("copa", heads="cnn")
    assert one_line(caught) == "adapter 'copa': no heads 'cnn'. Known: linear, transformer"


def test_official_rates_of_url_depend_on_what_the_backbone_has_seen():
    assert adapters.official_hyperparameters("url", "fungi", True, "standard") == {"lr": 0.1}
    assert adapters.official_hyperparameters("url", "mnist", False, "1shot") == {"lr": 1.0}


@pytest.mark.parametrize("seen", [True, False])
def test_official_rates_of_copa_depend_on_the_name_of_the_domain(seen):
    for domain in ("mnist", "traffic_sign"):
        rates = adapters.official_hyperparameters("copa", domain, seen, "5shot")
        assert rates == {"lr": 5e-3, "weight_decay": 0.0}
    assert adapters.official_hyperparameters("copa", "fungi", seen, "5shot") == {"lr": 1e-3, "weight_decay": 0.1}


def test_official_rates_of_copas_attention_heads_are_lower():
    for domain, lr, weight_decay in (("mnist", 1e-3, 0.0), ("fungi", 1e-4, 0.1)):
        rates = adapters.official_hyperparameters("copa", domain, True, "standard", {"heads": "transformer"})
        assert rates == {"lr": lr, "weight_decay": weight_decay}


def test_methods_without_published_rates_have_no_official_ones():
    assert adapters.official_hyperparameters("ncc", "mnist", True, "standard") == {}


@pytest.mark.parametrize("name", ["url", "copa"])
def test_official_rates_can_be_loaded(name):
    adapter = load(name, **adapters.official_hyperparameters(name, "mnist", True, "standard"))
    assert adapter.lr in {0.1, 5e-3}


def test_configuration_names_everything_that_decides_the_answer():
    assert adapters.configuration(load("url", lr=0.1)) == {
        "name": "url",
        "version": "1",
        "hyperparameters": {"lr": 0.1, "steps": 40},
    }


def test_a_file_path_is_a_name_too():
    adapter = load(PLUGIN, scale="5")
    support = Support(torch.tensor([0, 1]), 2, torch.eye(2))
    assert adapter.adapt(support)(torch.eye(2)).argmax(1).tolist() == [0, 1]
    assert adapters.configuration(adapter)["name"] == "centred-centroid"
    assert adapter.scale == 5.0


def test_traits_that_a_plug_in_leaves_out_are_filled_in():
    adapter = load(PLUGIN)
    assert (adapter.transductive, adapter.stochastic, adapter.batched, adapter.views) == (False, False, False, None)


def test_an_edited_plug_in_is_another_version_unless_it_declares_one(plugin):
    first = load(plugin(MINIMAL))
    again = load(plugin(MINIMAL))
    edited = load(plugin(MINIMAL.replace("self.bias", "-self.bias")))
    versions = [adapters.configuration(adapter)["version"] for adapter in (first, again, edited)]
    assert type(first) is type(again)
    assert versions[0] == versions[1] != versions[2]
    declared = load(plugin(MINIMAL + "\nVERSION = '7'\n"))
    assert adapters.configuration(declared)["version"] == "7"


def test_a_plug_in_may_have_official_rates(plugin):
    path = plugin(MINIMAL + "\ndef official(domain, seen, setting):\n    return {'bias': float(len(domain))}\n")
    assert adapters.official_hyperparameters(path, "dtd", False, "standard") == {"bias": 3.0}


def test_official_rates_may_depend_on_hyperparameters_of_the_users(plugin):
    official = "\ndef official(domain, seen, setting, *, steps=40):\n    return {'bias': steps / 10}\n"
    path = plugin(MINIMAL.replace("    bias", "    steps: int = 40\n    bias") + official)
    assert adapters.official_hyperparameters(path, "dtd", False, "standard") == {"bias": 4.0}
    given = {"steps": "20", "bias": "1"}
    assert adapters.official_hyperparameters(path, "dtd", False, "standard", given) == {"bias": 2.0}
    with pytest.raises(BadHyperparameter, match="steps must be int, not 'many'"):
        adapters.official_hyperparameters(path, "dtd", False, "standard", {"steps": "many"})


def test_whether_an_adapter_has_official_rates_is_known():
    assert [adapters.has_official(name) for name in ("ncc", "url", "tsa")] == [False, True, True]


def test_a_backbone_reaches_the_adapters_that_have_a_field_for_it(plugin):
    path = plugin(MINIMAL.replace("    bias", "    backbone: object\n    bias"))
    network = torch.nn.Identity()
    adapter = load(path, backbone=network)
    assert adapter.backbone is network
    assert adapters.configuration(adapter)["hyperparameters"] == {"bias": 0.0}
    assert load("ncc", backbone=network) == load("ncc")
    with pytest.raises(BadHyperparameter, match=r"load it with backbone=\.\.\."):
        load(path)


def test_a_hyperparameter_without_default_must_be_given(plugin):
    path = plugin(MINIMAL.replace("bias: float = 0.0", "bias: float"))
    with pytest.raises(BadHyperparameter, match=r"needs a value for 'bias': write zeros\(bias=\.\.\.\)"):
        load(path)
    assert load(path, bias=1).bias == 1.0


def test_a_combination_that_the_class_refuses_is_a_bad_hyperparameter(plugin):
    check = "    def __post_init__(self):\n        if self.bias == 13: raise ValueError('bias 13 is unlucky')\n"
    with pytest.raises(BadHyperparameter, match="adapter 'zeros': bias 13 is unlucky"):
        load(plugin(MINIMAL + check), bias=13)


BY_FIELD = MINIMAL.replace(
    '    needs: ClassVar = frozenset({"features"})\n',
    '    @property\n    def needs(self):\n        return frozenset({"maps"} if self.bias else {"features"})\n',
)


def test_needs_may_depend_on_a_hyperparameter(plugin):
    path = plugin(BY_FIELD)
    assert [load(path, bias=bias).needs for bias in (0, 1)] == [{"features"}, {"maps"}]
    with pytest.raises(BadAdapter, match="needs must be a frozenset of: class_names, features"):
        load(plugin(BY_FIELD.replace('"maps"', '"pixels"')), bias=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("X = 1", "must define one public class with an adapt method; found: none"),
        (MINIMAL + MINIMAL.replace("Zeros", "Ones"), "found: Ones, Zeros"),
        (MINIMAL.replace("frozen=True", ""), "must be a dataclass(frozen=True)"),
        (MINIMAL.replace('{"features"}', '{"labels"}'), "needs must be a frozenset of: class_names, features"),
        (MINIMAL.replace('ClassVar = "features"', 'ClassVar = "pixels"'), "takes must be one of: features"),
        (MINIMAL.replace("bias: float", "bias: 'Missing'"), "the type of a field cannot be resolved"),
    ],
)
def test_a_faulty_plug_in_is_refused_in_one_line(plugin, text, says):
    with pytest.raises(BadAdapter) as caught:
        load(plugin(text))
    assert says in one_line(caught)
    assert "zeros" in one_line(caught)


def test_a_missing_plug_in_file_is_named():
    with pytest.raises(UnknownAdapter, match=r"no adapter file 'nowhere/mine\.py': No such file"):
        load("nowhere/mine.py")


def test_a_plug_in_file_cannot_take_the_name_of_a_known_adapter(plugin):
    with pytest.raises(BadAdapter, match="there is already an adapter 'url'; rename the file"):
        load(plugin(MINIMAL, "url.py"))


def test_the_path_of_a_method_of_the_room_is_that_method():
    path = Path(adapters.__file__).parent / "url.py"
    assert load(path, lr=0.1) == load("url", lr=0.1)


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """An installed distribution that offers two adapters, one under a name of ours."""
    (tmp_path / "foreign_zeros.py").write_text(MINIMAL)
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    entries = "zeros = foreign_zeros\nzeros-class = foreign_zeros:Zeros\nurl = foreign_zeros\n"
    (info / "entry_points.txt").write_text(f"[metabench.adapters]\n{entries}")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("foreign_zeros", None)


@pytest.mark.usefixtures("distribution")
def test_entry_points_of_other_distributions_are_known_without_importing_them():
    assert {"zeros", "zeros-class"} <= set(adapters.known())
    assert "foreign_zeros" not in sys.modules


@pytest.mark.usefixtures("distribution")
@pytest.mark.parametrize("name", ["zeros", "zeros-class"])
def test_an_entry_point_loads_as_a_module_or_as_a_class(name):
    adapter = load(name, bias="2")
    assert adapter.adapt(Support(torch.tensor([0, 1]), 2))(torch.zeros(1, 3)).tolist() == [[2.0, 2.0]]
    assert adapters.configuration(adapter)["name"] == name


@pytest.mark.usefixtures("distribution")
def test_a_foreign_distribution_cannot_replace_a_method_of_the_room():
    assert type(load("url")).__module__ == "adapters.url"
