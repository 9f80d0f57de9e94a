"""The bench: every row runs, its textbook forms do the same work as ours, and what it prints and writes is right."""

import csv
import io
import json
import math
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import adapters
from adapters import Support
from backbones.resnet18 import ResNet18
from benches import plain, textbook
from benches.__main__ import main
from benches.adaptation import COPA_RATES, TSA_RATES, URL_RATES
from benches.inputs import graph_spec, published_specs, record_file
from benches.rows import Measurement, Setting, all_rows, median_seconds
from episodes.known_datasets import KNOWN
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses
from episodes.spec import load_spec
from episodes.tfrecord import RecordFile
from harness.errors import HarnessError

ROWS = sorted(all_rows())
SLOW_ROWS = ["engine_overhead", "first_episode", "ray_overhead", "stream_cold", "stream_memory"]
ROWS_OF_EPISODES = ["dag_ready", "index_records", "open_13_datasets", "plan_full", "plan_full_memory", "read_records"]


@pytest.fixture
def console():
    return Console(width=120, file=io.StringIO())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.faults] if name in SLOW_ROWS else []) for name in ROWS]
)
def test_every_row_measures_something_at_a_tiny_size(tmp_path, name):
    value, unit, baseline, note = all_rows()[name](Setting(folder=tmp_path, scale=0.002, repeats=1))
    assert math.isfinite(value)
    assert math.isfinite(baseline)
    assert min(value, baseline) > 0
    assert unit
    assert "\n" not in note


def test_the_rows_of_this_room_are_found_by_name():
    assert {*ROWS_OF_EPISODES, "sampler_flat", "sampler_omniglot"} <= all_rows().keys()


def test_more_in_a_second_is_better_and_less_of_anything_else():
    assert Measurement(30, "images/s", 10).ratio == 3
    assert Measurement(30, "s", 10).ratio == pytest.approx(1 / 3)
    assert Measurement(30, "MiB", 60).ratio == 2


def test_ours_and_the_baseline_take_turns():
    turns = []
    ours, baseline = median_seconds(lambda: turns.append("ours"), lambda: turns.append("plain"), 3)
    assert turns == ["ours", "plain"] * 3
    assert min(ours, baseline) >= 0


# --- the textbook forms do the same work ------------------------------------------------------------------------------


def assert_same_descriptions(classes, seed, number=4):
    config = EpisodeConfig()
    ours, state = np.random.RandomState(seed), np.random.RandomState(seed)
    sampler = EpisodeSampler(classes, config, ours)
    for expected in islice(plain.descriptions(classes, config, state), number):
        description = sampler.sample()
        assert description.class_ids.tolist() == expected[0].tolist()
        assert description.num_support.tolist() == expected[1].tolist()
        assert description.num_query == expected[2]
    assert ours.random_sample() == state.random_sample()


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60)
@given(counts=st.lists(st.integers(2, 3000), min_size=5, max_size=120), seed=seeds)
def test_the_plain_sampler_draws_the_same_flat_episodes(counts, seed):
    assert_same_descriptions(SplitClasses(np.array(counts)), seed)


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(5, 70), min_size=1, max_size=9), count=st.integers(2, 40), seed=seeds)
def test_the_plain_sampler_draws_the_same_bilevel_episodes(sizes, count, seed):
    assert_same_descriptions(SplitClasses(np.full(sum(sizes), count), superclass_sizes=np.array(sizes)), seed)


@settings(max_examples=40)
@given(
    spans=st.lists(st.sets(st.integers(0, 79), min_size=1, max_size=70).map(sorted), min_size=1, max_size=9),
    seed=seeds,
)
def test_the_plain_sampler_draws_the_same_episodes_of_a_graph(spans, seed):
    counts = np.arange(80) + 10
    assert_same_descriptions(SplitClasses(counts, spanned_leaves=[*spans, [0, 1, 2, 3, 4]]), seed)


def test_the_plain_reader_finds_and_reads_the_same_records(tmp_path):
    file = RecordFile(record_file(tmp_path / "0.tfrecords", 120))
    with file.path.open("rb") as handle:
        records = plain.walk_records(handle)
        assert records == list(zip(file.index.starts.tolist(), file.index.lengths.tolist(), strict=True))
        assert all(plain.read_record(handle, start) == file[i] for i, (start, _) in enumerate(records))


@pytest.mark.parametrize("position", [3, 9, 40])
def test_the_plain_reader_too_finds_a_flipped_bit(tmp_path, position):
    data = bytearray(record_file(tmp_path / "0.tfrecords", 1).read_bytes())
    data[position] ^= 1
    with pytest.raises(ValueError, match="corrupt"):
        plain.read_record(io.BytesIO(data), 0)


