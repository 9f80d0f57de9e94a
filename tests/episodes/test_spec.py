import json

import pytest

from episodes.errors import BadSpec
from episodes.spec import load_spec


@pytest.fixture
def write(tmp_path):
    """Write a spec (an object or text) and load it."""

    def write_and_load(spec):
        text = spec if isinstance(spec, str) else json.dumps(spec)
        (tmp_path / "dataset_spec.json").write_text(text)
        return load_spec(tmp_path)

    return write_and_load


def test_a_flat_spec_lays_out_its_splits(golden):
    spec = load_spec(golden / "episodes/records/flat_tiny")
    assert spec.class_ids == {"train": range(6), "valid": range(6, 11), "test": range(11, 16)}
    assert spec.split("test").images_per_class.tolist() == [19, 25, 24, 18, 21]
    assert spec.class_names[15] == "class15"


def test_a_bilevel_spec_gives_superclass_sizes(golden):
    spec = load_spec(golden / "episodes/records/bilevel_tiny")
    assert spec.class_ids["test"] == range(16, 23)
    assert spec.split("train").superclass_sizes.tolist() == [5, 6]


def test_a_hierarchical_spec_gives_what_each_node_spans(golden):
    spec = load_spec(golden / "episodes/records/dag_tiny")
    test = spec.split("test")
    assert [len(spec.class_ids[split]) for split in ("train", "valid", "test")] == [12, 8, 8]
    assert test.spanned_leaves == [list(range(8)), list(range(8)), [0, 2, 4, 6], [1, 3, 5, 7]]
    assert len(test.images_per_class) == 8


def test_the_counts_cannot_be_changed(golden):
    spec = load_spec(golden / "episodes/records/flat_tiny")
    with pytest.raises(ValueError, match="read-only"):
        spec.images_per_class[0] = 1


def test_the_digest_ignores_the_stale_path(flat_spec, write):
    spec = flat_spec("x", (1, 1, 1), (3, 4, 5))
    assert write(spec).digest == write({**spec, "path": "/elsewhere"}).digest
    assert write(spec).digest != write({**spec, "images_per_class": {"0": 3, "1": 4, "2": 6}}).digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images_per_class": {"0": 3, "1": 4}}, "3 classes, but images_per_class has 2"),
        ({"images_per_class": {"0": 3, "1": 4, "3": 5}}, "none for id 2"),
        ({"images_per_class": {"0": 3, "1": -4, "2": 5}}, ">= 0"),
        ({"images_per_class": {"0": 3, "1": 1e99, "2": 5}}, "images_per_class"),
        ({"images_per_class": {"0": {"train": 1, "test": 2}, "1": 4, "2": 5}}, "images_per_class"),
        ({"classes_per_split": {"TRAIN": 10**9, "VALID": 1, "TEST": 1}}, "1000000002 classes"),
        ({"classes_per_split": {"TRAIN": 1, "VALID": 1, "TSET": 1}}, "unknown split 'TSET'"),
        ({"file_pattern": "{}_{}.tfrecords"}, "no pools"),
        ({"file_pattern": "../../{}.tfrecords"}, "only '{}.tfrecords'"),
        ({"__class__": "OtherSpecification"}, "OtherSpecification"),
        ({"name": None}, "name"),
    ],
)
def test_a_wrong_spec_names_file_and_key(flat_spec, write, change, words):
    with pytest.raises(BadSpec, match="dataset_spec.json") as caught:
        write({**flat_spec("x", (1, 1, 1), (3, 4, 5)), **change})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"a": NaN}', '{"name": 1, "name": 2}', "[" * 100_000])
def test_text_that_is_not_a_spec_is_refused(write, text):
    with pytest.raises(BadSpec):
        write(text)


def test_a_key_that_stands_twice_is_refused(write):
    with pytest.raises(BadSpec, match="key '0' stands twice"):
        write('{"__class__": "DatasetSpecification", "images_per_class": {"0": 1, "0": 2}}')


def test_a_pickled_spec_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "dataset_spec.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(BadSpec, match=r"pickle can run any code.*JSON"):
        load_spec(tmp_path)


def test_a_missing_folder_and_a_missing_spec_differ(tmp_path):
    with pytest.raises(BadSpec, match="no such folder"):
        load_spec(tmp_path / "nothing")
    with pytest.raises(BadSpec, match="missing"):
        load_spec(tmp_path)


def _graph(children):
    nodes = [{"wn_id": k, "words": k, "children_ids": v, "parents_ids": []} for k, v in children.items()]
    leaves = sorted(k for k, v in children.items() if not v)
    return {
        "name": "g",
        "split_subgraphs": {"TRAIN": [], "VALID": [], "TEST": nodes},
        "images_per_class": {"TEST": dict.fromkeys(leaves, 9)},
        "class_names": {str(i): name for i, name in enumerate(leaves)},
        "file_pattern": "{}.tfrecords",
        "__class__": "HierarchicalDatasetSpecification",
    }


def test_a_leaf_below_two_parents_is_spanned_by_both(write):
    spec = write(_graph({"r": ["a", "b"], "a": ["x", "y"], "b": ["y", "z"], "x": [], "y": [], "z": []}))
    assert spec.split("test").spanned_leaves == [[0, 1], [1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    ("children", "words"),
    [({"a": ["b"], "b": ["a"], "x": []}, "a cycle"), ({"a": ["q"], "x": []}, "'q', which is not in the graph")],
)
def test_a_graph_that_is_no_dag_is_refused(write, children, words):
    with pytest.raises(BadSpec, match=words):
        write(_graph(children))


def test_a_leaf_with_another_id_than_its_place_is_refused(write):
    spec = _graph({"r": ["x", "y"], "x": [], "y": []})
    with pytest.raises(BadSpec, match="leaf 'x' of TEST should have id 0"):
        write({**spec, "class_names": {"0": "y", "1": "x"}})
