"""Metabench harness: the only room that wires the others. Importing it imports no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.from_training import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from harness.from_training import evaluate

        return evaluate
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
