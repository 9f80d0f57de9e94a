"""A method of another distribution, installed with pip as its users would, is one of ours from then on."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.check_adapter import check

TINY = Path(__file__).parents[1] / "adapters" / "plugins" / "tiny_distribution"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder where the tiny distribution is installed; nothing is fetched for it."""
    source, target = tmp_path_factory.mktemp("source") / "tiny", tmp_path_factory.mktemp("site")
    shutil.copytree(TINY, source)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.faults  # slow
def test_it_is_listed_and_runs_beside_our_methods(installed, new_process, environment, workspace):
    path = f"{environment['PYTHONPATH']}:{installed}"
    assert "nearest-image" not in new_process("ls").out
    assert "nearest-image, " in new_process("ls", PYTHONPATH=path).out
    options = ("tiny.toml", "--records", "records", "--adapters", "ncc,nearest-image", "--workers", 2)
    done = new_process("run", *options, PYTHONPATH=path)
    assert done.status == 0, done.err
    with sqlite3.connect(workspace / "runs/results.sqlite") as database:
        columns = "domain, adapter_version, hyperparameters, accuracy"
        rows = list(database.execute(f"SELECT {columns} FROM rows WHERE adapter = 'nearest-image'"))
    assert len(rows) == 12
    found = {(domain, version, json.loads(text)["scale"]) for domain, version, text, _ in rows}
    assert found == {("reds", "1", 10.0), ("blues", "1", 5.0)}
    assert min(row[3] for row in rows) > 0.5  # the tiny classes differ by their colour


def test_it_keeps_the_contract(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    results = check("nearest-image(scale=3)")
    monkeypatch.delitem(sys.modules, "tiny_adapters")
    assert [result for result in results if result.outcome == "failed"] == []