def test_the_graph_has_imagenets_size_and_both_ways_find_what_it_spans(tmp_path):
    (tmp_path / "dataset_spec.json").write_text(json.dumps(graph_spec(299, 712)))
    spec = load_spec(tmp_path)
    assert (len(spec.spans["train"]), len(spec.class_ids["train"])) == (299, 712)
    assert plain.spanned_leaves(tmp_path / "dataset_spec.json", "TRAIN") == spec.spans["train"]


def test_the_plain_plan_draws_no_image_twice_in_an_epoch():
    (episodes,) = plain.plan({"x": SplitClasses(np.full(6, 30))}, 3, 0).values()
    assert all(len(set(episode)) == len(episode) > 0 for episode in episodes)
    assert all(0 <= class_id < 6 and 0 <= record < 30 for episode in episodes for class_id, record in episode)


def clouds(*shape):
    """Five classes: support, labels and queries in double precision."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 1, 2, 3, 4, 1, 4, 4, 2])
    support, queries = torch.rand(2, len(labels), *shape, generator=generator, dtype=torch.float64)
    return Support(labels, 5), support + labels.view(-1, *[1] * len(shape)) / 9, queries


@pytest.mark.parametrize(
    ("name", "form", "rates"), [("url", textbook.url, URL_RATES), ("copa", textbook.copa, COPA_RATES)]
)
def test_the_textbook_descends_on_features_to_the_same_answers(name, form, rates):
    task, features, queries = clouds(12)
    ours = adapters.load(name, **rates).adapt(task._replace(features=features))(queries)
    theirs = form(features, task.labels, task.way, queries, **rates)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_the_textbook_descends_on_images_to_the_same_answers():
    task, images, queries = clouds(3, 21, 21)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResNet18((4, 5, 6, 8)).double().eval()
    ours = adapters.load("tsa", backbone=network, **TSA_RATES, steps=4).adapt(task._replace(images=images))(queries)
    theirs = textbook.tsa(network, images, task.labels, task.way, queries, **TSA_RATES, steps=4)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


# --- class sizes and the command --------------------------------------------------------------------------------------


def test_without_true_class_sizes_the_published_totals_stand_in(tmp_path):
    specs, note = published_specs(Setting(folder=tmp_path))
    assert int(specs["quickdraw"].split("test").images_per_class.sum()) == KNOWN["quickdraw"].images["test"]
    assert "published totals" in note


def test_true_class_sizes_are_taken_from_a_file(tmp_path):
    file = tmp_path / "counts.json"
    datasets = {name: {"TEST": {"images_per_class": [20] * 9}} for name in KNOWN}
    datasets["omniglot"]["TEST"]["superclass_sizes"] = [4, 5]
    file.write_text(json.dumps({"datasets": datasets}))
    specs, note = published_specs(Setting(folder=tmp_path, class_counts=file))
    assert specs["omniglot"].split("test").superclass_sizes.tolist() == [4, 5]
    assert specs["dtd"].split("test").images_per_class.tolist() == [20] * 9
    assert note == "true sizes of classes"


@pytest.mark.parametrize("text", ["", "[]", '{"datasets": {}}', '{"datasets": {"ilsvrc_2012": {"TEST": 3}}}'])
def test_a_file_that_holds_no_class_sizes_is_named(tmp_path, text):
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(HarnessError, match=r"counts\.json: not the class counts"):
        published_specs(Setting(folder=tmp_path, class_counts=tmp_path / "counts.json"))


def test_the_bench_prints_a_table_and_writes_it_as_csv(tmp_path, console):
    out = tmp_path / "runs" / "bench.csv"
    names = ["sampler_flat", "dag_ready"]
    assert main([*names, "--scale", "0.002", "--repeats", "1", "--out", str(out)], console) == 0
    lines = list(csv.DictReader(out.open(newline="")))
    assert [line["name"] for line in lines] == names
    assert list(lines[0]) == ["name", "value", "unit", "baseline", "ratio"]
    for line in lines:
        assert all(float(line[key]) > 0 for key in ("value", "baseline", "ratio"))
        assert line["name"] in console.file.getvalue()


def test_an_unknown_row_is_one_line_and_nothing_is_written(tmp_path, console, capsys):
    assert main(["sampler_flta", "--out", str(tmp_path / "bench.csv")], console) == 2
    error = capsys.readouterr().err
    assert "no row 'sampler_flta'. Did you mean 'sampler_flat'?" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
