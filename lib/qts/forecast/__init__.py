"""Forecasters of returns and variances, one series or a panel, with intervals."""
