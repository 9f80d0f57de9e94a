"""Vision models of the transformers library: what their features are, what the card says, and what can go wrong."""

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny_hub import serving
from tiny_transformers import save_model, save_tokenizer

import backbones
from backbones.errors import BackboneError, BadWeights

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
PLAIN = ([0.5] * 3, [0.5] * 3)
# kind, image size, its mean and deviation, features, (d of the maps, h, w)
KINDS = [
    ("dinov2", 56, OPENAI, "pooled", (32, 4, 4)),
    ("dinov2-registers", 28, OPENAI, "pooled", (32, 2, 2)),
    ("vit", 32, PLAIN, "pooled", (32, 4, 4)),
    ("vit-classifier", 32, PLAIN, "class token", (32, 4, 4)),
    ("clip-vision", 32, OPENAI, "pooled", (32, 4, 4)),
    ("siglip-vision", 32, PLAIN, "pooled", (32, 4, 4)),
    ("resnet", 32, PLAIN, "pooled", (16, 4, 4)),
    ("swin", 32, PLAIN, "pooled", (16, 8, 8)),
    ("clip", 32, OPENAI, "projected", (32, 4, 4)),
    ("siglip", 32, PLAIN, "projected", (32, 4, 4)),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of a model of some kind, made once."""
    root = tmp_path_factory.mktemp("models")
    return lambda kind: root / kind if (root / kind).exists() else save_model(kind, root)


@pytest.fixture
def changed(models, tmp_path):
    """A copy of a model whose files may be changed."""

    def copy(kind) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        for file in models(kind).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return folder

    return copy


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Let the Hub's client ask `address` and keep what it fetches in an empty folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)

    def at(address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)

    return at


def load(folder: Path) -> Any:
    return backbones.load(f"hf:{folder}")


def refused(name, kind=BackboneError) -> str:
    with pytest.raises(kind) as caught:
        backbones.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder, **rules):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | rules))


def noise(size):
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("kind", "size", "pixels", "features", "maps"), KINDS)
def test_features_are_those_of_the_library_on_pixels_normalised_its_way(kind, size, pixels, features, maps, models):
    import transformers

    backbone, images = load(models(kind)), noise(size)
    model: Any = transformers.AutoModel.from_pretrained(models(kind)).eval()
    mean, std = (torch.tensor(values)[:, None, None] for values in pixels)
    given = {"pixel_values": ((images + 1) / 2 - mean) / std}
    with torch.no_grad():
        if features == "projected":
            expected = model.get_image_features(**given).pooler_output
        elif features == "class token":
            expected = model(**given).last_hidden_state[:, 0]
        else:
            expected = model(**given).pooler_output.flatten(1)
    torch.testing.assert_close(backbone.embed(images), expected, atol=1e-5, rtol=1e-4)
    assert backbone.feature_dim == expected.shape[1]
    assert backbone.maps(images).shape == (3, *maps)
    assert backbone.card.image_size == size
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())
    torch.testing.assert_close(backbone.module(images), backbone.embed(images))  # what image adapters work on


@pytest.mark.parametrize("kind", ["dinov2", "dinov2-registers", "vit"])
def test_maps_hold_each_patch_where_it_lies_in_the_image(kind, models):
    backbone = load(models(kind))
    size = backbone.card.image_size
    image = noise(size)[:1]
    other = image.clone()
    patch = size // backbone.maps(image).shape[-1]
    other[:, :, :patch, size - patch :] = 1  # the top right patch
    moved = (backbone.maps(other) - backbone.maps(image)).norm(dim=1)[0]
    assert moved.argmax() == moved.shape[1] - 1


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_texts_are_encoded_into_the_space_of_the_images(kind, changed):
    import transformers

    folder = changed(kind)
    save_tokenizer(folder)
    backbone = load(folder)
    model: Any = transformers.AutoModel.from_pretrained(folder).eval()
    # padded as it was trained: SigLIP to its full length, CLIP as far as needed
    rows = [[1, 4, 5, 6, 4, 7, 2], [1, 8, 2, 0, 0, 0, 0]]
    tokens = torch.tensor([row + [0] * 5 for row in rows] if kind == "siglip" else rows)
    with torch.no_grad():
        given = {} if kind == "siglip" else {"attention_mask": (tokens > 0).long()}
        expected = model.get_text_features(input_ids=tokens, **given).pooler_output
    torch.testing.assert_close(backbone.encode(["a photo of a dog", "cat"]), expected)
    assert expected.shape == (2, backbone.feature_dim)
    assert backbone.encode(["dog " * 50]).shape == (1, backbone.feature_dim)  # cut, not refused
    assert backbone.logit_scale == pytest.approx(model.logit_scale.exp().item())


def test_a_two_tower_model_without_a_tokenizer_embeds_images_and_says_why_it_takes_no_texts(models):
    backbone = load(models("clip"))
    with pytest.raises(BackboneError, match="has no tokenizer for texts"):
        backbone.encode(["a dog"])


def test_a_model_with_one_tower_offers_no_texts(models):
    assert not hasattr(load(models("vit")), "encode")


def test_the_card_says_how_the_model_wants_its_pixels_and_that_nobody_knows_what_it_saw(models):
    card = load(models("dinov2")).card
    assert card.name == "hf:dinov2"
    assert card.normalisation == "mean 0.48145466,0.4578275,0.40821073 std 0.26862954,0.26130258,0.27577711"
    assert "shortest_edge 64" in card.notes
    assert "crop 56" in card.notes
    assert card.seen("ilsvrc_2012") == "unknown"
    assert load(models("vit")).card.normalisation == "[-1, 1]"


def test_a_folder_may_say_what_its_model_was_trained_on(changed):
    folder = changed("vit")
    (folder / "metabench.toml").write_text('training_data_known = true\n[trained_on]\nicons = ["train"]\n')
    card = load(folder).card
    assert (card.seen("icons"), card.seen("mnist")) == ("seen", "unseen")
    (folder / "metabench.toml").write_text("training_data_none = true\n")
    assert "training_data_none" in refused(f"hf:{folder}")


@pytest.mark.parametrize(
    "change",
    [
        {"config.json": {"layer_norm_eps": 1e-3}},
        {"config.json": {"hidden_act": "relu"}},
        {"preprocessor_config.json": {"image_mean": [0.4, 0.4, 0.4]}},
        {"preprocessor_config.json": {"image_std": [0.4, 0.4, 0.4]}},
        {"preprocessor_config.json": {"do_normalize": False}},
        "weights",
    ],
)
def test_identity_changes_with_weights_configuration_and_pixels(change, changed, models):
    folder = changed("vit")
    if change == "weights":
        state = safetensors.torch.load_file(folder / "model.safetensors")
        state["layernorm.bias"][0] += 1
        safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        for name, values in change.items():
            (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))
    assert backbones.identity(load(folder)) != backbones.identity(load(models("vit")))


def test_identity_does_not_change_with_the_place_of_the_folder(changed, models):
    assert backbones.identity(load(changed("vit"))) == backbones.identity(load(models("vit")))


@pytest.mark.usefixtures("no_network")
def test_a_folder_is_loaded_without_touching_the_network(models):
    assert load(models("clip")).feature_dim == 24


def test_a_model_is_fetched_from_the_hub_once_and_then_needs_it_no_more(models, hub):
    with serving(models("vit"), "some/vit") as (address, asked):
        hub(address)
        first = backbones.load("hf:some/vit")
        assert any("model.safetensors" in path for path in asked)
        before = len(asked)
        backbones.load("hf:some/vit")
        assert len(asked) == before
    again = backbones.load("hf:some/vit")  # nobody serves any more
    assert first.name == "hf:some/vit"
    assert backbones.identity(again) == backbones.identity(load(models("vit")))


def test_what_another_program_left_half_fetched_is_completed(models, hub):
    from huggingface_hub import hf_hub_download

    with serving(models("vit"), "some/vit") as (address, _):
        hub(address)
        hf_hub_download("some/vit", "config.json")
        assert backbones.load("hf:some/vit").feature_dim == 32


@pytest.fixture
def sharded(changed):
    """A model whose weights are spread over several files."""
    import transformers

    folder = changed("vit")
    model: Any = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    return folder


def fetched_by_another_program(folder, lacking):
    from huggingface_hub import hf_hub_download

    names = {file.name for file in folder.iterdir()}
    assert lacking is None or lacking in names
    for name in names - {lacking}:
        hf_hub_download("some/vit", name)


INCOMPLETE = [
    ("preprocessor_config.json", "*processor_config.json"),
    ("config.json", "config.json"),
    ("model.safetensors.index.json", "model*.safetensors.index.json"),
    ("model-00002-of-00006.safetensors", "model-00002-of-00006.safetensors"),
]


@pytest.mark.parametrize("lacking", [lacking for lacking, _ in INCOMPLETE])
def test_a_file_that_another_program_did_not_fetch_is_fetched_then_all_is_here(lacking, sharded, hub):
    with serving(sharded, "some/vit") as (address, asked):
        hub(address)
        fetched_by_another_program(sharded, lacking)
        first = backbones.load("hf:some/vit")
        before = len(asked)
        again = backbones.load("hf:some/vit")
        assert len(asked) == before
    assert backbones.identity(first) == backbones.identity(again) == backbones.identity(load(sharded))


@pytest.mark.parametrize(("lacking", "named"), INCOMPLETE)
def test_a_hub_that_cannot_be_reached_for_a_missing_file_is_told_with_the_file(lacking, named, sharded, hub):
    with serving(sharded, "some/vit") as (address, _):
        hub(address)
        fetched_by_another_program(sharded, lacking)
    said = refused("hf:some/vit")
    assert "the Hugging Face Hub cannot be reached for some/vit" in said
    assert said.endswith(f"; what was fetched before lacks {named}")


def test_a_whole_model_that_another_program_fetched_needs_no_hub(sharded, hub):
    with serving(sharded, "some/vit") as (address, _):
        hub(address)
        fetched_by_another_program(sharded, None)
    assert backbones.load("hf:some/vit").feature_dim == 32


def test_an_unknown_model_or_revision_of_the_hub_is_named_in_one_line(models, hub):
    with serving(models("vit"), "some/vit") as (address, _):
        hub(address)
        assert "the Hugging Face Hub has no model 'some/vti'" in refused("hf:some/vti")
        assert "some/vit has no revision 'v9'" in refused("hf:some/vit@v9")


def test_weights_that_are_pickled_are_not_fetched(models, changed, hub):
    folder = changed("vit")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with serving(folder, "some/vit") as (address, asked):
        hub(address)
        assert "no model*.safetensors" in refused("hf:some/vit")
        assert not any(path.endswith(".bin") for path in asked)
    assert "cannot be loaded" in refused(f"hf:{folder}")


def test_a_hub_that_cannot_be_reached_is_told_at_once(hub):
    hub("http://127.0.0.1:9")
    started = time.monotonic()
    said = refused("hf:some/vit")
    assert "the Hugging Face Hub cannot be reached for some/vit" in said
    assert "a local copy works without it" in said
    assert time.monotonic() - started < 10


def test_a_missing_library_gives_the_command_that_installs_it(monkeypatch, models):
    monkeypatch.setitem(sys.modules, "transformers", None)
    said = refused(f"hf:{models('vit')}")
    assert said.endswith("transformers is not installed: pip install -e '.[transformers]' in your clone")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("bert", "BertModel takes input_ids, not images alone"),
        ("mae", "shows only some of its 16 patches"),
    ],
)
def test_a_model_that_gives_no_features_of_whole_images_is_refused(kind, says, models):
    assert says in refused(f"hf:{models(kind)}")


def test_missing_weights_are_named(changed):
    folder = changed("vit")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    del state["layernorm.bias"]
    safetensors.torch.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 of the weights, as 'layernorm.bias'" in refused(f"hf:{folder}", BadWeights)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
        (lambda folder: edit(folder, size={"height": 32, "width": 48}), "no squares"),
        (lambda folder: edit(folder, rescale_factor=1 / 127.5), "does not scale pixels to [0, 1]"),
        (lambda folder: edit(folder, size={"height": 40, "width": 40}), "fails on images of 40 pixels"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "cannot be loaded"),
    ],
)
def test_a_spoilt_folder_is_named_in_one_line(spoil, says, changed):
    folder = changed("vit")
    spoil(folder)
    said = refused(f"hf:{folder}")
    assert str(folder) in said
    assert says in said


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(no_network, tmp_path):
    said = refused(f"hf:{tmp_path / 'nothing'}")
    assert said.endswith(f"there is no folder {tmp_path / 'nothing'}; give one of `save_pretrained`")


def test_loading_leaves_the_global_generator_alone(models):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    load(models("vit-classifier"))
    assert torch.equal(torch.random.get_rng_state(), before)
