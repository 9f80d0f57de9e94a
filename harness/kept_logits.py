"""From the results of a block to the file of logits that is kept of it."""

from collections.abc import Sequence

from harness.blocks import EpisodeResult
from harness.cells import Cell, Run, logits_of
from harness.inputs import query_order
from results.identity import Row
from results.logits import EpisodeLogits, write_logits


def save_logits(current: Run, cell: Cell, rows: Sequence[Row], results: Sequence[EpisodeResult]) -> None:
    """Keep the logits of a block. `rows`, `results`: of its episodes, in the same order."""
    pairs = zip(rows, results, strict=True)
    write_logits(logits_of(current, cell), [episode_logits(row, result) for row, result in pairs], rows[0])


def episode_logits(row: Row, result: EpisodeResult) -> EpisodeLogits:
    """One episode's logits as they are kept; its block must have brought them along."""
    assert result.logits is not None and result.labels is not None
    order = query_order(row.episode_hash, len(result.labels))
    return EpisodeLogits(row.key, row.episode_hash, row.task, result.logits, result.labels, order)
