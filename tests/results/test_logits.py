import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.errors import LogitsError
from results.logits import EpisodeLogits, find_logits, kept_keys, logits_folder, read_block, read_logits, write_logits


def episode(key, way=3, queries=6, *, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(queries, way)).astype(dtype)
    return EpisodeLogits(key, f"episode-{key}", seed, logits, rng.integers(0, way, queries), rng.permutation(queries))


def equal(one, other):
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("logits", "labels", "position"))
    return same and one[:3] == other[:3] and one.logits.dtype == other.logits.dtype


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(2, 50), st.integers(1, 30)), min_size=1, max_size=5),
    st.sampled_from([np.float32, np.float64]),
)
def test_episodes_of_any_sizes_come_back_to_the_bit(tmp_path_factory, make_row, sizes, dtype):
    folder = tmp_path_factory.mktemp("logits")
    block = [episode(f"k{i}", way, queries, seed=i, dtype=dtype) for i, (way, queries) in enumerate(sizes)]
    back = read_block(write_logits(folder, block, make_row()))
    assert len(back) == len(block)
    assert all(equal(one, other) for one, other in zip(block, back, strict=True))


def test_the_accuracy_is_that_of_the_highest_logit():
    logits = np.array([[1.0, 2.0], [3.0, 3.0], [0.0, 1.0]])
    found = EpisodeLogits("k", "e", 0, logits, np.array([1, 0, 0]), np.arange(3))
    assert found.predicted.tolist() == [1, 0, 1]
    assert found.accuracy == pytest.approx(2 / 3)


def test_an_episode_is_found_by_the_key_of_its_row(tmp_path, make_row):
    first, second = [episode("a"), episode("b", seed=1)], [episode("c", seed=2)]
    write_logits(tmp_path, first, make_row())
    write_logits(tmp_path, second, make_row())
    assert set(kept_keys(tmp_path)) == {"a", "b", "c"}
    found = find_logits(tmp_path, "b")
    assert found is not None and equal(found, first[1])
    assert find_logits(tmp_path, "d") is None


def test_a_damaged_file_holds_no_episode_and_is_named_when_it_is_read(tmp_path, make_row):
    path = write_logits(tmp_path, [episode("a")], make_row())
    path.write_bytes(path.read_bytes()[:50])
    assert kept_keys(tmp_path) == {}
    with pytest.raises(LogitsError, match=path.name):
        read_block(path)


def test_a_file_cut_in_its_tensors_is_named(tmp_path, make_row):
    path = write_logits(tmp_path, [episode("a")], make_row())
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(LogitsError, match=path.name):
        read_block(path)


def place(out, **changed):
    facts = {
        "adapter": "url",
        "adapter_hash": "a",
        "backbone_hash": "b",
        "flags": {},
        "domain": "icons",
        "records_hash": "r",
    }
    return logits_folder(out, **{**facts, **changed})


@pytest.mark.parametrize(
    "changed", [{"adapter_hash": "x"}, {"backbone_hash": "x"}, {"flags": {"hyper": "fixed"}}, {"records_hash": "x"}]
)
def test_another_configuration_has_another_folder(tmp_path, changed):
    assert place(tmp_path, **changed) != place(tmp_path)


def test_a_folder_stays_under_out_whatever_names_hold(tmp_path):
    folder = place(tmp_path, adapter="../x/y.py", domain="..")
    assert folder.resolve().is_relative_to(tmp_path / "logits")
    assert len(folder.relative_to(tmp_path).parts) == 3


def test_all_logits_are_read_once_with_what_their_rows_say(tmp_path, make_row):
    folder = place(tmp_path)
    write_logits(folder, [episode("a"), episode("b", seed=1)], make_row("url"))
    write_logits(folder, [episode("a")], make_row("url"))
    found = list(read_logits(tmp_path))
    assert sorted(one.key for _, one in found) == ["a", "b"]
    assert {(facts["adapter"], facts["domain"], facts["backbone"]) for facts, _ in found} == {("url", "icons", "net")}
