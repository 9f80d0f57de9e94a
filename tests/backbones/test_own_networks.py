"""The user's own networks: a function in a file, an entry point, and what can be wrong with them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import backbones
from backbones.errors import BackboneError, UnknownBackbone
from harness.blocks import load_backbone
from harness.build_request import backbone_choice

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.bn = nn.BatchNorm2d(6)
    def forward(self, images):
        return self.bn(self.conv(images)).relu().mean((2, 3))

def net():
    return Net()
"""
MAPS = """
    def maps(self, images):
        return self.bn(self.conv(images)).relu()
"""
WITH_CARD = (
    NET
    + """
from backbones.contract import BackboneCard
CARD = BackboneCard(name="mine", arch="net", image_size=32, normalisation="mean 0.4,0.4,0.4 std 0.2,0.2,0.2",
                    training_data_known=True, trained_on={"icons": ("train",)})
def with_card():
    return Net(), CARD
def carrying_its_card():
    net = Net()
    net.card = CARD
    return net
"""
)
IMAGES = torch.rand(5, 3, 84, 84, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def file(tmp_path):
    """Write a file and give its path."""

    def write(text, name="mynet.py") -> Path:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def load(path: Path, factory="net", **options) -> Any:
    return backbones.load(f"{path}:{factory}", **options)


def refused(name, kind=BackboneError) -> str:
    with pytest.raises(kind) as caught:
        backbones.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_function_in_a_file_is_a_backbone(file):
    backbone = load(file(NET))
    assert (backbone.name, backbone.feature_dim, backbone.card.image_size) == ("mynet:net", 6, 84)
    assert not backbone.module.training
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())
    conv, norm = backbone.module.conv, backbone.module.bn
    torch.testing.assert_close(backbone.embed(IMAGES), norm(conv(IMAGES)).relu().mean((2, 3)))
    assert backbone.card.seen("icons") == "unknown"


def test_its_module_is_the_users_own_so_that_methods_find_its_layers_by_name(file):
    assert [name for name, _ in load(file(NET)).module.named_children()] == ["conv", "bn"]


def test_maps_are_given_by_networks_that_have_them(file):
    assert load(file(NET.replace("\ndef net", MAPS + "\ndef net"))).maps(IMAGES).shape == (5, 6, 42, 42)
    with pytest.raises(BackboneError, match=r"'mynet:net' has no maps: give its module maps\(images\)"):
        load(file(NET)).maps(IMAGES)


@pytest.mark.parametrize("factory", ["with_card", "carrying_its_card"])
def test_a_card_says_name_pixels_and_training_data(factory, file):
    backbone = load(file(WITH_CARD), factory)
    assert backbone.name == "mine"
    assert (backbone.card.seen("icons"), backbone.card.seen("mnist")) == ("seen", "unseen")
    images = IMAGES[..., :32, :32]
    network = backbone.module.network
    expected = network.bn(network.conv(((images + 1) / 2 - 0.4) / 0.2)).relu().mean((2, 3))
    torch.testing.assert_close(backbone.embed(images), expected)


def test_random_weights_are_the_same_in_every_process_and_leave_the_global_generator_alone(file):
    path = file(NET)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = backbones.identity(load(path))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    assert backbones.identity(load(path)) == first


def test_identity_covers_the_weights(file):
    biased = NET.replace(
        "return Net()", "net = Net(); net.conv.bias.data += float(open(__file__ + '.bias').read()); return net"
    )
    path, found = file(biased), set()
    for bias in ("0", "1"):
        file(bias, "mynet.py.bias")
        found.add(backbones.identity(load(path)))
    assert len(found) == 2


def test_identity_covers_the_source_of_the_file(file):
    first = backbones.identity(load(file(NET)))
    assert backbones.identity(load(file(NET.replace(".relu()", ".tanh()")))) != first
    assert backbones.identity(load(file(NET))) == first


def test_identity_does_not_change_with_the_place_of_the_file(file):
    assert backbones.identity(load(file(NET))) == backbones.identity(load(file(NET, "elsewhere/mynet.py")))


def test_modules_beside_the_file_can_be_imported_and_their_source_is_covered(file, monkeypatch):
    main = "from my_layers import Net\ndef net():\n    return Net()\n"
    found = []
    for text in (NET, NET.replace(".relu()", ".tanh()")):
        file(text, "my_layers.py")
        found.append(backbones.identity(load(file(main))))
        for name in [name for name in sys.modules if name == "my_layers" or name.startswith("metabench_backbone_")]:
            monkeypatch.delitem(sys.modules, name)  # as in another process
    assert found[0] != found[1]
    assert not any(str(file(main).parent) == entry for entry in sys.path)


def test_identity_covers_what_neither_weights_nor_classes_tell(file):
    own = NET.replace("return self.bn", "return factor() * self.bn").replace(
        "from torch", "from scaling import factor\nfrom torch"
    )
    identities = set()
    for folder, factor in (("a", 1), ("b", 1), ("c", 2)):
        file(f"def factor():\n    return {factor}\n", f"{folder}/scaling.py")
        identities.add(identity_in_a_new_process(file(own, f"{folder}/mynet.py")))
    assert len(identities) == 2


