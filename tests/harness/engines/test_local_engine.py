import os
import random
import signal
import struct
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine_work import be_forbidden, complain, die_always, die_once, hashes, pieces, some_blocks, stumble, total

from harness.engines.contract import lost
from harness.engines.local import LocalEngine
from harness.engines.worker import Worker, WorkerLost
from harness.errors import HarnessError

REPO = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def engines():
    """One of each size, so that processes are started once."""
    with LocalEngine("cpu", 1) as alone, LocalEngine("cpu", 2) as two:
        yield {1: alone, 2: two}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_unit_comes_back_once_with_what_was_made_of_its_domains_features(tmp_path, engines, workers):
    done = list(engines[workers].run(total, iter(pieces(tmp_path, 12))))
    assert sorted(unit.number for unit, _ in done) == list(range(12))
    for unit, (number, features, domain, _) in done:
        assert (number, domain) == (unit.number, unit.data.plan.domain)
        assert features == 12 * (1 + (number >= 6))
    assert len({pid for _, (*_, pid) in done}) == workers


@pytest.mark.parametrize("workers", [1, 2])
def test_units_come_back_without_their_features(tmp_path, engines, workers):
    assert all(unit.data.features is None for unit, _ in engines[workers].run(total, pieces(tmp_path, 4)))


def test_units_are_taken_as_workers_free_up(tmp_path, engines):
    taken = []

    def source():
        for unit in pieces(tmp_path, 12):
            taken.append(unit.number)
            yield unit

    done = engines[2].run(total, source())
    next(done)
    assert len(taken) <= 4
    assert len(list(done)) == 11


def test_no_more_workers_start_than_there_are_units(tmp_path, monkeypatch):
    started = []

    class Counted(Worker):
        def __init__(self, device):
            started.append(device)
            super().__init__(device)

    monkeypatch.setattr("harness.engines.local.Worker", Counted)
    with LocalEngine("cpu", 500) as engine:
        assert list(engine.run(total, [])) == []
        assert not started
        assert len(list(engine.run(total, pieces(tmp_path, 2)))) == 2
        assert len(list(engine.run(total, pieces(tmp_path, 1, domains=1)))) == 1
    assert len(started) == 2


def test_a_worker_that_is_killed_is_replaced_and_its_unit_begun_again(tmp_path, engines):
    done = [unit.number for unit, _ in engines[2].run(die_once, pieces(tmp_path, 8))]
    assert (tmp_path / "died").exists()
    assert sorted(done) == list(range(8))


@pytest.mark.faults
def test_a_unit_that_kills_every_worker_ends_the_run_in_one_line(tmp_path):
    with LocalEngine("cpu", 2) as engine, pytest.raises(HarnessError, match="lost 3 times .*signal 9") as raised:
        list(engine.run(die_always, pieces(tmp_path, 8)))
    assert "\n" not in str(raised.value)


def test_an_error_in_a_worker_comes_with_its_words_and_its_place(tmp_path):
    with LocalEngine("cpu", 2) as engine, pytest.raises(HarnessError, match=r"^piece \d is not to my") as raised:
        list(engine.run(complain, pieces(tmp_path, 8)))
    assert "engine_work.py" in raised.value.__notes__[0]


def test_an_error_that_is_not_ours_comes_in_words(tmp_path):
    with LocalEngine("cpu", 2) as engine, pytest.raises(RuntimeError, match=r"^KeyError: \d"):
        list(engine.run(stumble, pieces(tmp_path, 8)))


def test_an_error_that_cannot_be_sent_as_it_is_comes_in_words(tmp_path):
    with LocalEngine("cpu", 2) as engine, pytest.raises(RuntimeError, match=r"^HTTPError: HTTP Error 403: forbidden"):
        list(engine.run(be_forbidden, pieces(tmp_path, 2)))


def test_a_worker_that_ends_in_the_middle_of_its_answer_is_lost():
    ours, theirs = Pipe()
    os.write(theirs.fileno(), struct.pack("!i", 1000) + b"the beginning of an answer")
    theirs.close()
    worker = Worker.__new__(Worker)
    worker.connection, worker._process = ours, SimpleNamespace(join=lambda seconds: None, exitcode=-signal.SIGKILL)
    with pytest.raises(WorkerLost, match=r"ended by signal 9 \(often out of memory\)"):
        worker.result()


def test_a_finished_unit_is_told_of_before_trouble_with_the_next_one(tmp_path, engines):
    def source():
        yield from pieces(tmp_path, 2)
        raise OSError("no space left")

    done = engines[2].run(total, source())
    first, _ = next(done)
    assert first.number in (0, 1)
    with pytest.raises(OSError, match="no space left"):
        next(done)


def test_workers_stay_for_the_next_work_and_end_with_the_engine(tmp_path):
    with LocalEngine("cpu", 2) as engine:
        pids = {pid for _, (*_, pid) in engine.run(total, pieces(tmp_path, 8))}
        again = {pid for _, (*_, pid) in engine.run(total, pieces(tmp_path, 8))}
    assert pids == again
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


# --- the same bits ----------------------------------------------------------------------------------------------------


def test_logits_are_equal_to_the_bit_on_any_number_of_workers_in_any_order(engines):
    order = some_blocks()
    alone = hashes(engines[1], order)
    assert len({digest for *_, digest in alone}) == 3 * 2 * 30
    random.Random(0).shuffle(order)
    assert hashes(engines[2], order) == alone


@pytest.mark.skipif(sys.platform != "linux", reason="worker processes are forked on Linux alone")
def test_ctrl_c_is_no_business_of_the_process_that_others_are_forked_from():
    code = (
        "import signal, time\n"
        "from harness.engines.worker import prepare_to_fork\n"
        "signal.signal(signal.SIGINT, lambda *seen: None)\n"
        "print(prepare_to_fork(), flush=True)\n"
        "time.sleep(3)\n"
    )
    started = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(started, **pipes, text=True, start_new_session=True, cwd=REPO) as process:
        assert process.stdout.readline() == "True\n"
        time.sleep(0.5)  # it imports torch now
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")


def test_an_adapter_whose_workers_are_lost_is_named():
    unit = SimpleNamespace(adapter="heavy", data=SimpleNamespace(plan=SimpleNamespace(domain="icons")))
    assert str(lost(unit, "ended")).startswith("adapter 'heavy', icons: workers were lost")
    del unit.adapter
    assert str(lost(unit, "ended")).startswith("icons: workers were lost")


def test_temporary_folders_with_long_paths_are_no_trouble(tmp_path):
    """A process that forks others has a socket there, whose path may have 107 characters."""
    (tmp_path / ("x" * 100)).mkdir()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine_work import pieces, total\n"
        "from harness.engines.local import LocalEngine\n"
        "if __name__ == '__main__':\n"
        "    with LocalEngine('cpu', 2) as engine:\n"
        "        print(len(list(engine.run(total, pieces(Path(sys.argv[1]), 4)))))\n"
    )
    (tmp_path / "door.py").write_text(code)
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / ("x" * 100)),
        "PYTHONPATH": f"{REPO}:{REPO / 'tests/support'}",
    }
    command = [sys.executable, str(tmp_path / "door.py"), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("4\n", "")
