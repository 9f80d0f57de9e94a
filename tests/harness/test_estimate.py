"""`metabench plan --dry-run`: true where the specs are, near where they are not, and it opens nothing else."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import backbones
from episodes.known_datasets import KNOWN, stand_in
from episodes.spec import SPLITS
from harness.commands import estimate as estimating
from harness.commands.estimate import images_per_second
from harness.commands.plan import Asked, NetworkOptions, show_plan, show_what_it_takes
from harness.errors import HarnessError

opened: list[str] = []
"""Every file that is opened while this list is being filled; an audit hook cannot be taken away again."""
watching = False


def _note(event, arguments):
    if watching and event == "open":
        opened.append(str(arguments[0]))


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def known_rate(monkeypatch):
    """The rate of embedding is 1,000 images/s."""
    monkeypatch.setattr(estimating, "images_per_second", lambda backbone: 1000.0)


@pytest.fixture
def plan_command(workspace, monkeypatch):
    """What `metabench plan` prints in the workspace: plan_command("tiny.toml", dry_run=True, ...) -> text."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("METABENCH_CACHE", str(workspace / "cache"))
    missing, known = dict.fromkeys(("datasets", "tasks", "split", "records")), Asked._fields

    def command(benchmark, *, width=200, dry_run=False, **options):
        console = Console(record=True, width=width, file=io.StringIO())
        asked = Asked(benchmark, **{**missing, "seed": 0, **{key: options[key] for key in options if key in known}})
        if dry_run:
            show_what_it_takes(console, asked, NetworkOptions(options.get("backbone")))
        else:
            show_plan(console, asked, out=options.get("out", workspace / "runs"), dump=options.get("dump"))
        return console.export_text()

    return command


@pytest.fixture
def specs_only(workspace, flat_spec):
    """Records of mnist with twice the classes that were published, and of mscoco: specs without any class file."""
    for name, per_split, images in (("mnist", (0, 0, 20), 30), ("mscoco", (0, 6, 9), 40)):
        (workspace / "specs" / name).mkdir(parents=True)
        spec = flat_spec(name, per_split, [images] * sum(per_split))
        (workspace / "specs" / name / "dataset_spec.json").write_text(json.dumps(spec))
    return workspace / "specs"


def rows_as_shown(text):
    return [line for line in text.splitlines() if "│" in line]


def rows_of(text):
    """The table: {data set: its cells}."""
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in rows_as_shown(text)]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("seed", [0, 7])
def test_from_true_specs_the_plan_is_that_of_the_plan_command(plan_command, seed):
    options = {"records": Path("records"), "tasks": 5, "seed": seed}
    (made,) = re.findall(r"plan (\w{12}), wrote", plan_command("tiny.toml", **options))
    dry = plan_command("tiny.toml", **options, dry_run=True)
    assert f"plan {made}: these are the episodes of the run" in dry
    assert "~" not in dry
    real, estimated = rows_of(plan_command("tiny.toml", **options)), rows_of(dry)
    for name in ("reds", "blues"):
        assert estimated[name][1:3] == real[name][4:6]  # images drawn, distinct images


def test_no_image_and_no_class_file_is_opened_and_nothing_is_written(plan_command, workspace):
    global watching
    backbones.load("raw-pixels")
    opened.clear()
    watching = True
    try:
        plan_command("tiny.toml", records=Path("records"), dry_run=True)
    finally:
        watching = False
    assert any(name.endswith("reds/dataset_spec.json") for name in opened)  # the hook sees what is opened
    assert not [name for name in opened if "tfrecords" in name or ".npz" in name]
    assert not (workspace / "runs").exists()
    assert not (workspace / "cache").exists()


def test_class_files_need_not_even_be_there(plan_command, specs_only):
    text = plan_command("meta-dataset-mdl", records=specs_only, datasets=("mnist",), tasks=4, dry_run=True)
    assert "4 episodes of each data set" in text
    assert 5 <= float(rows_of(text)["mnist"][0]) <= 20  # ways, of 20 classes; ten are published
    assert "these are the episodes of the run" in text


def test_what_is_not_at_hand_is_estimated_and_marked(plan_command, specs_only):
    some = ("ilsvrc_2012", "omniglot", "mscoco", "mnist")
    text = plan_command("meta-dataset-sdl", records=specs_only, datasets=some, tasks=20, dry_run=True)
    rows = rows_of(text)
    for name in (*some, "all"):
        assert [cell.startswith("~") for cell in rows[name]] == [name not in ("mscoco", "mnist")] * 5
    assert "~ estimated from the published totals" in text
    assert "these are the episodes of the run" not in text


def test_without_records_nothing_of_the_working_folder_is_taken_for_them(plan_command, specs_only, monkeypatch):
    monkeypatch.chdir(specs_only)
    rows = rows_of(plan_command("meta-dataset-mdl", datasets=("mnist",), tasks=2, dry_run=True))
    assert rows["mnist"][0].startswith("~")