def test_the_same_name_beside_two_networks_is_refused_where_python_would_mix_them_up(file, monkeypatch):
    monkeypatch.delitem(sys.modules, "sizes", raising=False)
    own = "from sizes import Conv2d\n" + NET
    for folder in ("one", "two"):
        file("from torch.nn import Conv2d\n", f"{folder}/sizes.py")
        file(own, f"{folder}/mynet.py")
    backbones.load(f"{file(own, 'one/mynet.py')}:net")
    with pytest.raises(BackboneError, match="Python has loaded another sizes.py already"):
        backbones.load(f"{file(own, 'two/mynet.py')}:net")


def identity_in_a_new_process(path):
    code = f"import backbones; print(backbones.identity(backbones.load('{path}:net')))"
    repo = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=repo, check=True, capture_output=True, text=True).stdout


def test_a_network_left_in_train_mode_is_evaluated(file):
    trained = load(file(NET.replace("return Net()", "return Net().train()")))
    assert torch.equal(trained.embed(IMAGES)[:1], trained.embed(IMAGES[:1]))


def test_a_network_without_parameters_or_with_shared_ones_is_taken(file):
    plain = "from torch import nn\ndef net():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())\n"
    assert load(file(plain)).feature_dim == 12
    shared = NET.replace("return Net()", "net = Net(); net.bn.bias = net.bn.weight; return net")
    assert load(file(shared)).feature_dim == 6


def test_other_precisions_are_honoured(file):
    assert load(file(WITH_CARD), "with_card", dtype=torch.float64).embed(IMAGES[..., :32, :32]).dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("return Net()", "raise RuntimeError('no checkpoint\\nhere')"),
            "its factory fails: RuntimeError: no checkpoint",
        ),
        (("return Net()", "return 3"), "must return a torch module, or one and a BackboneCard, not int"),
        (("return Net()", "return Net(), 3"), "not Net and int"),
        ((".mean((2, 3))", ""), "must give features of shape (2, d), not shape (2, 6, 42, 42)"),
        ((".mean((2, 3))", ".mean()"), "must give features of shape (2, d), not shape ()"),
        (("return self.bn", "return 'text'; self.bn"), "must give features of shape (2, d), not str"),
        ((".relu()", ".log()"), "hold NaN or infinity"),
        (("nn.BatchNorm2d(6)", "nn.BatchNorm2d(6, track_running_stats=False)"), "change with the other images"),
        (("self.bn(", "nn.functional.dropout("), "change with the other images of the batch, or from call to call"),
        (("self.conv(images)", "self.conv(images[:, :2])"), "fails on images of 84 pixels: RuntimeError"),
        (("class Net", "import no_such_module\nclass Net"), "cannot be imported: ModuleNotFoundError"),
        (("class Net", "class Net("), "cannot be imported: SyntaxError"),
    ],
)
def test_a_faulty_network_is_told_in_one_line(change, says, file):
    path = file(NET.replace(*change))
    said = refused(f"{path}:net")
    assert says in said
    assert "mynet" in said


def test_a_missing_file_or_function_is_named(file, tmp_path):
    path = file(NET)
    assert refused(f"{path}:nett", UnknownBackbone).endswith("has no function 'nett'; it has net")
    assert "no backbone file" in refused(f"{tmp_path}/no.py:net", UnknownBackbone)
    assert f"{path}:FUNCTION" in refused(str(path))


def test_relative_paths_mean_the_same_in_workers_that_stand_elsewhere(file, monkeypatch, tmp_path):
    monkeypatch.chdir(file(NET).parent)
    choice = backbone_choice("mynet.py:net", None, "float32")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_backbone(choice, "cpu").feature_dim == 6


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder where the tiny distribution is installed."""
    source, target = Path(__file__).parent / "plugins/tiny_distribution", tmp_path_factory.mktemp("site")
    (target / "tiny_backbones.py").write_bytes((source / "tiny_backbones.py").read_bytes())
    info = target / "tiny_backbones-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-backbones\nVersion: 1.0\n")
    project = (source / "pyproject.toml").read_text()
    entries = project.partition('[project.entry-points."metabench.backbones"]')[2].partition("[")[0].replace('"', "")
    (info / "entry_points.txt").write_text(f"[metabench.backbones]\n{entries}")
    return target


def test_networks_of_installed_distributions_are_listed_without_importing_them(installed):
    program = "import sys, backbones; print(backbones.known()); print({'tiny_backbones', 'torch'} & {*sys.modules})"
    path = f"{Path(backbones.__file__).parents[1]}:{installed}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert "'mean-colour'" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_an_entry_point_is_loaded_by_its_name(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    backbone = backbones.load("mean-colour")
    assert (backbone.name, backbone.feature_dim, backbone.card.seen("mnist")) == ("mean-colour", 12, "unseen")
    assert backbone.maps(IMAGES).shape == (5, 3, 2, 2)
    assert "Did you mean 'mean-colour'?" in refused("mean-color", UnknownBackbone)


def test_an_installed_network_replaces_none_of_ours(monkeypatch, tmp_path):
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metabench.backbones]\nraw-pixels = no_such_module:net\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert backbones.load("raw-pixels").card.arch == "raw-pixels"
