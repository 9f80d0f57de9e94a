"""Which part of a backbone's name is a path."""

import pytest

import backbones


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a network's file, weights and a model's folder, some with a + in their names."""
    for name in ("net.py", "a+b.py", "w.safetensors", "a+b.safetensors", "clip.pt"):
        (tmp_path / name).touch()
    (tmp_path / "models/dino").mkdir(parents=True)
    (tmp_path / "x+y").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("w.safetensors", "{}/w.safetensors"),
        ("missing.safetensors", "{}/missing.safetensors"),
        ("net.py:make", "{}/net.py:make"),
        ("hf:models/dino", "hf:{}/models/dino"),
        ("hf:./missing", "hf:{}/missing"),
        ("hf:facebook/dinov2-small", "hf:facebook/dinov2-small"),
        ("hf:facebook/dinov2-small@main", "hf:facebook/dinov2-small@main"),
        ("hf:", "hf:"),
        ("open_clip:ViT-B-32/", "open_clip:ViT-B-32/"),
        ("timm:models/dino", "timm:{}/models/dino"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("open_clip:ViT-B-32/clip.pt", "open_clip:ViT-B-32/{}/clip.pt"),
        ("open_clip:ViT-B-32/w.safetensors", "open_clip:ViT-B-32/{}/w.safetensors"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
        ("raw-pixels", "raw-pixels"),
    ],
)
def test_paths_in_names_become_absolute_and_other_names_stay(name, means, here):
    absolute = backbones.absolute(name)
    assert absolute == means.format(here)
    assert backbones.absolute(absolute) == absolute


@pytest.mark.parametrize("name", ["a+b.py:make", "a+b.safetensors", "hf:x+y"])
def test_a_plus_in_the_path_of_something_that_exists_joins_nothing(name):
    assert backbones.split_name(name) == [name]


def test_several_backbones_of_any_kind_can_stand_side_by_side():
    names = ["raw-pixels", "net.py:make", "hf:models/dino", "w.safetensors"]
    assert backbones.split_name("+".join(names)) == names
