"""Ticks, bars, quality rules and sample data."""
