"""Every command of README and the guide is executed, on fewer episodes, or says here what it needs."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.test_pages import PAGES, REPO, shown

pytestmark = pytest.mark.faults

TASKS = "2"
DOMAINS = "icons,mnist,digits"
NEEDS = {
    r"model_best\.pth\.tar": "a published checkpoint",
    r"url\.safetensors|imagenet\.safetensors": "the records of Meta-Dataset, and a published checkpoint",
    r"/path|RECORDS|/data/": "the records of Meta-Dataset",
    r"~/tensorflow_datasets": "a data set that TensorFlow Datasets has prepared",
    r"hf:": "the hub, or a model in a folder",
    r"path/to/mynet\.py|--features feats": "a network, or features, of the user's own",
    r"--device": "a GPU",
    r"--engine ray": "a cluster",
    r"tsa\(": "minutes, on processors without bfloat16 more",
    r"--install-completion": "a shell to be changed",
    r"older-than|^cache gc$": "a cache of the user's own, to be cleaned",
}
PAGES_WITH_COMMANDS = sorted({page for page, _ in shown()})


def needs(line):
    return next((reason for pattern, reason in NEEDS.items() if re.search(pattern, line)), None)


def on_fewer_episodes(line):
    """The same command on TASKS episodes of DOMAINS; names that differ from run to run are looked up."""
    line = re.sub(r"--tasks \d+", f"--tasks {TASKS}", line)
    smaller = {"--tasks": TASKS, "--datasets": DOMAINS}
    if re.match(r"(run|analyse gap|sweep)\b(?!.*(--help|--config|--episodes))", line):
        line, _, _ = line.partition(" #")
        line += "".join(f" {option} {value}" for option, value in smaller.items() if option not in line)
    for pattern in (r"(runs/manifests/)[\w-]+(\.json)", r"(runs/sweeps/url-)\w+(\.toml)"):
        line = re.sub(pattern, r"$(ls \1*\2 | head -1)", line)
    return line.replace("551c100e", "$(ls runs/plans | head -1 | cut -c1-8)")


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """shell(command line, folder): bash, with this checkout as `metabench`; `base` holds a finished run to copy."""
    root = tmp_path_factory.mktemp("guide")
    program = root / "bin/metabench"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m metabench "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPO),
        "METABENCH_CACHE": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
    }

    def run(line, folder):
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    base = root / "base"
    base.mkdir()
    done = run(f"metabench run pocket --adapters ncc,url,copa,ridge --tasks {TASKS} --datasets {DOMAINS}", base)
    assert done.returncode == 0, done.stderr
    run.base = base
    return run


@pytest.fixture
def folder(shell, tmp_path):
    """What a reader has: a finished run, a folder of images, an adapter and a configuration file."""
    shutil.copytree(shell.base, tmp_path, dirs_exist_ok=True)
    shutil.copy(REPO / "tests/adapters/plugins/centred_centroid.py", tmp_path)
    (tmp_path / "my.toml").write_text('benchmark = "pocket"\ndatasets = "mnist"\nadapters = "ncc"\n')
    pixels = np.random.default_rng(0)
    for number in range(6):
        (tmp_path / f"photos/class {number}").mkdir(parents=True)
        for image in range(20):
            noise = pixels.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / f"photos/class {number}/{image}.png")
    return tmp_path


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_the_commands_of_a_page_work_one_after_the_other(page, shell, folder):
    for line in [on_fewer_episodes(line) for name, line in shown() if name == page and needs(line) is None]:
        done = shell(f"metabench {line}", folder)
        assert done.returncode == 0, f"metabench {line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_every_need_is_that_of_some_command():
    lines = [line for _, line in shown()]
    assert [pattern for pattern in NEEDS if not any(re.search(pattern, line) for line in lines)] == []


def test_pages_without_commands_are_few():
    assert {page.name for page in PAGES} - set(PAGES_WITH_COMMANDS) <= {"index.md", "reproduce.md"}
