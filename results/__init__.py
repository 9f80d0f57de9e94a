"""Metabench results."""
