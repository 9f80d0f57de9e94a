"""Frozen networks: `load` one by name, `known` lists the names. Importing this package does not import torch."""

from backbones.registry import identity, known, load

__all__ = ["identity", "known", "load"]
