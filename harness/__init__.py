"""Metabench harness: the only room that wires the others."""
