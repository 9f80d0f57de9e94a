"""Work for engines to do, in a module that worker processes can import."""

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import torch

import adapters
from episodes.plan import DomainPlan, blocks, plan_domain
from episodes.sampling import EpisodeConfig
from episodes.spec import DatasetSpec
from harness.blocks import BLOCK, Block
from harness.errors import HarnessError
from harness.inputs import DomainData, make_task
from harness.pixels import PixelChoice
from results.identity import canonical_hash


@dataclass(frozen=True)
class Piece:
    """A unit of work that is a number."""

    data: DomainData
    device: str
    number: int
    folder: Path


def data_of(name, features):
    """A domain of one class without episodes, with these features."""
    empty = np.empty(0, np.int64)
    plan = DomainPlan(name, "test", EpisodeConfig(), 0, "", empty, empty, empty, empty, empty)
    return DomainData(plan, Path(), PixelChoice("none", 1, Path()), features)


def pieces(folder, count, domains=2):
    """So many units on domains whose features differ."""
    data = [data_of(f"domain {i}", np.full((4, 3), i + 1, np.float32)) for i in range(domains)]
    return [Piece(data[number * domains // count], "cpu", number, folder) for number in range(count)]


def total(piece):
    """What is in the features, and where the work was done."""
    return piece.number, float(piece.data.features.sum()), piece.data.plan.domain, os.getpid()


def die_once(piece):
    """The first worker at piece 3 is killed."""
    mark = piece.folder / "died"
    if piece.number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece.number


def die_always(piece):
    if piece.number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece.number


def complain(piece):
    raise HarnessError(f"piece {piece.number} is not to my liking")


def be_forbidden(piece):
    raise HTTPError("https://metabench.example", 403, "forbidden", Message(), None)


def stumble(piece):
    return {}[piece.number]


def visible_gpus(piece):
    time.sleep(0.2)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def answers(block):
    """sha256 of the logits of each episode of a block."""
    torch.set_num_threads(1)
    adapter = adapters.load(block.adapter, **block.hyperparameters)
    found = []
    for task in range(block.first, block.first + block.count):
        made = make_task(block.data, task, adapter, None, block.device)
        logits = adapter.adapt(made.support)(made.queries).detach().numpy()
        found.append((block.data.plan.domain, task, hashlib.sha256(logits.tobytes()).hexdigest()))
    return found


def some_blocks():
    """Blocks of two methods on two domains of random features."""
    counts = np.full(8, 30)
    ids = {"train": range(0), "valid": range(0), "test": range(8)}
    spec = DatasetSpec("random", counts, ids, tuple("abcdefgh"), digest="")
    made = []
    for number, name in enumerate(["one", "two"]):
        plan = plan_domain(name, spec, split="test", protocol=EpisodeConfig(), seed=0, tasks=30)
        features = np.random.default_rng(number).standard_normal((len(plan.images.classes), 16)).astype(np.float32)
        data = DomainData(plan, "", PixelChoice("none", 1, ""), features)
        for method in ["ncc", "url", "copa"]:
            adapter = adapters.load(method)
            made += [
                Block(
                    data=data,
                    adapter=method,
                    hyperparameters=adapters.hyperparameters_of(adapter),
                    adapter_hash=canonical_hash(adapters.configuration(adapter)),
                    backbone=None,
                    backbone_hash="",
                    device="cpu",
                    first=part.start,
                    count=len(part),
                )
                for part in blocks(len(plan), BLOCK)
            ]
    return made


def hashes(engine, order):
    """Of all logits, by method; blocks are handed out in this order."""
    return sorted((unit.adapter, *found) for unit, answer in engine.run(answers, order) for found in answer)
