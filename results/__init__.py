"""Metabench results: rows, statistics, ranks and the leaderboard."""
