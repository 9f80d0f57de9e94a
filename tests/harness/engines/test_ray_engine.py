"""On a real Ray cluster of several nodes on this machine."""

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from engine_work import complain, die_once, hashes, pieces, some_blocks, total, visible_gpus

from harness.engines.choice import EngineChoice
from harness.engines.local import LocalEngine
from harness.errors import HarnessError

REPO = Path(__file__).parents[3]
pytestmark = pytest.mark.faults
ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")

SLOW = '''
import time
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The first class, always, after a while."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    version: ClassVar = "1"

    def adapt(self, support, *, rng=None):
        time.sleep(0.05)
        return lambda queries: queries[:, :1] * 0 + (support.labels.new_tensor(range(support.way)) == 0).float()
'''


@pytest.fixture(scope="module")
def cluster():
    """A head of two processors and a logical GPU, and two further nodes of one processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{REPO}:{REPO / 'tests/support'}")  # what is installed on its machines
        patch.setenv("RAY_agent_register_timeout_ms", "120000")  # a busy machine starts Ray's helpers slowly
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
        made.others = [made.add_node(num_cpus=1) for _ in range(2)]
        yield made
        made.shutdown()


@pytest.fixture
def choice(cluster):
    return EngineChoice("ray", cluster.address)


def rows(out, columns="domain, task, adapter, accuracy"):
    with closing(sqlite3.connect(out / "results.sqlite")) as database:
        return sorted(database.execute(f"SELECT {columns} FROM rows"))


def test_every_unit_comes_back_once_from_several_nodes(tmp_path, choice):
    with choice.start("cpu", None) as engine:
        assert engine.at_a_time == 4
        done = list(engine.run(total, pieces(tmp_path, 12)))
    assert sorted(unit.number for unit, _ in done) == list(range(12))
    assert {features for _, (_, features, *_) in done} == {12.0, 24.0}
    assert all(unit.data.features is None for unit, _ in done)


def test_logits_are_equal_to_the_bit_here_and_on_ray(choice):
    order = some_blocks()
    with LocalEngine("cpu", 1) as engine:
        here = hashes(engine, order)
    with choice.start("cpu", 2) as engine:
        assert hashes(engine, order[::-1]) == here


def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path, choice):
    with choice.start("cpu", None) as engine:
        done = [unit.number for unit, _ in engine.run(die_once, pieces(tmp_path, 8))]
    assert (tmp_path / "died").exists()
    assert sorted(done) == list(range(8))


def test_an_error_in_a_task_comes_with_its_words_alone(tmp_path, choice):
    with choice.start("cpu", None) as engine, pytest.raises(HarnessError) as raised:
        list(engine.run(complain, pieces(tmp_path, 4)))
    assert re.fullmatch(r"piece \d is not to my liking", str(raised.value))


def test_tasks_share_a_gpu_as_far_as_they_are_told(tmp_path, cluster):
    with EngineChoice("ray", cluster.address, 0.5).start("cuda", None) as engine:
        assert engine.at_a_time == 2
        assert {gpu for _, gpu in engine.run(visible_gpus, pieces(tmp_path, 4))} == {"0"}


def test_every_node_is_asked_what_it_sees(choice, tmp_path):
    with choice.start("cpu", None) as engine:
        assert [found for _, found in engine.elsewhere(str, tmp_path)] == [str(tmp_path)] * 3


def test_a_run_on_ray_is_the_run_on_one_machine_and_is_repeated_there(run_tiny, metabench, workspace, choice):
    options = ("--adapters", "ncc,url", "--tasks", 25, "--backbone", "resnet18-pocket-random")
    assert run_tiny(*options).status == 0
    alone, board = rows(workspace / "runs"), (workspace / "runs/leaderboard.csv").read_bytes()
    stored = sorted(path.name for path in (workspace / "cache/embeddings").rglob("*.block"))
    vectors = [path.read_bytes() for path in sorted((workspace / "cache/embeddings").rglob("*.block"))]
    for folder in ("runs", "cache"):
        shutil.rmtree(workspace / folder)
    done = run_tiny(*options, "--engine", "ray", "--address", choice.address)
    assert done.status == 0, done.err
    assert done.err == ""
    assert rows(workspace / "runs") == alone
    assert (workspace / "runs/leaderboard.csv").read_bytes() == board
    assert sorted(path.name for path in (workspace / "cache/embeddings").rglob("*.block")) == stored
    assert [path.read_bytes() for path in sorted((workspace / "cache/embeddings").rglob("*.block"))] == vectors
    again = metabench("rerun", max((workspace / "runs/manifests").iterdir()), "--engine", "local")
    assert "100 rows: 100 equal\n" in again.out, again.err


def test_a_node_killed_in_the_middle_of_a_run_loses_no_row_and_doubles_none(run_tiny, workspace, environment, cluster):
    (workspace / "slow.py").write_text(SLOW)
    options = ("--adapters", "slow.py,ncc", "--tasks", 200)
    assert run_tiny(*options, "--out", "alone", "--workers", 2).status == 0
    command = ["run", "tiny.toml", "--records", "records", "--engine", "ray", "--address", cluster.address, *options]
    running = subprocess.Popen(
        [sys.executable, "-m", "metabench", *map(str, command)],
        cwd=workspace,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if (workspace / "runs/results.sqlite").exists() and len(_stored(workspace)) > 0:
            break
        time.sleep(0.05)
    before = len(_stored(workspace))
    for node in cluster.others:
        cluster.remove_node(node, allow_graceful=False)
    assert running.wait(timeout=240) == 0, running.stderr.read()
    assert 0 < before < 800
    assert rows(workspace / "runs") == rows(workspace / "alone")
    assert len(rows(workspace / "runs")) == 2 * 2 * 200
    board = "leaderboard.csv"
    assert (workspace / "runs" / board).read_bytes() == (workspace / "alone" / board).read_bytes()


def _stored(workspace):
    try:
        return rows(workspace / "runs", "key")
    except sqlite3.OperationalError:  # its tables are being made
        return []
