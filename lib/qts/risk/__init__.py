"""Limits, rules, verdicts, circuit breakers: what stands between every decision and every order."""
