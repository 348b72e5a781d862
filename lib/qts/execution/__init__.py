"""Brokers and what trading costs."""
