"""`metabench run --dry-run`: what the methods of a run would take, measured on noise."""

import json
import re
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness.commands import estimate, estimate_methods
from harness.inputs import make_task

LOOKS_AT_IMAGES = """\
from dataclasses import dataclass

@dataclass(frozen=True)
class Looks:
    needs = frozenset({"images"})
    takes = "images"
    def adapt(self, support, *, rng=None):
        pixels = support.images.flatten(1)
        centres = pixels.new_zeros(support.way, pixels.shape[1]).index_add_(0, support.labels, pixels)
        return lambda queries: queries.flatten(1) @ centres.T
"""
READS_MAPS = """\
from dataclasses import dataclass

@dataclass(frozen=True)
class Maps:
    needs = frozenset({"maps"})
    takes = "maps"
    def adapt(self, support, *, rng=None):
        return lambda queries: queries.mean((1, 2, 3))[:, None].expand(-1, support.way)
"""
READS_NAMES = """\
from dataclasses import dataclass

@dataclass(frozen=True)
class Reads:
    needs = frozenset({"features", "class_names"})
    takes = "features"
    def adapt(self, support, *, rng=None):
        assert len(support.class_names) == support.way
        return lambda queries: queries[:, :1].expand(-1, support.way)
"""


@pytest.fixture
def dry_run(metabench):
    """Run `metabench run tiny.toml --dry-run` with more options; its output."""

    def run(*options):
        done = metabench("run", "tiny.toml", "--records", "records", "--tasks", 8, "--dry-run", *options)
        assert done.status == 0, done.err
        return done.out

    return run


@pytest.fixture
def measured(monkeypatch):
    """The blocks that are measured, each of which takes two seconds."""
    blocks = []

    def two_seconds(block):
        blocks.append(block)
        return 2.0

    monkeypatch.setattr(estimate_methods, "_seconds_of", two_seconds)
    return blocks


def rows_as_shown(text, cells):
    """{first cell: the others} of the table whose rows have so many cells."""
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines() if "│" in line]
    return {row[0]: tuple(row[1:]) for row in rows if len(row) == cells}


def table_of_methods(text):
    """{method: (an episode, all episodes)}."""
    return rows_as_shown(text, 3)


def seconds_of(clock):
    """As in 1:02:03."""
    return sum(int(part) * 60**i for i, part in enumerate(reversed(clock.split(":"))))


def seconds_of_method(text):
    """Of the only one."""
    ((_, (_, clock)),) = ((name, row) for name, row in table_of_methods(text).items())
    return seconds_of(clock)


def total_of(text):
    return seconds_of(re.search(r"in all about (\S+)", text)[1])


def bytes_of(shown):
    number, unit = shown.split()
    return float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6}[unit]


def test_every_method_of_the_run_is_timed_and_a_total_is_given(dry_run):
    said = dry_run("--adapters", "ncc,url(steps=3),knn", "--workers", 2)
    assert list(table_of_methods(said)) == ["ncc", "url(steps=3)", "knn"]
    assert "16 episodes" in said
    assert "2 workers" in said
    assert re.search(r"in all about \d+:\d\d:\d\d", said)


def test_without_adapters_the_benchmarks_own_are_timed(dry_run):
    assert list(table_of_methods(dry_run())) == ["ncc"]


def test_time_grows_with_images_and_is_shared_by_the_workers(dry_run, measured):
    said = [dry_run("--adapters", "ncc", "--workers", workers) for workers in (1, 2)]
    blocks = {block.data.plan.domain: block for block in measured}
    assert all(len(block.tasks) == estimate_methods.FEW for block in measured)
    images = {row[0]: int(row[1][1].replace(",", "")) for row in rows_as_shown(said[0], 6).items()}
    expected = sum(2.0 / len(block.data.plan.records) * images[domain] for domain, block in blocks.items())
    one, two = (seconds_of(table_of_methods(text)["ncc"][1]) for text in said)
    assert (one, two) == (round(expected), round(expected / 2))
    assert expected > 2 * len(blocks)
    assert table_of_methods(said[0])["ncc"][0] == f"{1000 * expected / 16:.1f} ms"


@pytest.mark.parametrize(("asked", "busy"), [(1, 1), (2, 2), (16, 2)])
def test_workers_without_a_core_or_a_block_do_not_count(dry_run, measured, monkeypatch, asked, busy):
    monkeypatch.setattr(estimate, "default_workers", lambda device: 8)
    said = dry_run("--adapters", "ncc", "--workers", asked)  # two blocks: eight episodes of two domains
    assert f"{busy} worker" in said
    monkeypatch.setattr(estimate, "default_workers", lambda device: 1)
    assert "1 worker" in dry_run("--adapters", "ncc", "--workers", asked)


def test_the_total_is_of_embedding_and_of_all_methods_each_configuration_once(dry_run, measured, monkeypatch):
    monkeypatch.setattr(estimate, "images_per_second", lambda backbone: 1.0)
    once = dry_run("--adapters", "ncc", "--workers", 1)
    again = dry_run("--adapters", "ncc,ncc(scale=10)", "--workers", 1)
    total, embedding, method = total_of(once), seconds_of(rows_as_shown(once, 6)["all"][4]), seconds_of_method(once)
    assert abs(total - embedding - method) <= 1
    assert embedding > 100
    assert method > 5
    assert list(table_of_methods(again)) == ["ncc", "ncc(scale=10)"]
    assert total_of(again) == total
    assert abs(total_of(dry_run("--adapters", "ncc,ncc(scale=9)", "--workers", 1)) - total - method) <= 1


