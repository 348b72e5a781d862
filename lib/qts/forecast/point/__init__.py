"""Forecasters of a series' level, several steps ahead, with a predictive distribution; behind one interface."""
