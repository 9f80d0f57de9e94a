"""Rebuilds the five pocket domains that are shipped as records (icons, emoji, clipart, sprites, fashion).

Not needed to run a benchmark: `python -m episodes.sources.pocket_build --help` says what it needs.
"""
