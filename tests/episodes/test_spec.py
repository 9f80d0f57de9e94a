import json
import sys
import tracemalloc
from contextlib import contextmanager

import pytest

from episodes import class_graph
from episodes import spec as spec_module
from episodes.errors import BadSpec
from episodes.spec import check_class_files, load_spec


@pytest.fixture
def write(tmp_path):
    """Write a spec (an object or text) and load it."""

    def write_and_load(spec):
        text = spec if isinstance(spec, str) else json.dumps(spec)
        (tmp_path / "dataset_spec.json").write_text(text)
        return load_spec(tmp_path)

    return write_and_load


@pytest.fixture(scope="session")
def bilevel_spec():
    """Make the JSON object of a bilevel spec: two superclasses of two classes."""

    def make():
        return {
            "name": "b",
            "superclasses_per_split": {"TRAIN": 1, "VALID": 0, "TEST": 1},
            "classes_per_superclass": {"0": 2, "1": 2},
            "images_per_class": {str(i): 9 for i in range(4)},
            "superclass_names": {"0": "s", "1": "t"},
            "class_names": {str(i): f"class {i}" for i in range(4)},
            "file_pattern": "{}.tfrecords",
            "__class__": "BiLevelDatasetSpecification",
        }

    return make


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
        ({"images_per_class": {"0": 3, "1": 2**28 + 1, "2": 5}}, "<= 268435456"),
        ({"images_per_class": {"0": {"train": 1, "test": 2}, "1": 4, "2": 5}}, "images_per_class"),
        ({"classes_per_split": {"TRAIN": 10**8, "VALID": 1, "TEST": 1}}, "100000002 classes"),
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


# --- hostile specs ---------------------------------------------------------------------------------------------------

OPENED = []
"""Files that were opened while it was watched; an audit hook can never be removed, so there is one for all tests."""
_watching = []
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if _watching and event == "open" else None)


@contextmanager
def little(allowed, peak_mib=32):
    """The block opens no file but those allowed and holds at most `peak_mib` MiB at a time."""
    OPENED.clear()
    _watching.append(True)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        _watching.clear()
    assert set(OPENED) <= set(allowed)
    assert peak < peak_mib << 20


@pytest.fixture
def refuse(tmp_path):
    """Assert that a spec (an object, text or bytes) is refused in one line before anything else is opened."""

    def write_and_refuse(spec, words=""):
        file = tmp_path / "dataset_spec.json"
        content = spec if isinstance(spec, bytes) else (spec if isinstance(spec, str) else json.dumps(spec)).encode()
        file.write_bytes(content)
        with little({str(file)}), pytest.raises(BadSpec) as caught:
            load_spec(tmp_path)
        message = str(caught.value)
        assert message.startswith(str(file))
        assert words in message
        assert "\n" not in message
        assert len(message) < 600

    return write_and_refuse


COUNTS = [-1, -(2**63), 2**63, 2**64, 10**400, 1.5, 3.0, True, "3", None, [3], {"a": 3}]


@pytest.mark.parametrize("count", COUNTS, ids=lambda count: repr(count)[:12])
@pytest.mark.parametrize("key", ["images_per_class", "classes_per_split"])
def test_what_is_no_count_is_refused(flat_spec, refuse, key, count):
    spec = flat_spec("x", (1, 1, 1), (3, 4, 5))
    first = next(iter(spec[key]))
    refuse({**spec, key: {**spec[key], first: count}}, key)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1" + "0" * 5000])
def test_a_number_that_json_or_python_stretches_is_refused(flat_spec, refuse, number):
    text = json.dumps(flat_spec("x", (1, 1, 1), (3, 4, 5)))
    refuse(text.replace('"0": 3', f'"0": {number}'))
    refuse(text.replace('"TRAIN": 1', f'"TRAIN": {number}'))


@pytest.mark.parametrize("key", ["-1", "00", "-0", " 1", "+1", "1_0", "1.0", "x", "", "9" * 400, str(2**64)])
def test_a_key_that_is_no_class_id_is_refused(flat_spec, refuse, key):
    spec = flat_spec("x", (1, 1, 1), (3, 4, 5))
    refuse({**spec, "images_per_class": {**spec["images_per_class"], key: 3}})
    refuse({**spec, "class_names": {**spec["class_names"], key: "a class"}})


