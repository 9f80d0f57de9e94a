import json
from dataclasses import replace

import msgspec
import pytest

from episodes.known_datasets import KNOWN, of_same_classes, unlike_published
from episodes.spec import SPLITS, load_spec


@pytest.fixture
def aircraft(tmp_path, flat_spec):
    """A spec with the published counts of aircraft."""
    return write_spec(tmp_path, flat_spec("aircraft", (70, 15, 15), [100] * 100))


def write_spec(folder, spec):
    (folder / "dataset_spec.json").write_text(json.dumps(spec))
    return load_spec(folder)


def test_all_thirteen_are_there_in_the_order_of_the_published_tables():
    names = "ilsvrc_2012 omniglot aircraft cu_birds dtd quickdraw fungi vgg_flower traffic_sign mscoco"
    assert list(KNOWN) == [*names.split(), "mnist", "cifar10", "cifar100"]
    assert [name for name, known in KNOWN.items() if known.name != name] == []


def test_totals_are_the_published_ones():
    totals = [sum(known.images.values()) for known in KNOWN.values()]
    ten = [1_280_764, 32_460, 10_000, 11_788, 5_640, 50_426_266, 89_760, 8_189, 39_209, 860_001]
    assert totals == [*ten, 10_000, 10_000, 10_000]
    classes = [sum(known.classes[split] for known in list(KNOWN.values())[:10]) for split in SPLITS]
    assert classes == [3144, 598, 1192]


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_counts_agree_with_each_other(known):
    assert set(known.classes) == set(known.images) == set(SPLITS)
    assert all((known.classes[split] == 0) == (known.images[split] == 0) for split in SPLITS)
    fewest, most = known.test_images_per_class
    assert fewest * known.classes["test"] <= known.images["test"] <= most * known.classes["test"]
    assert (known.superclasses is not None) == (known.kind == "bilevel")
    assert (known.eligible_nodes is not None) == (known.kind == "dag")


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_every_data_set_says_who_made_it_and_who_may_use_it(known):
    assert all(text and "\n" not in text for text in (known.licence, known.citation, known.ontology, known.display))
    assert known.homepage.startswith("http")


def test_columns_of_the_leaderboard_are_told_apart():
    assert len({known.display for known in KNOWN.values()}) == len(KNOWN)


def test_training_on_eight_domains_sees_the_first_eight_and_imagenet_training_itself():
    assert [name for name in KNOWN if "mdl" in KNOWN[name].seen_in] == list(KNOWN)[:8]
    assert [name for name in KNOWN if "sdl" in KNOWN[name].seen_in] == ["ilsvrc_2012"]


def test_imagenet_and_the_data_sets_made_of_it_have_the_same_classes():
    three = {"ilsvrc_2012", "ilsvrc_2012_v2", "mini_imagenet"}
    assert all(of_same_classes(name) == three - {name} for name in three)
    assert of_same_classes("omniglot") == of_same_classes("mine") == set()


def test_whoever_reads_the_registry_cannot_change_it():
    with pytest.raises(TypeError):
        KNOWN["aircraft"] = None
    with pytest.raises(AttributeError):
        KNOWN["aircraft"].name = "other"


def test_a_spec_with_the_published_counts_differs_in_nothing(aircraft):
    assert unlike_published(aircraft, KNOWN["aircraft"]) == []


def test_another_number_of_classes_or_images_is_told_per_split(tmp_path, flat_spec):
    spec = write_spec(tmp_path, flat_spec("aircraft", (71, 15, 14), [100] * 99 + [98]))
    assert unlike_published(spec, KNOWN["aircraft"]) == [
        "images per test class, fewest / most: 98 / 100 here, 100 / 100 as published",
        "train classes: 71 here, 70 as published",
        "train images: 7,100 here, 7,000 as published",
        "test classes: 14 here, 15 as published",
        "test images: 1,398 here, 1,500 as published",
    ]


def test_a_data_set_that_lost_its_hierarchy_is_told(tmp_path, flat_spec):
    flat = write_spec(tmp_path, flat_spec("omniglot", (883, 81, 659), [20] * 1623))
    found = unlike_published(flat, KNOWN["omniglot"])
    assert found[0] == "kind: flat here, bilevel as published"
    assert found[1:] == [
        f"{split} superclasses: none here, {n} as published" for split, n in zip(SPLITS, (25, 5, 20), strict=True)
    ]


def test_nodes_of_a_class_graph_are_compared(aircraft):
    spans = {split: [list(range(n)) for n in (4, 5, 392, 393)] for split in SPLITS}
    graph = replace(aircraft, spans=spans)
    nodes = dict.fromkeys(SPLITS, (2, 5, 392))
    known = msgspec.structs.replace(KNOWN["aircraft"], kind="dag", eligible_nodes=nodes)
    assert unlike_published(graph, known) == []
    other = msgspec.structs.replace(known, eligible_nodes=nodes | {"valid": (3, 5, 392)})
    assert unlike_published(graph, other) == [
        "valid nodes: number / fewest / most leaves: 2 / 5 / 392 here, 3 / 5 / 392 as published"
    ]
