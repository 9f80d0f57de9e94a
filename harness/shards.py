"""A run in parts, for several machines: `--shard I/N` is the I-th of N parts of a plan's blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from harness.blocks import BLOCK
from harness.errors import HarnessError


class Shard(NamedTuple):
    """Part number `part`, from 1, of `parts`."""

    part: int
    parts: int

    def __str__(self) -> str:
        return f"{self.part}/{self.parts}"


def parse_shard(text: str | None) -> Shard | None:
    """A shard as written, `2/4`. Raises HarnessError for anything else; None for None."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise HarnessError(f"--shard {text}: write I/N with I from 1 to N, as in 1/4 for the first of four parts")
    return Shard(int(found[1]), int(found[2]))


def tasks_of(shard: Shard | None, sizes: Sequence[int]) -> list[range]:
    """For each domain of `sizes` episodes the tasks that a shard runs, under every adapter; all of them for None.

    The blocks of all domains stand in one row, which is cut into `parts` that differ by one block at most: a
    shard touches few domains, and so embeds few images that others embed too. Raises HarnessError for more shards than
    blocks.
    """
    if shard is None:
        return [range(size) for size in sizes]
    blocks = [-(-size // BLOCK) for size in sizes]
    total = sum(blocks)
    if shard.parts > total:
        raise HarnessError(f"--shard {shard}: the plan has {total} blocks of {BLOCK} episodes; use {total} at most")
    first, end = (part * total // shard.parts for part in (shard.part - 1, shard.part))
    found, before = [], 0
    for size, count in zip(sizes, blocks, strict=True):
        start, stop = (min(max(block - before, 0), count) * BLOCK for block in (first, end))
        found.append(range(min(start, size), min(stop, size)))
        before += count
    return found
