"""State dicts out of files that others made, never running code from them.

A file of torch.save is a pickle, which can ask for any function to be called. It is read by torch's own restricted
unpickler (`weights_only=True`), with a few more names allowed: what training scripts keep beside the weights.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbones.errors import BadWeights
from backbones.weights import check_readable, some, tensors_of

STATE_NAMES = ("state_dict", "model")  # URL, SUR; RFS, SCL
_scalar: Any = np.float64(0).__reduce__()[0]  # public numpy has no name for these two
_reconstruct: Any = np.zeros(1).__reduce__()[0]
# Values only: options with paths among them, best accuracies, loss curves. numpy renamed its module in version 2, and
# Python 3.13 pathlib's; paths become such as cannot touch files.
_ALLOWED: list[Any] = [
    argparse.Namespace,
    *((PurePosixPath, f"{module}.{name}Path")
      for module in ("pathlib", "pathlib._local") for name in ("Posix", "Windows", "PurePosix", "PureWindows")),
    *((function, f"numpy.{core}.multiarray.{function.__name__}")
      for function in (_scalar, _reconstruct) for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["Float"], "?")),
]  # fmt: skip
# What torch.load is known to raise on bytes that are not a checkpoint; it promises no common base.
_UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, ValueError, EOFError, OSError, KeyError,
    IndexError, AttributeError, TypeError, AssertionError, ImportError, OverflowError, MemoryError,
)  # fmt: skip


def read_state(file: Path) -> dict[str, Any]:
    """The state dict in `file` (.safetensors, or of torch.save in either format), bare or under one of `STATE_NAMES`.

    Raises BadWeights: the file is damaged, holds no state dict, or cannot be read without running code; then the text
    names what it asked for.
    """
    check_readable(file)
    content: dict[Any, Any] = tensors_of(file.read_bytes(), file) if file.suffix == ".safetensors" else _unpickled(file)
    held = [content[name] for name in STATE_NAMES if isinstance(content.get(name), dict)]
    state = held[0] if held else content
    if not all(isinstance(key, str) for key in state) or not any(isinstance(value, Tensor) for value in state.values()):
        found = some([str(key) for key in content]) or "nothing"
        raise BadWeights(
            f"{file}: holds no state_dict but {found}; tensors by name are wanted, bare or in 'state_dict'"
        )
    return state


def _unpickled(file: Path) -> dict[Any, Any]:
    """What torch.save wrote, a dict. Zip members are held against their CRC, which torch itself does not do."""
    try:
        if zipfile.is_zipfile(file):
            _check_archive(file)
        with torch.serialization.safe_globals(_ALLOWED), warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise BadWeights(f"{file}: {_reason(str(error))}") from error
    if not isinstance(content, dict):
        raise BadWeights(f"{file}: holds no state_dict but a {type(content).__name__}")
    return content


def _check_archive(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            raise BadWeights(
                f"{file}: an archive of {some(names) or 'nothing'}; unpack it and give the checkpoint in it"
            )
        if bad := archive.testzip():
            raise BadWeights(f"{file}: damaged, CRC of {bad!r} is wrong; fetch it again")


def _reason(message: str) -> str:
    """Why torch did not read a file, for its user."""
    if wanted := re.search(r"GLOBAL (\S+)|got <class '([^']+)'", message):
        return (
            f"asks to run {wanted[1] or wanted[2]} when it is read, which is refused: only tensors and plain values "
            "are loaded. If you trust it, save its state_dict alone"
        )
    if "Unsupported operand 149" in message:  # with which pickles of protocol 4 begin
        return "pickled in a way that cannot be read safely; write it with torch.save and its default pickle_protocol"
    if "TorchScript" in message:
        return "a TorchScript program, not weights; save the state_dict of its network"
    return "truncated, damaged or no checkpoint of torch.save"
