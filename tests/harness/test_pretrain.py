"""`harness.commands.pretrain` on two tiny data sets that have train and valid classes."""

import numpy as np
import pytest
from tiny_images import images_of

import backbones
from episodes.dataset import DatasetRecords
from episodes.sources import pocket
from episodes.writing import write_images
from harness.commands.pretrain import labelled_images, pretrain
from harness.errors import HarnessError


@pytest.fixture
def tiny_domains(tmp_path, flat_spec, monkeypatch):
    """`reds` and `blues`: 3 train and 5 valid classes of 6 images, in place of the pocket suite."""
    for offset, name in enumerate(("reds", "blues")):
        classes = [images_of(10 * offset + i, 6) for i in range(8)]
        write_images(tmp_path / name, flat_spec(name, (3, 5, 0), [6] * 8), classes)
    monkeypatch.setattr(pocket, "records_folder", lambda domain, cache: tmp_path / domain)
    monkeypatch.setattr("harness.commands.pretrain.SEEN_DOMAINS", ("reds", "blues"))
    return ("reds", "blues")


def test_trained_weights_load_as_a_backbone_that_has_seen_its_domains(tiny_domains, tmp_path):
    out = tmp_path / "new" / "mine.safetensors"
    settings = {"domains": tiny_domains, "widths": (4, 4, 4, 4), "steps": 2, "batch_size": 4, "cache": tmp_path}
    card = pretrain(out, seed=3, **settings)
    assert backbones.load(str(out)).card == card
    assert (card.name, card.seed, card.seen("reds"), card.seen("mnist")) == ("mine", 3, "seen", "unseen")
    assert "--domains reds,blues --widths 4,4,4,4 --steps 2 --batch-size 4" in card.command
    assert "% after 2 of 2 steps" in card.notes
    again = pretrain(tmp_path / "again.safetensors", seed=3, **settings)
    assert again.weights_sha256 == card.weights_sha256


def test_training_images_are_the_networks_inputs_as_bytes(tiny_domains, tmp_path):
    images, labels = labelled_images(DatasetRecords(tmp_path / "reds", tmp_path), "valid")
    assert images.shape == (30, 84, 84, 3)
    assert images.dtype == np.uint8
    assert labels.tolist() == [label for label in range(5) for _ in range(6)]


def test_weights_with_another_ending_are_refused_before_training(tmp_path):
    with pytest.raises(HarnessError, match=r"w\.pth: weights are written as \.safetensors"):
        pretrain(tmp_path / "w.pth", cache=tmp_path)
