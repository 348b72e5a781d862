"""Strategies: state and bar in, state and signal out, all instruments at once."""
