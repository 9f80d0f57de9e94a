import csv
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from tiny_images import images_of

import adapters
import backbones
from backbones.registry import SHIPPED
from backbones.weights import save_weights
from episodes.dataset import DatasetRecords
from episodes.tfrecord import write_records
from harness.blocks import BackboneChoice, Block, evaluate_block, load_backbone
from harness.errors import HarnessError
from harness.inputs import DomainData
from harness.pixels import PixelChoice
from results.identity import canonical_hash


def rows(workspace, columns="domain, task, adapter, accuracy"):
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        return sorted(database.execute(f"SELECT {columns} FROM rows"))


def board(workspace):
    with (workspace / "runs/leaderboard.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def last_manifest(workspace):
    return json.loads(max((workspace / "runs/manifests").iterdir()).read_text())


def test_a_run_stores_a_row_per_episode_and_writes_the_leaderboard(run_ok, workspace):
    done = run_ok("--adapters", "ncc,url")
    assert len(rows(workspace)) == 2 * 2 * 6
    table = board(workspace)
    assert set(table) == {"ncc", "url"}
    mean = sum(row[3] for row in rows(workspace) if row[:3:2] == ("reds", "ncc")) / 6
    assert float(table["ncc"]["reds"]) == pytest.approx(100 * mean, abs=1e-4)
    assert (workspace / "runs/timings.csv").is_file()
    assert "reds" in done.out
    assert "\r" not in done.out  # no progress bar where there is no terminal


def test_the_same_command_again_computes_nothing_and_writes_the_same_bytes(run_ok, workspace):
    run_ok()
    first = (workspace / "runs/leaderboard.csv").read_bytes()
    run_ok()
    assert (last_manifest(workspace)["episodes_computed"], last_manifest(workspace)["images_embedded"]) == (0, 0)
    assert (workspace / "runs/leaderboard.csv").read_bytes() == first


def test_a_kept_plan_is_the_one_that_would_be_sampled_and_a_damaged_one_is_sampled_again(run_ok, workspace):
    run_ok("--out", "first")
    (kept,) = (workspace / "cache/plans").iterdir()
    content = kept.read_bytes()
    run_ok("--out", "kept")
    kept.write_bytes(content[:200])
    run_ok("--out", "again")
    assert kept.read_bytes() == content
    boards = {(workspace / out / "leaderboard.csv").read_bytes() for out in ("first", "kept", "again")}
    assert len(boards) == 1


def test_a_further_adapter_decodes_and_embeds_nothing_again(run_ok, workspace):
    run_ok()
    assert last_manifest(workspace)["images_embedded"] > 0
    run_ok("--adapters", "url")
    assert last_manifest(workspace)["images_embedded"] == 0
    assert last_manifest(workspace)["episodes_computed"] == 12
    assert set(board(workspace)) == {"ncc", "url"}


def test_a_longer_plan_reuses_the_rows_of_a_shorter_one(run_ok, workspace):
    run_ok("--tasks", 20)
    run_ok("--tasks", 45)
    assert last_manifest(workspace)["episodes_computed"] == 2 * 25
    assert {row["episodes"] for row in board(workspace).values()} == {"45"}
    assert {row["reds_n"] for row in board(workspace).values()} == {"45"}


def test_workers_change_no_bit(run_ok, workspace):
    options = ("--adapters", "ncc,url,copa", "--tasks", 25, "--backbone", "resnet18-pocket-random")
    run_ok(*options)
    alone = rows(workspace)
    shutil.rmtree(workspace / "runs")
    run_ok(*options, "--workers", 2)
    assert rows(workspace) == alone


def test_some_domains_can_be_left_out_and_keep_their_episodes(run_ok, workspace):
    run_ok()
    both = rows(workspace)
    shutil.rmtree(workspace / "runs")
    run_ok("--datasets", "blues")
    assert rows(workspace) == [row for row in both if row[0] == "blues"]


def test_methods_are_told_apart_by_what_was_asked_for(run_ok, workspace):
    run_ok("--adapters", "url url(lr=0.5)")
    assert set(board(workspace)) == {"url", "url(lr=0.5)"}
    run_ok("--adapters", "url", "--backbone", "resnet18-pocket-random")
    assert set(board(workspace)) == {
        "url @ raw-pixels",
        "url(lr=0.5) @ raw-pixels",
        "url @ resnet18-pocket-random",
    }


def test_the_same_images_under_another_path_are_the_same_results(run_ok, metabench, workspace):
    run_ok()
    shutil.copytree(workspace / "records", workspace / "elsewhere")
    metabench("run", "tiny.toml", "--records", "elsewhere")
    assert last_manifest(workspace)["episodes_computed"] == 0


def test_other_images_of_the_same_counts_are_other_results(run_ok, metabench, workspace):
    run_ok()
    shutil.copytree(workspace / "records", workspace / "elsewhere")
    reds = workspace / "elsewhere/reds"
    counts = DatasetRecords(reds).spec.images_per_class.tolist()
    for class_id, count in enumerate(counts):
        write_records(reds / f"{class_id}.tfrecords", [(image, class_id) for image in images_of(500 + class_id, count)])
    assert metabench("run", "tiny.toml", "--records", "elsewhere").status == 0
    assert last_manifest(workspace)["episodes_computed"] == 6


def _start(workspace, environment, *arguments):
    command = [sys.executable, "-m", "metabench", "run", "tiny.toml", "--records", "records", *arguments]
    return subprocess.Popen(
        command,
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_listen_to_ctrl_c,
    )


def _listen_to_ctrl_c():
    """In the new process: tests that run in the background inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_rows(workspace):
    for _ in range(1800):
        time.sleep(0.05)
        try:
            if found := rows(workspace):
                return len(found)
        except sqlite3.OperationalError:
            continue  # the store is not there yet
    raise AssertionError("no row was stored in 90 s")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("signal_number", "workers"),
    [(signal.SIGKILL, "1"), (signal.SIGINT, "1"), (signal.SIGINT, "2"), (signal.SIGTERM, "2")],
)
def test_a_stopped_run_goes_on_where_it_was(run_ok, workspace, environment, signal_number, workers):
    options = ("--adapters", "url(steps=200)", "--tasks", "100", "--backbone", "resnet18-pocket-random")
    temporary = workspace / "temporary"
    temporary.mkdir()
    with _start(workspace, {**environment, "TMPDIR": str(temporary)}, *options, "--workers", workers) as process:
        try:
            _wait_for_rows(workspace)
        finally:
            process.send_signal(signal_number)
        _, err = process.communicate(timeout=60)
    stored = len(rows(workspace))
    assert 0 < stored < 200
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert err.strip().splitlines()[-1].startswith("stopped; finished blocks are stored")
    if signal_number == signal.SIGTERM:
        assert (process.returncode, err) == (143, "stopped; what was finished is stored\n")
    if signal_number != signal.SIGKILL:
        assert list(temporary.glob("metabench-*")) == []
    run_ok(*options)
    assert last_manifest(workspace)["episodes_computed"] == 200 - stored
    assert len(rows(workspace)) == 200


def test_a_file_of_the_users_that_has_the_name_of_a_library_is_not_imported(workspace, environment):
    (workspace / "copy.py").write_text("raise SystemExit('own')")
    (workspace / "elsewhere").mkdir()
    door = "from metabench import main\n\nif __name__ == '__main__':\n    main()\n"
    (workspace / "elsewhere/door.py").write_text(door)
    command = [sys.executable, "elsewhere/door.py", "run", "tiny.toml", "--records", "records", "--workers", "2"]
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rows(workspace)) == 12


@pytest.mark.faults
def test_workers_of_a_killed_run_do_not_outlive_it(workspace, environment):
    options = ("--adapters", "url(steps=300)", "--tasks", "100", "--backbone", "resnet18-pocket-random")
    with _start(workspace, environment, *options, "--workers", "2") as process:
        try:
            _wait_for_rows(workspace)
            begun = _descendants(process.pid)
        finally:
            process.kill()
    assert len(begun) >= 3  # the process that workers are forked from, and two of them
    for _ in range(200):
        if not any(_is_alive(pid) for pid in begun):
            return
        time.sleep(0.1)
    raise AssertionError("workers are still there after 20 s")


def _descendants(pid):
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [further for child in children for further in _descendants(child)]


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_two_names_of_one_configuration_are_computed_once(run_ok, workspace):
    run_ok("--adapters", "url,url(lr=1),url(lr=1.0)")
    assert last_manifest(workspace)["episodes_computed"] == 12
    assert set(board(workspace)) == {"url", "url(lr=1)", "url(lr=1.0)"}


@pytest.mark.faults
def test_two_runs_at_once_share_a_store(workspace, environment):
    processes = [_start(workspace, environment, "--adapters", name, "--workers", "1") for name in ("ncc", "url")]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(rows(workspace)) == 24


def test_weights_of_unknown_training_are_cautioned_and_shown_as_such(run_ok, workspace):
    save_as(workspace / "mine.safetensors", training_data_known=False)
    done = run_ok("--backbone", "mine.safetensors")
    assert "caution   what mine was trained on is unknown" in done.out
    assert {row[0] for row in rows(workspace, "seen")} == {"unknown"}
    assert board(workspace)["ncc"]["unseen_mean"] == ""


def save_as(path, **changes):
    backbone = backbones.load("resnet18-pocket-random")
    card = msgspec.structs.replace(backbone.card, name="mine", **changes)
    save_weights(backbone.module.state_dict(), card, path)


def test_what_a_card_says_later_counts_for_rows_already_stored(run_ok, workspace):
    save_as(workspace / "mine.safetensors", training_data_known=False)
    run_ok("--backbone", "mine.safetensors")
    save_as(workspace / "mine.safetensors", training_data_known=True, trained_on={"reds": ("train",)})
    load_backbone.cache_clear()
    run_ok("--backbone", "mine.safetensors")
    assert last_manifest(workspace)["episodes_computed"] == 0
    assert board(workspace)["ncc"]["seen_domains"] == "reds"
    assert board(workspace)["ncc"]["unseen_domains"] == "blues"


def test_other_weights_under_the_same_name_never_share_a_table_with_the_old_ones(run_ok, workspace):
    shutil.copy(SHIPPED / "resnet18-pocket.safetensors", workspace / "mine.safetensors")
    shutil.copy(SHIPPED / "resnet18-pocket.json", workspace / "mine.json")
    run_ok("--backbone", "mine.safetensors", "--adapters", "ncc,url")
    save_as(workspace / "mine.safetensors")
    card = json.loads((workspace / "mine.json").read_text())
    (workspace / "mine.json").write_text(json.dumps({**card, "name": "resnet18-pocket"}))
    load_backbone.cache_clear()
    run_ok("--backbone", "mine.safetensors", "--adapters", "ncc")
    assert set(board(workspace)) == {"ncc"}
    assert len(rows(workspace)) == 36  # nothing is lost, it is only not shown


def test_official_and_fixed_hyperparameters_are_two_lines_and_every_row_says_which(run_ok, workspace):
    run_ok("--adapters", "ncc,copa")
    run_ok("--adapters", "ncc,copa", "--hyper", "fixed")
    assert set(board(workspace)) == {"ncc", "copa", "copa (fixed)"}
    assert last_manifest(workspace)["episodes_computed"] == 12  # of copa; there is nothing published for ncc
    assert last_manifest(workspace)["hyper"] == "fixed"
    said = [(adapter, json.loads(flags)["hyper"]) for adapter, flags in rows(workspace, "adapter, flags")]
    assert sorted(set(said)) == [("copa", "fixed"), ("copa", "official"), ("ncc", "fixed")]


def test_an_unknown_source_of_hyperparameters_is_named(run_tiny):
    done = run_tiny("--hyper", "oficial")
    assert done.error == "error: no --hyper 'oficial'. Did you mean 'official'? Known: fixed, official"


def test_another_precision_is_another_line(run_ok, workspace):
    run_ok("--backbone", "resnet18-pocket-random")
    run_ok("--backbone", "resnet18-pocket-random", "--dtype", "float64")
    assert set(board(workspace)) == {"ncc @ resnet18-pocket-random", "ncc @ resnet18-pocket-random float64"}


def test_several_backbones_are_embedded_each_once_and_stacked_for_the_adapter(run_ok, workspace):
    save_as(workspace / "mine.safetensors", trained_on={"reds": ("train",)}, training_data_known=True)
    run_ok("--backbone", "mine.safetensors")
    embedded = last_manifest(workspace)["images_embedded"]
    (workspace / "spy.py").write_text(SPY)
    run_ok("--backbone", "raw-pixels+raw-pixels+raw-pixels", "--adapters", "spy.py", "--workers", 2)
    run_ok("--backbone", "mine.safetensors+resnet18-pocket", "--adapters", "sur")
    assert last_manifest(workspace)["images_embedded"] == embedded  # by the second; the first one's are there
    found = rows(workspace, "adapter, backbone, seen")
    assert ("sur", "mine+resnet18-pocket", "seen") in found
    assert ("sur", "mine+resnet18-pocket", "unseen") in found
    assert ("spy", "raw-pixels+raw-pixels+raw-pixels", "unseen") in found


def test_methods_of_one_backbone_refuse_several_in_one_line(run_tiny):
    pair = "resnet18-pocket-random+resnet18-pocket-random"
    for name in ("url", "tsa", "copa(heads=transformer)"):
        done = run_tiny("--backbone", pair, "--adapters", name)
        assert done.error == f"error: adapter '{name.partition('(')[0]}' works on one network, not 2 ({pair})"
    assert "there is a + too many" in run_tiny("--backbone", "raw-pixels+").error


def test_an_adapter_that_changes_during_the_run_is_stopped(workspace, tiny_records):
    data = DomainData(None, tiny_records / "reds", PixelChoice("keep", 84, workspace / "cache"), None)
    block = Block(data, "url", {"lr": 0.5}, "hash of another configuration", None, "", "cpu", 0, 1)
    with pytest.raises(HarnessError, match="'url' was changed while the run used it"):
        evaluate_block(block)


def test_a_backbone_that_changes_during_the_run_is_stopped(workspace, tiny_records):
    data = DomainData(None, tiny_records / "reds", PixelChoice("keep", 84, workspace / "cache"), None)
    chosen, configuration = BackboneChoice("raw-pixels"), adapters.configuration(adapters.load("ncc"))
    block = Block(data, "ncc", {}, canonical_hash(configuration), chosen, "hash of other weights", "cpu", 0, 1)
    with pytest.raises(HarnessError, match="backbone 'raw-pixels' was changed while the run used it"):
        evaluate_block(block)


def test_a_plug_in_file_from_the_users_folder_runs(run_ok, workspace):
    (workspace / "first_image.py").write_text(PLUG_IN)
    run_ok("--adapters", "ncc,first_image.py", "--workers", 2)
    assert len(rows(workspace)) == 24


@pytest.mark.parametrize("workers", [1, 2])
def test_an_adapter_that_leaves_does_not_end_the_run_in_silence(run_tiny, workspace, workers):
    (workspace / "leaves.py").write_text(
        PLUG_IN.replace("        first = ", "        raise SystemExit(0)\n        first = ")
    )
    done = run_tiny("--adapters", "leaves.py", "--workers", workers)
    assert done.status == 1
    assert "episode 0: SystemExit: 0" in done.error


META_TRAINED = '''
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors.torch import load_file
from torch import eye


@dataclass(frozen=True)
class Learned:
    """Scores by a matrix that was learned elsewhere."""

    weights: Path
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"

    def adapt(self, support, *, rng=None):
        matrix = load_file(self.weights)["matrix"]
        means = eye(support.way)[support.labels].T @ support.features.float()
        return lambda queries: queries.float() @ matrix @ means.T
'''


def test_the_learned_weights_of_a_method_are_told_apart_by_content_and_not_by_path(run_ok, run_tiny, workspace):
    (workspace / "learned.py").write_text(META_TRAINED)
    for name, scale in {"one": 1.0, "same": 1.0, "other": -1.0}.items():
        size = load_backbone(BackboneChoice("raw-pixels"), "cpu").feature_dim
        save_file({"matrix": scale * torch.eye(size)}, workspace / f"{name}.safetensors")
        run_ok("--adapters", f"learned.py(weights={name}.safetensors)", "--workers", 2)
    hyperparameters = {row for (row,) in rows(workspace, "hyperparameters")}
    assert len(hyperparameters) == 2
    assert not any("safetensors" in each for each in hyperparameters)
    assert len(rows(workspace)) == 2 * 2 * 6
    assert "must be a file, and " in run_tiny("--adapters", "learned.py(weights=none.safetensors)").error


def test_adapters_may_ask_for_images_maps_and_class_names(run_ok, workspace):
    (workspace / "curious.py").write_text(CURIOUS)
    run_ok("--adapters", "curious.py", "--tasks", 2)
    assert len(rows(workspace)) == 4
    assert min(row[3] for row in rows(workspace)) > 0.5  # the tiny classes differ by their colour


SPY = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Spy:
    """Checks that three equal backbones give three equal vectors."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    over_backbones: ClassVar = True

    def adapt(self, support, *, rng=None):
        assert support.features.shape == (len(support.labels), 3, 768)
        assert (support.features[:, :1] == support.features).all()
        return lambda queries: queries.new_zeros(len(queries), support.way) + queries[:, 2, :1]
'''

PLUG_IN = '''
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstImage:
    """Each class is its first support image."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    scale: float = 1.0

    def adapt(self, support, *, rng=None):
        first = torch.stack([support.features[support.labels == c][0] for c in range(support.way)])
        return lambda queries: -self.scale * torch.cdist(queries, first)
'''

CURIOUS = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Curious:
    """Checks what it is given, then compares mean colours."""

    needs: ClassVar = frozenset({"images", "maps", "features", "class_names"})
    takes: ClassVar = "images"

    def adapt(self, support, *, rng=None):
        n = len(support.labels)
        assert support.images.shape == (n, 3, 84, 84)
        assert support.maps.shape[0] == n and support.maps.ndim == 4
        assert support.features.shape[0] == n
        assert len(support.class_names) == support.way and support.class_names[0].startswith("class ")
        colours = support.images.mean(dim=(2, 3))
        means = colours.new_zeros(support.way, 3).index_add_(0, support.labels, colours)
        means /= support.labels.bincount()[:, None]
        return lambda images: -(images.mean(dim=(2, 3))[:, None] - means).square().sum(dim=2)
'''
