"""Metabench backbones: frozen networks, loaded by name. Importing this package does not import torch."""

from backbones.names import absolute, split_name
from backbones.registry import FORMS, identity, identity_parts, known, load, members_of

__all__ = ["FORMS", "absolute", "identity", "identity_parts", "known", "load", "members_of", "split_name"]
