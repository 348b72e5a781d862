"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

#: The machine may be busy, so nothing is timed; in CI the examples are the same on every run.
settings.register_profile("qts", deadline=None, max_examples=20)
settings.register_profile("ci", settings.get_profile("qts"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "qts")
