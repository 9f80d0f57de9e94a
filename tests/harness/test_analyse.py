"""`metabench analyse gap`: the run's own episodes and predictors, and what is written of them."""

import csv
import json

import pytest

from results.store import ResultStore

FILES = {"gap", "direction", "gap_and_loss", "best_shift", "episodes", "spectra"}
FIGURES = {"embedding", "gap", "gap-and-loss", "singular-values", "explained-variance"}


@pytest.fixture
def analyse(metabench):
    """Analyse the tiny benchmark with further options."""

    def command(*arguments):
        return metabench("analyse", "gap", "--benchmark", "tiny.toml", "--records", "records", *arguments)

    return command


@pytest.fixture
def read(workspace):
    """The lines of a table as written."""

    def lines(name, out="runs"):
        with (workspace / out / f"analysis/{name}.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return lines


@pytest.mark.faults  # slow
def test_it_prints_the_claim_and_writes_every_table_and_figure(analyse, workspace):
    done = analyse("--tasks", 3, "--workers", 1)
    assert done.status == 0, done.err
    for words in ("frozen", "gap(url) < gap(frozen) < gap(copa)", "reds", "blues", "moved apart"):
        assert words in done.out
    written = {path.name for path in (workspace / "runs/analysis").iterdir()}
    figures = {f"{name}.{ending}" for name in FIGURES for ending in ("png", "svg")}
    assert written == {f"{name}.csv" for name in FILES} | {"gap.json"} | figures


def test_accuracies_are_those_of_a_run_on_the_same_episodes(analyse, run_ok, read, workspace):
    run_ok("--adapters", "ncc,url,copa", "--tasks", 3)
    assert analyse("--tasks", 3, "--workers", 1, "--no-figures").status == 0
    with ResultStore(workspace / "runs/results.sqlite") as store:
        (plan,) = store.plans()["plan_hash"]
        rows = store.rows(plan)
    stored = {
        ("frozen" if row["adapter"] == "ncc" else row["adapter"], row["domain"], str(row["task"])): row["accuracy"]
        for row in rows.to_dict("records")
    }
    found = {(line["method"], line["domain"], line["task"]): float(line["accuracy"]) for line in read("episodes")}
    assert len(stored) == 18
    assert found == pytest.approx(stored, rel=1e-5)
    document = json.loads((workspace / "runs/analysis/gap.json").read_text())
    assert document["plan"] == plan
    assert document["backbone"] == "raw-pixels"


@pytest.mark.faults
def test_the_number_of_workers_changes_no_byte(analyse, workspace):
    few = "--datasets", "reds", "--tasks", 21, "--adapters", "url", "--no-figures"
    for out, workers in (("one", 1), ("two", 2)):
        done = analyse(*few, "--workers", workers, "--out", out)
        assert done.status == 0, done.err
    for name in FILES:
        assert (workspace / f"one/analysis/{name}.csv").read_bytes() == (
            workspace / f"two/analysis/{name}.csv"
        ).read_bytes()


def test_ncc_is_the_frozen_state_and_measured_once_asked_for_or_not(analyse, read):
    options = "--datasets", "reds", "--tasks", 2, "--no-figures", "--workers", 1
    assert analyse("--adapters", "mokd", *options).status == 0
    without = read("episodes")
    assert analyse("--adapters", "mokd,ncc", *options).status == 0
    assert read("episodes") == without
    assert {line["method"] for line in without} == {"frozen", "mokd"}
    assert len(without) == 2 * 2


def test_two_names_of_one_configuration_are_both_in_the_tables(analyse, read):
    both = "url(lr=1.0),url(lr=1.0,steps=40)"
    assert analyse("--datasets", "reds", "--tasks", 2, "--adapters", both, "--no-figures", "--workers", 1).status == 0
    names = [line["method"] for line in read("episodes")]
    assert names == ["frozen", "frozen", *["url(lr=1.0)"] * 2, *["url(lr=1.0, steps=40)"] * 2]


def test_an_adapter_that_shows_no_representation_is_one_line(analyse):
    done = analyse("--tasks", 1, "--adapters", "ridge", "--workers", 1)
    assert "adapter 'ridge' shows no representation" in done.error
    assert "leave it out of --adapters" in done.error


def test_an_adapter_whose_representation_is_broken_is_named_with_the_episode(analyse, workspace):
    (workspace / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nimport torch\n\n"
        "class Predictor:\n"
        "    def __init__(self, way): self.prototypes = torch.zeros(way, 3)\n"
        "    def represent(self, x): return torch.full((len(x), 2), 1.0)\n"
        "    def __call__(self, x): return torch.zeros(len(x), len(self.prototypes))\n\n"
        "@dataclass(frozen=True)\nclass Broken:\n"
        "    needs: ClassVar = frozenset({'features'})\n    takes: ClassVar = 'features'\n"
        "    def adapt(self, support, *, rng=None): return Predictor(support.way)\n"
    )
    done = analyse("--tasks", 1, "--adapters", "broken.py", "--workers", 1)
    assert "broken.py" in done.error
    assert "reds, episode 0" in done.error
    assert "2 dimensions and prototypes of 3" in done.error


def test_an_adapter_cannot_be_called_frozen(analyse, workspace):
    (workspace / "frozen.py").write_text("")
    assert "rename the file" in analyse("--tasks", 1, "--adapters", "frozen.py").error


def test_a_method_over_several_backbones_is_measured_without_a_frozen_state(analyse, read):
    several = "--adapters", "sur", "--backbone", "raw-pixels+raw-pixels"
    done = analyse("--datasets", "reds", "--tasks", 2, "--no-figures", "--workers", 1, *several)
    assert done.status == 0, done.err
    assert "no one frozen embedding" in done.out
    assert [line["method"] for line in read("episodes")] == ["sur", "sur"]
    assert {line["change"] for line in read("gap")} == {""}


def test_a_method_inside_the_network_is_measured_too(analyse, read):
    inside = "--adapters", "finetune(layers=last,steps=1)", "--backbone", "resnet18-pocket"
    done = analyse("--datasets", "reds", "--tasks", 1, "--no-figures", "--workers", 1, *inside)
    assert done.status == 0, done.err
    frozen, tuned = read("episodes")
    assert float(frozen["gap"]) > 0
    assert tuned["gap"] != frozen["gap"]


def test_dumped_episodes_have_no_use_for_records(analyse):
    done = analyse("--episodes", "somewhere")
    assert done.status == 2
    assert "--records has no use" in done.err
