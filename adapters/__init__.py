"""Metabench adapters."""
