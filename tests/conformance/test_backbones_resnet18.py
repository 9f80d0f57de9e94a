"""The ResNet-18 and its importer against numbers of the published implementation (VICO-UoE/URL)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import backbones
from backbones.checkpoints import import_checkpoint
from backbones.errors import BadWeights
from backbones.resnet18 import ResNet18

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared"))
VECTORS = SHARED / "conformance" / "adapters"
CHECKPOINT = VECTORS / "resnet18_narrow_model_best.pth.tar"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    import_checkpoint(CHECKPOINT, "resnet18", None, out)
    return out


def test_state_dict_has_the_published_keys_in_the_published_order() -> None:
    with np.load(VECTORS / "resnet18_narrow_state_dict.npz") as published:
        ours = ResNet18((8, 16, 32, 64)).state_dict()
        assert list(ours) == list(published.files)
        assert len(ours) == 120
        assert {key: tuple(value.shape) for key, value in ours.items()} == {key: published[key].shape for key in ours}


def test_imported_tensors_are_the_published_ones(imported: Path) -> None:
    state = backbones.load(str(imported)).module.state_dict()
    with np.load(VECTORS / "resnet18_narrow_state_dict.npz") as published:
        assert all(np.array_equal(value.numpy(), published[key]) for key, value in state.items())


@pytest.mark.parametrize("part", ["support", "query"])
def test_features_match_the_published_network_in_float64(imported: Path, part: str) -> None:
    backbone = backbones.load("resnet18", weights=imported, dtype=torch.float64)
    with np.load(VECTORS / "episode_img5.npz") as episode:
        features = backbone.embed(torch.from_numpy(episode[part])).numpy()
    with np.load(VECTORS / "tsa_narrow_residual_matrix_ab_seen_float64.npz") as expected:
        np.testing.assert_allclose(features, expected[f"{part}_features_before"], rtol=0, atol=1e-13)


def test_stem_padding_2_gives_other_features_from_the_same_weights(imported: Path, tmp_path: Path) -> None:
    out = tmp_path / "padded.safetensors"
    import_checkpoint(CHECKPOINT, "resnet18", None, out, stem_padding=2)
    images = torch.linspace(-1, 1, 3 * 84 * 84).reshape(1, 3, 84, 84)
    one, two = backbones.load(str(imported)), backbones.load(str(out))
    assert not torch.allclose(one.embed(images), two.embed(images), atol=1e-3)
    assert backbones.identity(one) != backbones.identity(two)


def test_widths_that_are_not_the_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"'conv1.weight' has shape \(8, 3, 5, 5\)"):
        import_checkpoint(CHECKPOINT, "resnet18", (64, 128, 256, 512), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())
