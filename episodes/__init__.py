"""Metabench episodes: records, episode sampling, plans and pixels."""
