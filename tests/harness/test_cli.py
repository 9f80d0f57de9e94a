import re
import resource
import shutil
import subprocess
import sys

import pytest

from harness.cli.options import benchmark_names


def test_help_names_every_command_and_imports_nothing_heavy():
    code = (
        "import sys, metabench\n"
        "sys.argv = ['metabench', '--help']\n"
        "try: metabench.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("run", "plan", "ls", "leaderboard", "pretrain", "weights"):
        assert command in done.stdout


def test_ls_lists_benchmarks_adapters_and_backbones(metabench):
    out = metabench("ls").out
    for name in (
        "pocket",
        "meta-dataset-mdl",
        "meta-dataset-sdl",
        "copa, copa-tsa, finetune",
        "raw-pixels",
        "resnet18-pocket",
    ):
        assert name in out


def test_plan_shows_and_saves_the_episodes(metabench, workspace):
    done = metabench("plan", "tiny.toml", "--records", "records", "--tasks", 4)
    assert done.status == 0, done.err
    assert "reds" in done.out
    assert len(list((workspace / "runs/plans").glob("*.npz"))) == 1
    assert not (workspace / "runs/results.sqlite").exists()


def test_the_leaderboard_can_be_printed_again(run_tiny, metabench, workspace):
    run_tiny()
    written = (workspace / "runs/leaderboard.csv").read_bytes()
    (workspace / "runs/leaderboard.csv").unlink()
    done = metabench("leaderboard")
    assert done.status == 0
    assert "blues" in done.out
    assert (workspace / "runs/leaderboard.csv").read_bytes() == written


def test_every_plan_keeps_a_leaderboard_of_its_own(run_tiny, metabench):
    run_tiny()
    run_tiny("--tasks", 3)
    plans = metabench("leaderboard", "--plans").out.splitlines()
    assert [line.split(",")[1].split()[0] for line in plans] == ["3", "6"]
    older = plans[1].split()[0]
    assert older in metabench("leaderboard", "--plan", older).out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "pokcet"], "no benchmark 'pokcet'. Did you mean 'pocket'? Known: fixed-5w1s"),
        (["run", "nothing.toml"], "nothing.toml: no such benchmark file"),
        (["run", "pocket", "--datasets", "mnits"], "'mnits'. Did you mean 'mnist'?"),
        (["run", "pocket", "--adapters", "ulr"], "no adapter 'ulr'. Did you mean 'url'? Known: copa, copa-tsa, "),
        (["run", "pocket", "--adapters", "url(rate=1)"], "no hyper-parameter 'rate'"),
        (["run", "pocket", "--adapters", "url(lr=fast)"], "lr must be"),
        (["run", "pocket", "--backbone", "resnt18"], "no backbone 'resnt18'. Did you mean 'resnet18'?"),
        (["run", "pocket", "--backbone", "no.safetensors"], "no.safetensors"),
        (["run", "pocket", "--backbone", "resnet18"], "needs its weights"),
        (["run", "pocket", "--split", "tset"], "no split 'tset'. Did you mean 'test'?"),
        (["run", "pocket", "--dtype", "float23"], "no --dtype 'float23'. Did you mean 'float32'?"),
        (["run", "pocket", "--device", "gpu"], "no --device 'gpu'. Did you mean 'cpu'? Known: cpu, cuda, mps"),
        (["run", "pocket", "--device", "cuda:99"], "--device cuda:99: not usable here"),
        (["run", "pocket", "--adapters", ",,"], "--adapters names no adapter"),
        (["run", "pocket", "--adapters", "a/my.py b/my.py"], "would both be called 'my'"),
        (["pretrain", "--out", "x.safetensors", "--lr", "nan"], "--lr nan"),
        (["pretrain", "--out", "x.safetensors", "--domains", "mnist"], "no pocket domain to train on: 'mnist'"),
        (["run", "meta-dataset-mdl"], "needs its records: give --records /path (make: RECORDS=/path)"),
        (["run", "meta-dataset-mdl", "--backbone", "raw-pixels", "--records", "nowhere"], "nowhere: no such folder"),
        (["run", "meta-dataset-mdl", "--backbone", "raw-pixels", "--records", "records"], "no folder for ilsvrc_2012"),
        (["run", "meta-dataset-mdl", "--records", "records"], "give --backbone NAME"),
        (
            ["run", "tiny.toml", "--split", "train", "--records", "records"],
            "reds, blues: no classes in the train split",
        ),
        (["leaderboard", "--out", "nowhere"], "nowhere"),
        (["weights", "import", "no.pth", "--out", "x.safetensors"], "no.pth"),
        (["weights", "import", "tiny.toml", "--out", "x.safetensors", "--arch", "resnet81"], "resnet81"),
        (["weights", "import", "tiny.toml", "--out", "x.safetensors", "--widths", "a,b"], "--widths a,b"),
    ],
)
def test_a_wrong_word_is_one_line_that_teaches(metabench, arguments, words):
    assert words in metabench(*arguments).error


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tasks = 0", "tasks"),
        ("protocol = 3", "protocol must be a table"),
        ("taks = 5", "taks"),
        ("protocol = { num_shots = 5 }", "no key in [protocol]: 'num_shots'"),
        ("protocol = { num_ways = 'five' }", "num_ways"),
        ("split = 'tset'", "split"),
        ("this is not toml", "tiny.toml"),
    ],
)
def test_a_wrong_benchmark_file_names_the_key(metabench, workspace, line, words):
    text = (workspace / "tiny.toml").read_text()
    (workspace / "tiny.toml").write_text(f"{line}\n{text.replace('tasks = 6', '') if 'tasks' in line else text}")
    error = metabench("run", "tiny.toml", "--records", "records").error
    assert "tiny.toml" in error
    assert words in error


