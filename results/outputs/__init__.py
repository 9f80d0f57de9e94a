"""Every file that a leaderboard is written to: one format, one module."""
