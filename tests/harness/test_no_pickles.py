"""No pickled file is ever read at run time: an audit hook watches a whole run, with image adapters and the cache.

What Numba keeps of kernels that it has compiled is code of this installation, beside .pyc files, and is not
looked at here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
WATCHED = """
import sys
seen = []
def frames():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back
def by_numba(frame):
    return frame.f_globals.get("__name__", "").startswith("numba.core.")
def watch(event, arguments):
    if event == "pickle.find_class" and not any(map(by_numba, frames())):
        seen.append(f"unpickled {arguments[0]}.{arguments[1]}")
    if event == "open" and str(arguments[0]).endswith((".pkl", ".pickle", ".pt", ".pth", ".tar", ".ckpt", ".joblib")):
        seen.append(f"opened {arguments[0]}")
sys.addaudithook(watch)
if sys.argv[1:] == ["proof"]:
    import decimal, pickle
    pickle.loads(pickle.dumps(decimal.Decimal(1)))
else:
    from metabench import main
    try:
        main()
    except SystemExit as leaving:
        assert not leaving.code, leaving.code
print("SEEN", seen)
"""


def watched(workspace, environment, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, arguments)],
        cwd=workspace,
        env={**environment, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("SEEN ")[2].strip()


def test_the_hook_sees_a_pickle(workspace, environment):
    assert "unpickled" in watched(workspace, environment, "proof")


@pytest.mark.faults
def test_a_run_its_continuation_and_its_leaderboard_unpickle_nothing(workspace, environment):
    run = ["run", "tiny.toml", "--records", "records", "--workers", 1, "--tasks", 2, "--backbone"]
    several = ["ncc,url,logistic,finetune(steps=1)", "resnet18-pocket"]
    assert watched(workspace, environment, *run, several[1], "--adapters", several[0]) == "[]"
    assert watched(workspace, environment, *run, several[1], "--adapters", "ncc,ridge") == "[]"
    assert watched(workspace, environment, "leaderboard") == "[]"
