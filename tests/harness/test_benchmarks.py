"""The shipped benchmarks keep their promises, a user's own work the same, and any split may be asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes.errors import NotEnoughImages
from episodes.known_datasets import KNOWN, stand_in
from episodes.plan import plan_domain
from episodes.sampling import EpisodeConfig, EpisodeSampler, SplitClasses
from episodes.sources import pocket
from episodes.spec import DatasetSpec, load_spec
from harness.commands.estimate import SpecifiedDomain
from harness.config import known_benchmarks, load_benchmark, setting_of
from harness.domains import resolve, with_split
from harness.errors import HarnessError

ALL = known_benchmarks()
META_DATASET = [name for name in ALL if name.startswith("meta-dataset")]


def descriptions(protocol, classes, seed, number=5):
    sampler = EpisodeSampler(classes, protocol, np.random.RandomState(seed))
    return [sampler.sample() for _ in range(number)]


def ways_and_shots(descriptions):
    return {(len(d.class_ids), *d.num_support.tolist()) for d in descriptions}


@pytest.fixture
def data_set(tmp_path, flat_spec):
    """Make a data set's folder that holds its spec alone, and so can be planned on but not run."""

    def make(name, per_split=(0, 0, 7), images=20, under="own"):
        folder = tmp_path / under / name
        folder.mkdir(parents=True)
        (folder / "dataset_spec.json").write_text(json.dumps(flat_spec(name, per_split, [images] * sum(per_split))))
        return folder

    return make


