"""Metabench backbones: frozen networks, loaded by name. Importing this package does not import torch."""

from backbones.registry import identity, identity_parts, known, load, members_of, split_name

__all__ = ["identity", "identity_parts", "known", "load", "members_of", "split_name"]
