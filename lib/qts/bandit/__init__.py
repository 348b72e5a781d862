"""Policies that choose among strategies, their rewards and propensities."""
