"""Metabench harness."""