@pytest.mark.parametrize("name", [5, None, True, ["a"], {"a": "b"}, "half a \ud800 character"])
def test_a_class_name_that_is_no_text_is_refused(flat_spec, refuse, name):
    spec = flat_spec("x", (1, 1, 1), (3, 4, 5))
    refuse({**spec, "class_names": {**spec["class_names"], "1": name}})
    refuse({**spec, "name": name})


@pytest.mark.parametrize("huge", [10**8, 2**28])
@pytest.mark.parametrize("split", ["TRAIN", "VALID", "TEST"])
def test_a_hundred_million_classes_are_refused_without_making_room_for_them(
    flat_spec, bilevel_spec, refuse, split, huge
):
    flat, bilevel = flat_spec("x", (1, 1, 1), (3, 4, 5)), bilevel_spec()
    refuse({**flat, "classes_per_split": {**flat["classes_per_split"], split: huge}}, "images_per_class has 3")
    refuse({**bilevel, "superclasses_per_split": {**bilevel["superclasses_per_split"], split: huge}}, "superclasses")
    refuse({**bilevel, "classes_per_superclass": {"0": 2, "1": huge}}, "images_per_class has 4")


def test_a_class_file_that_cannot_hold_what_the_spec_says_is_named_before_anything_is_planned(
    tmp_path, flat_spec, write
):
    spec = write(flat_spec("x", (1, 1, 1), (3, 2**28, 5)))
    (tmp_path / "1.tfrecords").write_bytes(bytes(1000))
    for split in ("train", "test"):  # whose files are not there: the one who opens them will say so
        check_class_files(tmp_path, spec, split)
    with pytest.raises(BadSpec, match=r"1\.tfrecords: too small for the 268435456 records that the spec says class 1"):
        check_class_files(tmp_path, spec, "valid")


def test_class_files_of_the_least_size_are_let_through(tmp_path, flat_spec, write):
    spec = write(flat_spec("x", (1, 0, 0), (3,)))
    (tmp_path / "0.tfrecords").write_bytes(bytes(3 * 16))
    check_class_files(tmp_path, spec, "train")


@pytest.mark.parametrize("key", ["classes_per_split", "images_per_class", "class_names", "name", "__class__"])
def test_a_spec_without_one_of_its_keys_is_refused(flat_spec, refuse, key):
    spec = flat_spec("x", (1, 1, 1), (3, 4, 5))
    del spec[key]
    refuse(spec)


@pytest.mark.parametrize("kind", ["line\nbreak", 7, None, ["DatasetSpecification"], "x" * 10**6])
def test_a_kind_that_does_not_exist_is_refused(flat_spec, refuse, kind):
    refuse({**flat_spec("x", (1, 1, 1), (3, 4, 5)), "__class__": kind})


@pytest.mark.parametrize(
    "pattern",
    [
        "{}_{}.tfrecords",
        "../{}.tfrecords",
        "/etc/{}",
        "{}.tfrecords/../../x",
        "{0.__class__}",
        "",
        "{" * 10**6,
        7,
        None,
    ],
)
def test_every_other_file_pattern_is_refused(flat_spec, refuse, pattern):
    refuse({**flat_spec("x", (1, 1, 1), (3, 4, 5)), "file_pattern": pattern}, "file_pattern")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"name": 1, "name": 1}', "name"),
        ('{"images_per_class": {"0": 1, "1": 1, "0": 1}}', "0"),
        ('{"a": [{"b": {"c\\n": 1, "c\\u000a": 2}}]}', r"c\n"),
        ('{"' + "k" * 10**5 + '": 1, "' + "k" * 10**5 + '": 2}', "k" * 60),
        ("{" + ", ".join(f'"{i}": 0' for i in range(50_000)) + ', "49999": 1}', "49999"),
    ],
    ids=["top", "counts", "deep", "long", "last of many"],
)
def test_a_key_that_stands_twice_at_any_depth_is_refused(refuse, text, key):
    refuse(text, f"key '{key}' stands twice")


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe{}",
        b'{"name": "\xe9"}',
        '{"name": "x"}'.encode("utf-16"),
        b"\x00" * 1000,
        b"[" * 10**6,
        b'{"a":' * 10**6,
        b'{"a": 1} {"a": 1}',
        b'"' + b"a" * 10**6,
    ],
    ids=["not utf-8", "latin-1", "utf-16", "zeros", "lists", "objects", "two", "open string"],
)
def test_bytes_that_are_no_spec_are_refused(refuse, content):
    refuse(content)


