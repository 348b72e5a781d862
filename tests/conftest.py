"""Settings of all tests."""

from __future__ import annotations

import os

from hypothesis import settings

#: The machine may be busy, so nothing is timed. `make test` tries the same examples on every run, so that a change goes
#: in or not by what it changes; `make test-all` draws new ones.
settings.register_profile("random", deadline=None, max_examples=20)
settings.register_profile("seeded", settings.get_profile("random"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))
