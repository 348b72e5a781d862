"""Sizing and double-entry accounting."""
