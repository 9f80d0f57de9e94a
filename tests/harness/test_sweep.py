"""A grid of hyper-parameters, and its winner as a file."""

import json
import shutil
from pathlib import Path

import pytest

import adapters
import backbones
from harness.commands.sweep import configurations
from harness.errors import HarnessError

SHIPPED = Path(backbones.__file__).parent / "shipped" / "resnet18-pocket"


@pytest.fixture
def sweep(metabench, workspace):
    """Sweep on the tiny benchmark, which has test classes alone: its spec is given valid ones."""
    records = workspace / "records"
    whole = records.resolve()
    records.unlink()
    shutil.copytree(whole, records)
    for path in records.glob("*/dataset_spec.json"):
        spec = json.loads(path.read_text())
        path.write_text(json.dumps({**spec, "classes_per_split": {"TRAIN": 0, "VALID": 7, "TEST": 0}}))

    def command(*arguments):
        options = ("--benchmark", "tiny.toml", "--records", "records", "--workers", 1, "--tasks", 4)
        return metabench("sweep", *arguments, *options)

    return command


def test_the_grid_is_every_combination_in_order():
    assert configurations("url", ["lr=0.1, 1", "steps=2,3"]) == [
        "url(lr=0.1,steps=2)",
        "url(lr=0.1,steps=3)",
        "url(lr=1,steps=2)",
        "url(lr=1,steps=3)",
    ]
    assert configurations("url(steps=5)", ["lr=1,1"]) == ["url(steps=5,lr=1)"]


@pytest.mark.parametrize(
    ("adapter", "grid", "words"),
    [
        ("url", ["lr"], "--grid lr: write NAME=VALUE"),
        ("url", ["lr="], "write NAME=VALUE"),
        ("url", ["lr=1", "lr=2"], "lr is given twice"),
        ("url(lr=1)", ["lr=1"], "lr is given twice"),
        ("ncc,url", ["lr=1"], "a sweep is over one method"),
    ],
)
def test_a_grid_that_cannot_be_read_is_named(adapter, grid, words):
    with pytest.raises(HarnessError, match=words.replace("(", r"\(")):
        configurations(adapter, grid)


def test_the_winner_has_the_best_mean_and_becomes_a_file_that_run_takes(sweep, metabench, workspace):
    done = sweep("url", "--grid", "steps=1,3", "--grid", "lr=0.1,1", "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    means = {line["method"]: line["mean_pct"] for line in found["configurations"]}
    assert len(means) == 4
    assert means[found["winner"]] == max(means.values())
    assert found["split"] == "valid"
    assert all((line["diff_pct"] or 0) <= 0 for line in found["configurations"])
    done = metabench("run", "--config", found["config"], "--split", "valid", "--tasks", 4)
    assert done.status == 0, done.err
    assert "all done already" in done.out  # the rows of the sweep are rows as others
    table = sweep("url", "--grid", "steps=1,3", "--grid", "lr=0.1,1").out
    assert "less the best" in table
    assert "best" in table


def test_the_winners_file_means_the_same_in_every_folder(sweep, workspace, metabench, monkeypatch, tmp_path):
    shutil.copy(Path(adapters.__file__).with_name("ncc.py"), workspace / "mine.py")
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), workspace / f"net{suffix}")
    done = sweep("mine.py", "--grid", "scale=5,10", "--backbone", "net.safetensors", "--json")
    assert done.status == 0, done.err
    config = workspace / json.loads(done.out)["config"]
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    done = metabench("run", "--config", config, "--split", "valid", "--tasks", 4, "--out", workspace / "runs")
    assert done.status == 0, done.err
    assert "all done already" in done.out


def test_of_equal_configurations_the_first_wins(sweep):
    found = json.loads(sweep("url", "--grid", "lr=1,1.0", "--json").out)
    assert found["winner"] == "url(lr=1)"


def test_the_test_split_is_refused(sweep):
    assert (
        "--split test: what is chosen by looking at the test classes"
        in sweep("url", "--grid", "lr=1", "--split", "test").error
    )
    assert "no hyper-parameter 'rate'" in sweep("url", "--grid", "rate=1").error


def test_another_grid_leaves_the_winner_of_the_first_alone(sweep, workspace):
    for grid in ("lr=0.1,1", "lr=0.1,1", "lr=0.2,1"):
        assert sweep("url(steps=1)", "--grid", grid).status == 0
    assert len(list((workspace / "runs/sweeps").iterdir())) == 2
