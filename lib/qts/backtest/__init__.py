"""Backtests: the live decision step over history, and how much of what it shows may be luck."""