def test_a_byte_order_mark_is_no_fault(flat_spec, tmp_path):
    text = json.dumps(flat_spec("x", (1, 1, 1), (3, 4, 5)))
    (tmp_path / "dataset_spec.json").write_text(text, encoding="utf-8-sig")
    assert load_spec(tmp_path).name == "x"


def test_a_file_too_large_for_a_spec_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(spec_module, "_MAX_SPEC_BYTES", 1 << 20)
    file = tmp_path / "dataset_spec.json"
    file.write_bytes(b" " * (1 << 20) + b" ")
    with little(()), pytest.raises(BadSpec, match="larger than 1 MiB"):
        load_spec(tmp_path)


def test_a_spec_that_links_out_of_its_folder_is_not_opened(flat_spec, tmp_path):
    folder, outside = tmp_path / "set", tmp_path / "outside.json"
    folder.mkdir()
    outside.write_text(json.dumps(flat_spec("x", (1, 1, 1), (3, 4, 5))))
    (folder / "dataset_spec.json").symlink_to("../outside.json")
    with little(()), pytest.raises(BadSpec, match=r"dataset_spec.json: a link to .*outside.json, out of"):
        load_spec(folder)


@pytest.mark.parametrize("target", ["dataset_spec.json", "nothing.json", "/nothing/at/all"])
def test_a_spec_that_links_to_nothing_is_refused(tmp_path, target):
    (tmp_path / "dataset_spec.json").symlink_to(target)
    with little(()), pytest.raises(BadSpec, match="missing|out of"):
        load_spec(tmp_path)


def test_links_within_a_folder_and_to_a_folder_are_followed(flat_spec, tmp_path):
    folder = tmp_path / "big disk" / "set"
    folder.mkdir(parents=True)
    (folder / "spec of today.json").write_text(json.dumps(flat_spec("x", (1, 1, 1), (3, 4, 5))))
    (folder / "dataset_spec.json").symlink_to("spec of today.json")
    (tmp_path / "link").symlink_to(folder)
    assert load_spec(tmp_path / "link").name == "x"


def test_a_node_that_stands_twice_is_refused(refuse):
    spec = _graph({"r": ["x", "y"], "x": [], "y": []})
    spec["split_subgraphs"]["TEST"].append(spec["split_subgraphs"]["TEST"][0])
    refuse(spec, "node 'r' stands twice")


@pytest.mark.parametrize("length", [1, 2, 3000])
def test_a_cycle_of_any_length_is_refused(refuse, length):
    ring = {f"n{i}": [f"n{(i + 1) % length}"] for i in range(length)}
    refuse(_graph({**ring, "x": []}), "its own descendant (a cycle)")


def test_a_long_chain_is_no_cycle(write):
    chain = {f"n{i:04d}": [f"n{i + 1:04d}"] for i in range(3000)}
    assert write(_graph({**chain, "n3000": []})).split("test").spanned_leaves == [[0]] * 3000


def test_a_graph_whose_spans_would_fill_the_memory_is_refused(refuse, monkeypatch):
    monkeypatch.setattr(class_graph, "MAX_SPANNED", 10_000)
    leaves = {f"x{i}": [] for i in range(200)}
    bottom = {"n000": list(leaves)}
    chain = {f"n{i:03d}": [f"n{i - 1:03d}"] for i in range(1, 200)}
    refuse(_graph({**leaves, **bottom, **chain}), "span more than 10000 classes")
