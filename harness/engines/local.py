"""Blocks on this machine: in this process, or in worker processes that share the features by memory map."""

import os
import warnings
from collections.abc import Iterable, Iterator

from episodes.decoders import leave_with_parent
from harness.blocks import Block, EpisodeResult, evaluate_block

BlockResult = tuple[Block, list[EpisodeResult]]


def default_workers(device: str) -> int:
    """One process per available core on the CPU; one on an accelerator."""
    return len(os.sched_getaffinity(0)) if device == "cpu" else 1


def run_blocks(blocks: Iterable[Block], workers: int) -> Iterator[BlockResult]:
    """Every block with its results, in order of completion; blocks are taken from the iterable as workers free up."""
    if workers == 1:
        for block in blocks:
            yield block, evaluate_block(block)
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
    for number, results in parallel(delayed(_evaluate)(number, block) for number, block in numbered()):
        yield waiting.pop(number), results


def _evaluate(number: int, block: Block) -> tuple[int, list[EpisodeResult]]:
    """Answer with the number alone: sending the block back would copy its features."""
    leave_with_parent()
    return number, evaluate_block(block)