def _spoil(path, change):
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data)))


def _flip(data):
    data[300] ^= 1
    return data


def _one_more(data):
    return data.replace(b'"0": 12', b'"0": 13')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: _spoil(folder / "2.tfrecords", _flip), "2.tfrecords: byte"),
        (lambda folder: _spoil(folder / "2.tfrecords", lambda data: data[:-9]), "truncated"),
        (lambda folder: (folder / "2.tfrecords").unlink(), "2.tfrecords: missing"),
        (lambda folder: (folder / "dataset_spec.json").unlink(), "dataset_spec.json: missing"),
        (lambda folder: _spoil(folder / "dataset_spec.json", lambda data: data[:50]), "dataset_spec.json"),
        (
            lambda folder: _spoil(folder / "dataset_spec.json", lambda d: d.replace(b'"0": 12', b'"0": 13')),
            "0.tfrecords",
        ),
    ],
    ids=["flipped bit", "truncated", "file missing", "spec missing", "spec cut", "spec disagrees"],
)
def test_damaged_records_are_named_and_lose_nothing(run_tiny, workspace, tiny_records, change, words):
    run_tiny("--datasets", "blues")
    (workspace / "records").unlink()
    shutil.copytree(tiny_records, workspace / "records")
    change(workspace / "records/reds")
    assert words in run_tiny().error
    again = run_tiny("--datasets", "blues")
    assert again.status == 0
    assert "all done already" in again.out


def test_a_flag_shows_developers_the_cause(new_process):
    done = new_process("run", "pokcet", "--traceback")
    assert "Traceback" in done.err
    assert "HarnessError" in done.err


def test_wrong_usage_has_a_status_of_its_own(metabench):
    assert metabench("run", "--task", "3").status == 2


@pytest.mark.parametrize("room", ["adapters", "harness", "results"])
def test_a_foreign_package_that_shadows_a_room_is_named(new_process, workspace, environment, room):
    foreign = workspace / "foreign" / room
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("raise SystemExit('imported the stranger')\n")
    done = new_process("ls", PYTHONPATH=f"{workspace / 'foreign'}:{environment['PYTHONPATH']}")
    assert str(foreign) in done.error
    assert f"pip uninstall {room}" in done.error


def test_an_adapter_with_bad_answers_is_named(run_tiny, workspace):
    for body, words in [
        ("queries[:, :1]", "logits of shape"),
        ("queries[:, :{way}] * float('nan')", "NaN or infinity"),
    ]:
        (workspace / "bad.py").write_text(BAD.replace("BODY", body.replace("{way}", "support.way")))
        error = run_tiny("--adapters", "bad.py", "--datasets", "reds").error
        assert "episode 0" in error
        assert words in error


def test_a_full_disk_is_one_line_and_keeps_what_is_stored(run_tiny, workspace, environment):
    run_tiny()

    limit = (workspace / "runs/results.sqlite").stat().st_size + 20_000
    done = subprocess.run(
        [sys.executable, "-m", "metabench", "run", "tiny.toml", "--records", "records", "--tasks", "400"],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    again = run_tiny()
    assert "all done already" in again.out


BAD = '''
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Bad:
    """Answers wrongly."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"

    def adapt(self, support, *, rng=None):
        return lambda queries: BODY
'''


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "TypeError: adapt must return a function of queries, not NoneType"),
        ("lambda queries: queries.numpy()", "must give a torch tensor of logits, not ndarray"),
    ],
)
def test_an_adapter_that_gives_no_tensors_is_told_so(run_tiny, workspace, returned, words):
    (workspace / "bad.py").write_text(BAD.replace("lambda queries: BODY", returned))
    assert words in run_tiny("--adapters", "bad.py").error


def test_ctrl_c_ends_any_command_with_a_line(metabench, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.commands.ls.show_known", interrupted)
    done = metabench("ls")
    assert (done.status, done.err) == (130, "stopped; what was finished is stored\n")


def test_a_cache_that_cannot_be_written_is_one_line_with_a_remedy(run_tiny, monkeypatch, workspace):
    (workspace / "file").touch()
    monkeypatch.setenv("METABENCH_CACHE", str(workspace / "file"))
    assert "METABENCH_CACHE" in run_tiny().error


def test_a_shell_completes_the_names_of_benchmarks():
    assert benchmark_names("pocket-5") == ["pocket-5w1s", "pocket-5w5s"]


def test_the_version_is_told(metabench):
    assert re.fullmatch(r"metabench \d+\.\d+\.\d+\n", metabench("--version").out)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--adapters", "tsaa", "no adapter 'tsaa'. Did you mean 'tsa'?"),
        ("--hyper", "fixd", "Did you mean 'fixed'?"),
        ("--engine", "rey", "Did you mean 'ray'?"),
        ("--shard", "9/2", "--shard 9/2: write I/N"),
        ("--pixels", "deocde", "Did you mean 'decode'?"),
        ("--store-dtype", "float61", "Did you mean 'float16'?"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse(metabench, option, value, words):
    assert words in metabench("run", "pocket", "--dry-run", option, value).error


def test_options_of_ray_without_ray_are_wrong_usage(metabench):
    done = metabench("run", "pocket", "--address", "auto")
    assert done.status == 2
    assert done.err.strip() == "error: --address is about Ray; add --engine ray or leave it out"
