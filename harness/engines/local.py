"""Blocks on this machine: in this process, or in worker processes that share the features by memory map."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from episodes.decoders import leave_with_parent
from harness.blocks import Block

Result = TypeVar("Result")


def default_workers(device: str) -> int:
    """One process per available core on the CPU; one on an accelerator."""
    return len(os.sched_getaffinity(0)) if device == "cpu" else 1


def run_blocks(
    blocks: Iterable[Block], workers: int, work: Callable[[Block], list[Result]]
) -> Iterator[tuple[Block, list[Result]]]:
    """Every block with what `work` makes of it, in order of completion; blocks are taken as workers free up."""
    if workers == 1:
        for block in blocks:
            yield block, work(block)
        return
    from joblib import Parallel, delayed

    waiting: dict[int, Block] = {}

    def numbered() -> Iterator[tuple[int, Block]]:
        for number, block in enumerate(blocks):
            waiting[number] = block
            yield number, block

    # joblib replaces a worker between two blocks when it has grown by 300 MB, as one that trains a network does.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", max_nbytes="1M", mmap_mode="r")
    for number, results in parallel(delayed(_work)(number, block, work) for number, block in numbered()):
        yield waiting.pop(number), results


def _work(number: int, block: Block, work: Callable[[Block], list[Result]]) -> tuple[int, list[Result]]:
    """Answer with the number alone: sending the block back would copy its features."""
    leave_with_parent()
    return number, work(block)