@pytest.fixture(scope="module")
def pocket_suite(tmp_path_factory):
    """The pocket domains by name, from their specs."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    specs = {name: load_spec(pocket.records_folder(name, cache)) for name in pocket.DOMAINS}
    return {name: SpecifiedDomain(name, spec, True) for name, spec in specs.items()}


# --- the files -------------------------------------------------------------------------------------------------------


def test_all_eleven_benchmarks_are_shipped():
    variants = [f"meta-dataset-{kind}{shape}" for kind in ("mdl", "sdl") for shape in ("", "-1shot", "-5shot")]
    fixed = [f"{suite}-5w{shots}s" for suite in ("pocket", "fixed") for shots in (1, 5)]
    assert sorted([*variants, *fixed, "pocket"]) == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_benchmark_has_its_files_name_and_600_episodes(name):
    benchmark = load_benchmark(name)
    assert (benchmark.name, benchmark.tasks, benchmark.split) == (name, 600, "test")
    assert (benchmark.backbone == "resnet18-pocket") == name.startswith("pocket")
    ending = {"1shot": "1shot", "5w1s": "1shot", "5shot": "5shot", "5w5s": "5shot"}
    assert benchmark.setting == ending.get(name.rsplit("-")[-1], "standard")


@pytest.mark.parametrize("name", ALL)
def test_the_setting_of_a_shipped_benchmark_is_what_its_episodes_look_like(name):
    endings = ("1shot", "5shot", "5w1s", "5w5s")
    ending = next((ending for ending in endings if name.endswith(ending)), "standard")
    expected = f"fixed-{ending}" if "w" in ending else ending
    assert setting_of(load_benchmark(name).protocol) == expected


def test_a_protocol_of_ones_own_is_no_published_setting():
    assert setting_of(EpisodeConfig(max_ways=10)) == "custom"
    assert setting_of(EpisodeConfig(num_ways=5, num_support=(1, 5))) == "custom"


@pytest.mark.parametrize("name", META_DATASET)
def test_meta_dataset_has_its_thirteen_domains_and_says_who_may_train_on_what(name):
    benchmark, kind = load_benchmark(name), name.split("-")[2]
    assert [domain.name for domain in benchmark.domains] == list(KNOWN)
    assert list(benchmark.trained_on) == [known.name for known in KNOWN.values() if kind in known.seen_in]


@pytest.mark.parametrize("name", ["pocket-5w1s", "pocket-5w5s"])
def test_the_fixed_pocket_benchmarks_hold_exactly_the_domains_that_can_fill_them(name, pocket_suite):
    benchmark = load_benchmark(name)
    needed = benchmark.protocol.num_support + 15
    enough = [
        name
        for name, domain in pocket_suite.items()
        if (domain.spec.split("test").images_per_class >= needed).sum() >= 5
    ]
    assert [domain.name for domain in benchmark.domains] == enough


@pytest.mark.parametrize(
    ("domains", "words"),
    [
        ('"al"', "domains: not 'al'; write a list"),
        ("[]", "domains: none given"),
        ('[{ name = "x" }, { name = "x" }]', "'x' stands twice"),
        ('["x"]', "domains[0]"),
    ],
)
def test_wrong_domains_are_named(tmp_path, domains, words):
    (tmp_path / "mine.toml").write_text(f'name = "mine"\ntitle = "Mine"\ndomains = {domains}\n')
    with pytest.raises(HarnessError, match=r"mine\.toml") as caught:
        load_benchmark(str(tmp_path / "mine.toml"))
    assert words in str(caught.value)


# --- the episodes ----------------------------------------------------------------------------------------------------

sizes = st.integers(2, 60)
flat = st.lists(sizes, min_size=5, max_size=60).map(lambda counts: SplitClasses(np.array(counts)))
superclasses = st.lists(st.integers(5, 60), min_size=1, max_size=4)
bilevel = superclasses.map(lambda s: SplitClasses(np.full(sum(s), 20), superclass_sizes=np.array(s)))
spans = st.lists(st.sets(st.integers(0, 69), min_size=5).map(sorted), min_size=1, max_size=5)
dag = spans.map(lambda s: SplitClasses(np.full(70, 30), spanned_leaves=s))


@pytest.mark.parametrize("name", ["meta-dataset-mdl-1shot", "meta-dataset-sdl-1shot"])
@pytest.mark.parametrize("classes", [flat, bilevel, dag], ids=["flat", "bilevel", "dag"])
def test_one_shot_is_always_five_way_one_shot(name, classes):
    protocol = load_benchmark(name).protocol

    @settings(max_examples=40)
    @given(classes=classes, seed=st.integers(0, 2**32 - 1))
    def always(classes, seed):
        assert ways_and_shots(descriptions(protocol, classes, seed)) == {(5, 1, 1, 1, 1, 1)}

    always()


@pytest.mark.parametrize("name", ["meta-dataset-mdl-5shot", "meta-dataset-sdl-5shot"])
@pytest.mark.parametrize("data_set_name", ["ilsvrc_2012", "omniglot", "aircraft"])
def test_five_shot_has_five_of_every_class_and_many_ways(name, data_set_name):
    classes = stand_in(KNOWN[data_set_name]).split("test")
    drawn = descriptions(load_benchmark(name).protocol, classes, seed=0, number=100)
    assert {shots for d in drawn for shots in d.num_support.tolist()} == {5}
    assert {d.num_query for d in drawn} == {10}
    assert len({len(d.class_ids) for d in drawn}) > 5


@pytest.mark.parametrize("data_set_name", KNOWN)
@pytest.mark.parametrize("name", [name for name in ALL if name.startswith(("meta-dataset", "fixed"))])
def test_every_published_data_set_fills_every_benchmark(name, data_set_name):
    protocol, spec = load_benchmark(name).protocol, stand_in(KNOWN[data_set_name])
    assert len(descriptions(protocol, spec.split("test"), seed=0)) == 5


@pytest.mark.parametrize("suite", ["pocket", "fixed"])
@pytest.mark.parametrize("shots", [1, 5])
def test_fixed_benchmarks_are_five_way_with_fifteen_queries_whatever_the_hierarchy(suite, shots):
    protocol = load_benchmark(f"{suite}-5w{shots}s").protocol
    for classes in (
        SplitClasses(np.array([shots + 15] * 6 + [shots + 14] * 30)),
        SplitClasses(np.full(8, 20), superclass_sizes=np.array([4, 4])),
        SplitClasses(np.full(8, 20), spanned_leaves=[[0, 1, 2]]),
    ):
        drawn = descriptions(protocol, classes, seed=0, number=50)
        assert ways_and_shots(drawn) == {(5, *[shots] * 5)}
        assert {d.num_query for d in drawn} == {15}
        assert {c for d in drawn for c in d.class_ids.tolist()} == set(
            range(6 if len(classes.images_per_class) > 8 else 8)
        )


# --- any folder of records -------------------------------------------------------------------------------------------


def test_all_means_every_data_set_under_records_by_name(data_set, tmp_path):
    for name in ("b", "a", ".c-unfinished"):
        data_set(name)
    (tmp_path / "own/notes").mkdir()
    (tmp_path / "own/readme.txt").write_text("not a data set")
    domains = resolve(load_benchmark("fixed-5w1s"), tmp_path / "own").domains
    assert [(domain.name, Path(domain.folder)) for domain in domains] == [
        (name, (tmp_path / "own" / name).resolve()) for name in ("a", "b")
    ]


def test_one_data_set_may_be_given_itself(data_set, monkeypatch):
    folder = data_set("alone")
    monkeypatch.chdir(folder)
    for written in (folder, Path(), Path("../alone")):
        assert [domain.name for domain in resolve(load_benchmark("fixed-5w5s"), written).domains] == ["alone"]


def test_other_benchmarks_stay_as_they_are(tmp_path):
    assert resolve(load_benchmark("pocket"), tmp_path) == load_benchmark("pocket")


def test_any_folder_of_records_can_be_planned_on(metabench, data_set):
    for name in ("a", "b"):
        data_set(name, under="mine")
    assert "b" in metabench("plan", "fixed-5w5s", "--records", "mine").out
    some = metabench("plan", "fixed-5w5s", "--records", "mine", "--datasets", "a")
    assert some.status == 0
    assert " b " not in some.out
    assert "no data set in benchmark 'fixed-5w5s': 'aa'. Did you mean 'a'?" in (
        metabench("plan", "fixed-5w5s", "--records", "mine", "--datasets", "aa").error
    )


def test_where_there_is_nothing_to_find_one_line_says_so(metabench, workspace):
    (workspace / "empty").mkdir()
    assert "give --records /path" in metabench("plan", "fixed-5w1s").error
    assert "--records empty: no data set in it" in metabench("plan", "fixed-5w1s", "--records", "empty").error
    assert "--records nowhere: no such folder" in metabench("plan", "fixed-5w1s", "--records", "nowhere").error


OWN = """
name = "own"
title = "My own"
tasks = 3
domains = [{{ name = "near", folder = "deep/one" }}, {{ name = "far", folder = "{far}" }}]
protocol = {{ num_ways = 5, num_support = 2, num_query = 3 }}
"""


def test_a_users_own_file_may_name_folders_under_records_or_anywhere(metabench, data_set, workspace):
    data_set("one", under="mine/deep")
    far = data_set("two", under="elsewhere")
    (workspace / "own.toml").write_text(OWN.format(far=far))
    done = metabench("plan", "own.toml", "--records", "mine")
    assert done.status == 0, done.err
    assert "near" in done.out
    assert "far" in done.out
    assert "needs its records" in metabench("plan", "own.toml").error
    assert metabench("plan", "own.toml", "--datasets", "far").status == 0  # the records are not needed for this one


# --- any split -------------------------------------------------------------------------------------------------------


def specified(name, images, per_split):
    ids, first = {}, 0
    for split, n in zip(("train", "valid", "test"), per_split, strict=True):
        ids[split] = range(first, first + n)
        first += n
    return SpecifiedDomain(name, DatasetSpec(name, np.full(first, images), ids, tuple(map(str, range(first)))), True)


DOMAINS = [specified("both", 30, (0, 6, 6)), specified("testing", 30, (0, 0, 6)), specified("small", 12, (0, 6, 6))]


def test_domains_without_classes_in_the_split_are_left_out_with_a_word():
    benchmark = load_benchmark("pocket")
    assert with_split(DOMAINS, benchmark, "test", named=False) == (DOMAINS, "")
    kept, left_out = with_split(DOMAINS, benchmark, "valid", named=False)
    assert [domain.name for domain in kept] == ["both", "small"]
    assert left_out == "left out testing: no classes in the valid split"


def test_so_are_domains_whose_classes_are_all_too_small_for_the_protocol():
    kept, left_out = with_split(DOMAINS, load_benchmark("fixed-5w1s"), "valid", named=False)
    assert [domain.name for domain in kept] == ["both"]
    assert left_out == "left out testing, small: no classes of 16 images or more in the valid split"


def test_a_domain_that_was_asked_for_by_name_is_never_left_out():
    assert with_split(DOMAINS[:1], load_benchmark("pocket"), "valid", named=True) == (DOMAINS[:1], "")
    with pytest.raises(HarnessError, match=r"^testing: no classes in the valid split; .*--datasets"):
        with_split(DOMAINS, load_benchmark("pocket"), "valid", named=True)


def test_a_split_that_no_domain_has_is_refused():
    with pytest.raises(
        HarnessError, match="'pocket' has nothing to run: both, testing, small: no classes in the train"
    ):
        with_split(DOMAINS, load_benchmark("pocket"), "train", named=False)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("pocket")])
def test_every_split_of_the_published_data_sets_can_be_planned_on(name, split):
    benchmark = load_benchmark(name)
    published = [SpecifiedDomain(known, stand_in(KNOWN[known]), False) for known in KNOWN]
    kept, left_out = with_split(published, benchmark, split, named=False)
    assert len(kept) == {"train": 8, "valid": 9, "test": 13}[split]
    assert left_out.count(",") == {"train": 4, "valid": 3, "test": 0}[split]
    for domain in kept:
        assert descriptions(benchmark.protocol, domain.spec.split(split), seed=0)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("pocket")])
def test_every_split_of_the_pocket_suite_can_be_planned_on(pocket_suite, name, split):
    benchmark = load_benchmark(name)
    kept, _ = with_split([pocket_suite[domain.name] for domain in benchmark.domains], benchmark, split, named=False)
    assert {"icons", "clipart"} <= {domain.name for domain in kept}
    assert ("mnist" in [domain.name for domain in kept]) == (split == "test")
    for domain in kept:
        assert descriptions(benchmark.protocol, domain.spec.split(split), seed=0)


def test_the_plan_command_says_what_it_leaves_out_unless_it_was_asked_for_by_name(metabench, data_set):
    data_set("both", (0, 6, 6))
    data_set("testing", (0, 0, 6))
    command = ("plan", "fixed-5w1s", "--tasks", 2, "--split", "valid", "--records", "own")
    done = metabench(*command)
    assert done.status == 0, done.err
    assert "left out testing: no classes of 16 images or more in the valid split" in done.out
    assert "left out" not in metabench(*command, "--datasets", "both").out
    assert "testing: no classes of 16 images" in metabench(*command, "--datasets", "both,testing").error


def test_a_domain_with_too_few_classes_for_the_protocol_is_named(data_set, tmp_path):
    data_set("four", (0, 0, 4))
    benchmark = resolve(load_benchmark("fixed-5w1s"), tmp_path / "own")
    spec = load_spec(Path(benchmark.domains[0].folder))
    with pytest.raises(NotEnoughImages, match=r"four \(test split\): an episode needs 5 classes; this split has 4"):
        plan_domain("four", spec, split="test", protocol=benchmark.protocol, seed=0, tasks=1)