def test_every_domain_is_measured_with_its_own_rates(metabench, measured):
    metabench("run", "pocket", "--datasets", "icons,mnist", "--tasks", 2, "--adapters", "url", "--dry-run")
    assert {block.data.plan.domain: block.hyperparameters["lr"] for block in measured} == {"icons": 0.1, "mnist": 1.0}
    measured.clear()
    fixed = "--hyper", "fixed"
    metabench("run", "pocket", "--datasets", "icons,mnist", "--tasks", 2, "--adapters", "url", "--dry-run", *fixed)
    assert {block.hyperparameters["lr"] for block in measured} == {1.0}


def test_views_are_embedded_in_whole_batches_in_every_episode(dry_run, measured, monkeypatch, metabench):
    monkeypatch.setattr(estimate, "images_per_second", lambda backbone: 64.0)  # a second for each batch
    reds = "--workers", 1, "--datasets", "reds"
    one, many = (seconds_of_method(dry_run("--adapters", f"logistic(copies={copies})", *reds)) for copies in (1, 100))
    planned = metabench("plan", "tiny.toml", "--records", "records", "--tasks", 8, "--datasets", "reds", "--json").out
    support = json.loads(planned)["domains"][0]["support_mean"]
    assert abs(many - one - 8 * (ceil(100 * support / 64) - ceil(support / 64))) <= 1


def test_maps_are_counted_as_kept_and_not_as_made_in_every_episode(dry_run, workspace):
    Path("maps.py").write_text(READS_MAPS)
    options = "--backbone", "resnet18-pocket", "--workers", 1, "--datasets", "reds"
    maps, features, both = (
        rows_as_shown(dry_run("--adapters", adapter, *options), 6)["all"][3]
        for adapter in ("maps.py", "ncc", "maps.py,ncc")
    )
    sizes = [bytes_of(shown) for shown in (maps, features, both)]
    assert sizes[0] > 4 * sizes[1]
    assert sizes[2] == pytest.approx(sizes[0] + sizes[1], rel=0.05)


def test_networks_side_by_side_give_features_of_noise_of_their_shape(dry_run, measured, workspace):
    dry_run("--adapters", "sur", "--backbone", "resnet18-pocket+resnet18-pocket", "--datasets", "reds")
    assert measured[0].data.features.shape[1:] == (2, 128)


def test_episodes_of_noise_are_those_of_the_plan_in_number_way_and_shots(dry_run, measured):
    dry_run("--adapters", "ncc")
    block = measured[0]
    for task in block.tasks:
        made, episode = make_task(block.data, task, _Features(), None, "cpu"), block.data.plan.episode(task)
        assert made.support.way == episode.way
        assert made.support.features.shape == (len(episode.support_labels), 768)
        assert len(made.queries) == len(episode.query_labels)
        assert made.support.features.std() > 0.1


class _Features:
    needs, takes, views = frozenset({"features"}), "features", None


def test_methods_that_look_at_images_are_measured_once_on_a_small_episode_and_embed_nothing(
    dry_run, measured, workspace
):
    Path("looks.py").write_text(LOOKS_AT_IMAGES)
    said = dry_run("--adapters", "looks.py")
    (block,) = measured
    assert block.data.plan.domain == "noise"
    plan = block.data.plan
    assert (len(plan), plan.ways.tolist(), plan.num_support.tolist()) == (1, [5], [3] * 5)
    assert "embedding: none, as no method reads features or maps" in said
    assert "0 bytes" in said


@pytest.mark.parametrize(("protocol", "queries"), [((2, 4), 6), ((1, 9), 27), ((9, 1), 1)])
def test_the_small_episode_has_the_queries_for_each_support_image_that_the_plans_have(protocol, queries):
    shots, asked = protocol
    spec = DatasetSpec("reds", np.full(6, 20), {"test": range(6)}, tuple("abcdef"))
    config = EpisodeConfig(num_ways=5, num_support=shots, num_query=asked)
    plans = [plan_domain("reds", spec, split="test", protocol=config, seed=0, tasks=2)] * 2
    _, small = estimate_methods._small_domain(plans)
    assert small.num_query.tolist() == [queries]


def test_images_of_noise_differ_and_have_the_networks_size():
    source = estimate_methods._Noise(20)
    first, second = source.encoded(0, 0).decode(), source.encoded(0, 1).decode()
    assert first.shape == (20, 20, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    assert np.array_equal(first, source.encoded(0, 0).decode())


def test_methods_of_every_kind_of_input_run_on_noise(dry_run, workspace):
    Path("looks.py").write_text(LOOKS_AT_IMAGES)
    Path("reads.py").write_text(READS_NAMES)
    kinds = "looks.py,reads.py,'logistic(copies=1)',finetune"
    said = dry_run("--adapters", kinds.replace("'", ""), "--backbone", "resnet18-pocket", "--datasets", "reds")
    assert list(table_of_methods(said)) == ["looks", "reads", "logistic(copies=1)", "finetune"]


@pytest.mark.parametrize(("seconds", "times"), [(0.1, 2), (1.5, 1)])
def test_what_is_quick_is_measured_twice_as_the_first_time_warms_up(dry_run, monkeypatch, seconds, times):
    blocks = []
    monkeypatch.setattr(estimate_methods, "_seconds_of", lambda block: blocks.append(block) or seconds)
    dry_run("--adapters", "ncc", "--datasets", "reds")
    assert len(blocks) == times


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--adapters", "nosuch"), "nosuch"),
        (("--adapters", "url(lrr=1)"), "lrr"),
        (("--adapters", "tsa", "--backbone", "raw-pixels"), "adapter 'tsa'"),
        (("--dtype", "float31"), "--dtype"),
    ],
)
def test_what_the_run_would_refuse_is_refused(metabench, options, words):
    done = metabench("run", "tiny.toml", "--records", "records", "--dry-run", *options)
    assert done.status != 0
    assert words in done.error
