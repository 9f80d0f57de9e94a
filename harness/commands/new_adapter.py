"""`metabench new-adapter`: a plug-in file that works, and its test, to start a method from."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from rich.console import Console

import adapters
from harness.errors import HarnessError
from results.files import write_whole

ADAPTER = '''\
"""{title}: one sentence on the idea, then who published it and where the code differs from the paper."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize, one_hot


@dataclass(frozen=True, kw_only=True)
class {title}:
    """Nearest centroid, to start from. The fields are the hyper-parameters; `adapt` must leave the adapter as it is."""

    needs: ClassVar = frozenset({{"features"}})  # of the support: "features", "maps", "images", "class_names"
    takes: ClassVar = "features"  # of the queries: "features", "maps" or "images"
    scale: float = 10.0

    @torch.no_grad()
    def adapt(self, support, *, rng=None):
        """support.features (n, d), support.labels (n,), support.way -> queries (m, d) -> logits (m, way)."""
        features = support.features.float()  # they may come in float16
        members = one_hot(support.labels, support.way).to(features)  # (n, way)
        prototypes = normalize(members.t() @ features)  # (way, d): directions of the class means

        return lambda queries: self.scale * normalize(queries.float()) @ prototypes.t()
'''

TEST = '''\
"""What {file} promises; run it with pytest."""

from pathlib import Path

import adapters
import torch
from adapters.checks import check_adapter

ADAPTER = adapters.load(Path(__file__).with_name("{file}"))


def test_it_keeps_the_contract():
    failed = [result for result in check_adapter(ADAPTER) if result.outcome == "failed"]
    assert not failed


def test_it_tells_two_easy_classes_apart():
    support = adapters.Support(torch.tensor([0, 0, 1]), 2, torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]]))
    logits = ADAPTER.adapt(support)(torch.tensor([[1.0, 0.2], [0.2, 1.0]]))
    assert logits.argmax(1).tolist() == [0, 1]
'''


def new_adapter(console: Console, name: str, folder: Path) -> None:
    """Write NAME.py and test_NAME.py (dashes become underscores) into `folder` and say what to do with them.

    Raises HarnessError for a name that cannot be had or a file that is there.
    """
    stem = _stem(name, folder)
    file, test = folder / f"{stem}.py", folder / f"test_{stem}.py"
    for path in (file, test):
        if path.exists():
            raise HarnessError(f"{path}: is there already; choose another name, or move it away")
    title = "".join(part.capitalize() for part in stem.split("_"))
    write_whole(file, ADAPTER.format(title=title).encode())
    write_whole(test, TEST.format(file=file.name).encode())
    console.print(f"wrote {file.name} (nearest centroid, to start from) and {test.name}; try it with", highlight=False)
    for command in (f"check-adapter {file.name}", f"run pocket --adapters ncc,{file.name}"):
        console.print(f"    metabench {command}", highlight=False, soft_wrap=True)


def _stem(name: str, folder: Path) -> str:
    """The file's name without its ending."""
    stem = name.removesuffix(".py").replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", stem) or keyword.iskeyword(stem) or stem.startswith("test_"):
        raise HarnessError(
            f"new-adapter {name}: give small letters, digits and dashes, beginning with a letter, as in my-method"
        )
    command = stem.replace("_", "-")
    if command in adapters.known():
        raise HarnessError(f"new-adapter {name}: there is already an adapter {command!r}; choose another name")
    installed = importlib.util.find_spec(stem)
    if installed is not None and (installed.origin is None or Path(installed.origin).parent != folder.resolve()):
        raise HarnessError(
            f"new-adapter {name}: a file {stem}.py would hide the Python module {stem!r}; choose another"
        )
    return stem
