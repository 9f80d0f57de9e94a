"""Metabench episodes."""