def test_bytes_and_time_follow_from_the_distinct_images(plan_command, specs_only):
    text = plan_command(
        "meta-dataset-mdl", records=specs_only, datasets=("mnist",), tasks=600, dry_run=True, backbone="raw-pixels"
    )
    assert rows_of(text)["mnist"][2:] == ["600", "1.8 MB", "0:00:01"]  # 20 classes of 30; 600 * 768 * 4 bytes
    assert rows_of(text)["all"][2:] == ["600", "1.8 MB", "0:00:01"]
    assert "1,000 images/s, measured here with raw-pixels (d = 768)" in text


def test_totals_are_the_sums_of_the_rows(plan_command, specs_only):
    rows = rows_of(
        plan_command("meta-dataset-mdl", records=specs_only, datasets=("mnist", "mscoco"), tasks=9, dry_run=True)
    )
    for column in (1, 2):  # images drawn, distinct images
        numbers = [int(rows[name][column].replace(",", "")) for name in ("mnist", "mscoco", "all")]
        assert numbers[0] + numbers[1] == numbers[2]


def test_the_whole_table_can_be_read_on_a_terminal_of_eighty_columns(plan_command):
    options = {"dry_run": True, "backbone": "raw-pixels"}
    wide, narrow = plan_command("meta-dataset-mdl", **options), plan_command("meta-dataset-mdl", **options, width=80)
    assert narrow == wide
    assert max(map(len, rows_as_shown(narrow))) <= 80


def test_how_wrong_an_estimate_may_be_is_said(plan_command):
    assert "for fungi, whose classes are uneven, 38% too high" in (
        plan_command("meta-dataset-mdl", datasets=("fungi",), tasks=2, dry_run=True)
    )


def test_the_backbone_is_the_users_or_the_benchmarks_or_a_full_width_stand_in(plan_command, specs_only):
    some = {"datasets": ("mnist",), "tasks": 2, "dry_run": True, "records": specs_only}
    assert "with resnet18-random, for want of a --backbone (d = 512)" in plan_command("meta-dataset-mdl", **some)
    assert "with resnet18-pocket (d = 128)" in plan_command("meta-dataset-mdl", **some, backbone="resnet18-pocket")
    assert "with raw-pixels (d = 768)" in plan_command("tiny.toml", records=Path("records"), tasks=2, dry_run=True)


def test_data_sets_without_the_split_are_left_out(plan_command):
    text = plan_command("meta-dataset-mdl", datasets=None, split="valid", tasks=2, dry_run=True)
    assert "left out traffic_sign, mnist, cifar10, cifar100: no classes in the valid split" in text
    assert list(rows_of(text)) == [*list(KNOWN)[:8], "mscoco", "all"]
    with pytest.raises(HarnessError, match="mnist: no classes in the valid split"):
        plan_command("meta-dataset-mdl", datasets=("mnist",), split="valid", tasks=2, dry_run=True)


def test_a_spec_that_cannot_be_read_is_named_with_how_to_go_on_without_it(plan_command, specs_only):
    (specs_only / "mnist/dataset_spec.json").write_text("{")
    with pytest.raises(
        HarnessError, match=r"specs/mnist/dataset_spec\.json: .*name the other data sets with --datasets"
    ):
        plan_command("fixed-5w1s", records=specs_only, tasks=2, dry_run=True)
    plan_command("fixed-5w1s", records=specs_only, tasks=2, dry_run=True, datasets=("mscoco",))


def test_a_data_set_that_nobody_knows_is_one_line(metabench):
    assert "no folder for reds" in metabench("plan", "tiny.toml", "--dry-run").error
    assert "--records nowhere: no such folder" in (
        metabench("plan", "tiny.toml", "--dry-run", "--records", "nowhere").error
    )


@pytest.mark.parametrize("name", KNOWN)
def test_a_stand_in_has_the_published_totals(name):
    known, spec = KNOWN[name], stand_in(KNOWN[name])
    first = 0
    for split in SPLITS:
        classes = spec.split(split)
        images = classes.images_per_class
        assert spec.class_ids[split] == range(first, first + known.classes[split])
        assert (len(images), int(images.sum())) == (known.classes[split], known.images[split])
        assert len(images) == 0 or np.ptp(images) <= 1
        first += len(images)
        if known.superclasses:
            sizes = classes.superclass_sizes
            assert (len(sizes), int(sizes.sum())) == (known.superclasses[split], known.classes[split])
        if known.eligible_nodes:
            spans = classes.spanned_leaves
            assert (len(spans), min(map(len, spans)), max(map(len, spans))) == known.eligible_nodes[split]
            assert all(span == sorted(set(span)) and span[-1] < len(images) for span in spans)
    assert (spec.superclass_sizes is not None, spec.spans is not None) == (known.kind == "bilevel", known.kind == "dag")


def test_the_rate_is_measured_on_two_fixed_batches():
    class Watched:
        """Stands where a backbone stands, and keeps what it is given."""

        card = backbones.load("raw-pixels").card

        def __init__(self):
            self.seen = []

        def embed(self, images):
            self.seen.append(images.clone())
            return images.flatten(1)

    watched = Watched()
    assert images_per_second(watched) > 0
    first, second = watched.seen
    assert first.shape == (64, 3, 84, 84)
    assert first.equal(second)
    assert first.std() > 0.5  # noise in [-1, 1], no blank images
