"""Files of torch.save: what is read of them, and that nothing in them is run."""

import argparse
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.errors import BadWeights
from backbones.torch_files import read_state

STATE = {"a.weight": torch.arange(400.0), "a.count": torch.tensor(3)}


def saved(folder: Path, *, legacy: bool = False, **content: Any) -> Path:
    file = folder / "model_best.pth.tar"
    torch.save({"epoch": 3, "state_dict": STATE, **content}, file, _use_new_zipfile_serialization=not legacy)
    return file


def assert_is_state(state: dict[str, Tensor]) -> None:
    assert list(state) == list(STATE)
    assert all(torch.equal(state[key], value) for key, value in STATE.items())


def refused(file: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(BadWeights) as caught:
        read_state(file)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{file}: ")
    return text


def optimiser_state() -> dict[str, Any]:
    """Of one step of Adam and of a schedule."""
    network = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters(), amsgrad=True)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [1, 2])
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return {"optimizer": optimiser.state_dict(), "schedule": schedule.state_dict()}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        {"args": {"lr": 0.1, "data": ["ilsvrc_2012"], "resume": None}},
        {"args": argparse.Namespace(lr=0.1, out=Path("x"), nested=argparse.Namespace(a=(1, 2)))},
        {"best_val_acc": np.float64(71.5), "n": np.int64(3), "half": np.float16(1), "better": np.bool_(True)},
        {"epoch_loss": {"dtd": [np.float32(1.0), 2.0], "fungi": []}, "curve": np.arange(3.0), "acc": np.array(7)},
        optimiser_state(),
    ],
)
def test_what_training_scripts_keep_beside_weights_is_no_obstacle(legacy: bool, extra: dict, tmp_path: Path) -> None:
    assert_is_state(read_state(saved(tmp_path, legacy=legacy, **extra)))


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_numbers_pickled_by_old_and_by_new_numpy_are_read(core: str, tmp_path: Path) -> None:
    file = saved(tmp_path, legacy=True, best=np.float64(0.7), curve=np.arange(3))
    data = file.read_bytes().replace(b"cnumpy._core.multiarray\n", f"c{core}.multiarray\n".encode())
    assert data.count(f"c{core}.multiarray\n".encode()) == 2
    file.write_bytes(data)
    assert_is_state(read_state(file))


@pytest.mark.parametrize("name", ["state_dict", "model", None])
def test_state_dict_is_found_bare_or_under_its_published_names(name: str | None, tmp_path: Path) -> None:
    torch.save({"opt": argparse.Namespace(), name: STATE} if name else STATE, tmp_path / "x.pth")
    assert_is_state(read_state(tmp_path / "x.pth"))


class Harmful:
    """Pickled, it asks for a command to be run when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


class Options(argparse.Namespace):
    """A Namespace only in name: its class is somebody's code."""


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (Harmful(), "posix.system"),
        (argparse.Namespace(lr=Harmful()), "posix.system"),
        (Options(), "test_torch_files.Options"),
        (np.array([{"a": 1}], dtype=object), "numpy.dtypes.ObjectDType"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_code_in_a_checkpoint_is_refused_by_name_and_not_run(
    legacy: bool, args: Any, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = refused(saved(tmp_path, legacy=legacy, args=args))
    assert "asks to run" in text
    assert wanted in text
    assert "save its state_dict alone" in text
    assert not (tmp_path / "ran").exists()


def test_code_is_refused_even_where_the_environment_asks_torch_to_trust_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps({"state_dict": Harmful()}, protocol=2))
    assert "asks to run posix.system" in refused(tmp_path / "raw.pth")
    assert not (tmp_path / "ran").exists()


def test_newer_pickle_protocols_are_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "new.pth", pickle_protocol=4)
    assert "write it with torch.save and its default pickle_protocol" in refused(tmp_path / "new.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_program_is_refused_as_such(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "program.pt"))
    assert "TorchScript program, not weights" in refused(tmp_path / "program.pt")


def test_archive_that_was_not_unpacked_is_refused_as_such(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "url.zip", "w") as archive:
        archive.writestr("weights/url/model_best.pth.tar", b"weights")
    assert "an archive of 'weights/url/model_best.pth.tar'; unpack it" in refused(tmp_path / "url.zip")


def test_absent_file_folder_and_plain_text_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.pth")
    (tmp_path / "folder").mkdir()
    assert "directory" in refused(tmp_path / "folder")
    (tmp_path / "note.pth").write_text("weights to follow\n")
    assert "no checkpoint" in refused(tmp_path / "note.pth")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth")
    (tmp_path / "note.safetensors").write_text("weights to follow\n")
    assert "not a safetensors file" in refused(tmp_path / "note.safetensors")


def test_file_without_state_dict_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    assert "holds no state_dict but a list" in refused(tmp_path / "list.pth")
    torch.save({"epoch": 3, "net": STATE}, tmp_path / "other.pth")
    assert "holds no state_dict but 'epoch', 'net'; tensors by name are wanted" in refused(tmp_path / "other.pth")
    torch.save({1: torch.zeros(2)}, tmp_path / "numbers.pth")
    assert "holds no state_dict but '1'" in refused(tmp_path / "numbers.pth")
    torch.save({}, tmp_path / "nothing.pth")
    assert "holds no state_dict but nothing" in refused(tmp_path / "nothing.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_checkpoint_is_refused_wherever_it_ends(legacy: bool, tmp_path: Path) -> None:
    file = saved(tmp_path, legacy=legacy)
    whole = file.read_bytes()
    for end in (1, 2, 10, 100, 500, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        refused(file)


def test_flipped_bit_in_the_tensors_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    file = saved(tmp_path)
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        middle = archive.read(largest)[100:140]
    data = bytearray(file.read_bytes())
    data[data.index(middle)] ^= 4
    file.write_bytes(data)
    assert "damaged, CRC of" in refused(file)
