import sys

import pytest
import torch

from harness import devices
from harness.engines.choice import EngineChoice, checked_engine
from harness.errors import HarnessError
from harness.reach import Wanted, check_machines, lacking, shared_everywhere


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("rya",), "no --engine 'rya'. Did you mean 'ray'"),
        (("local", "auto"), "only Ray has an address"),
        (("local", None, 0.5, "cuda"), "add --engine ray"),
        (("ray", None, 0.5, "cpu"), "--device cuda"),
        (("ray", None, 2.0, "cuda"), "above 0 and at most 1"),
        (("ray", None, None, "cuda:1"), "Ray hands out devices itself"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(options, words):
    with pytest.raises(HarnessError) as raised:
        checked_engine(*options)
    assert words in str(raised.value)


def test_an_address_is_auto_unless_it_is_given():
    assert checked_engine("ray") == EngineChoice("ray", "auto", 1.0)
    assert checked_engine("ray", "local", None, "cuda") == EngineChoice("ray", "local", 1.0)


def test_without_ray_one_line_says_how_to_install_it(run_tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_tiny("--engine", "ray", "--address", "local")
    assert "pip install -c constraints.txt -e '.[ray]'" in done.error


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1:1", "no Ray cluster there"), ("nowhere", "an address is auto, local or HOST:PORT")],
)
def test_an_address_where_no_cluster_is_is_refused_at_once(run_tiny, address, words):
    pytest.importorskip("ray")
    assert words in run_tiny("--engine", "ray", "--address", address).error


def test_an_engine_is_not_started_when_all_is_done(run_tiny, monkeypatch):
    assert run_tiny().status == 0
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_tiny("--engine", "ray").status == 0


# --- devices ----------------------------------------------------------------------------------------------------------


def test_a_worker_has_a_gpu_of_its_own_as_far_as_there_are_any(monkeypatch):
    monkeypatch.setattr(devices, "_gpus", lambda: 2)
    assert devices.default_workers("cuda") == 2
    assert devices.worker_devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices.worker_devices("cuda:1", 2) == ["cuda:1", "cuda:1"]
    assert devices.worker_devices("cuda", 1) == ["cuda"]
    assert devices.default_workers("cuda:1") == devices.default_workers("mps") == 1


MPS = torch.backends.mps.is_available()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cdua", "Did you mean 'cuda'"),
        ("cuda:x", "cuda:0, cuda:1"),
        ("cuda:99", "not usable here"),
        pytest.param("mps", "not usable here", marks=pytest.mark.skipif(MPS, reason="this machine has one")),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_words(device, words):
    with pytest.raises(HarnessError) as raised:
        devices.checked_device(device)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 160


# --- machines ---------------------------------------------------------------------------------------------------------


class TwoMachines:
    """An engine of which one machine sees all files, and the other none."""

    def elsewhere(self, look, *arguments):
        return [("10.0.0.1", look(*arguments)), ("10.0.0.2", False)]


def test_a_folder_is_shared_only_if_every_machine_sees_what_is_written_there(tmp_path):
    engine = TwoMachines()
    assert not shared_everywhere(engine, tmp_path)
    engine.elsewhere = lambda look, *arguments: [("10.0.0.1", look(*arguments))]
    assert shared_everywhere(engine, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_machine_says_what_it_lacks(tmp_path):
    assert lacking(Wanted({}, [], [], None)) == ""
    assert "has torch" in lacking(Wanted({"torch": "0.1"}, [], [], None))
    assert "does not see" in lacking(Wanted({}, [tmp_path / "net.safetensors"], [], None))
    assert "does not see the records" in lacking(Wanted({}, [], [(tmp_path / "md", None, "test", "")], None))


def test_a_machine_that_lacks_something_is_named_in_one_line():
    class Engine:
        def elsewhere(self, look, *arguments):
            return [("10.0.0.1", ""), ("10.0.0.2", "does not see /md")]

    import harness.reach as reach

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach, "_wanted", lambda current, cells: None)
        with pytest.raises(HarnessError, match=r"machine 10\.0\.0\.2: does not see /md; see docs/cluster\.md"):
            check_machines(Engine(), None, [])
