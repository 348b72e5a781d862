"""Settings of all tests."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

#: What somebody has set for his own jobs, his MLflow, his Spark or his terminal is not what the tests are about. The
#: jars and Java are taken from where the environment says.
_OWN = re.compile(
    r"(QTS_(?!JARS$)|MLFLOW_|PYSPARK_|SPARK_(HOME|CONF_DIR)$"
    r"|((FORCE|NO|PY)_COLORS?|COLUMNS|LINES|TERMINAL_WIDTH|GITHUB_ACTIONS)$)"
)
for _name in [name for name in os.environ if _OWN.match(name)]:
    del os.environ[_name]

#: The machine may be busy, so nothing is timed, not even how long it takes to draw an example. `make test` tries the
#: same examples on every run, so that a change goes in or not by what it changes; `make test-all` draws new ones, and
#: what fails prints how it is tried again: nothing is kept from one run for the next.
settings.register_profile(
    "random",
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    print_blob=True,
)
settings.register_profile("seeded", settings.get_profile("random"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))
if settings.get_current_profile_name() == "seeded":
    # One value in twenty Hypothesis takes from the constants of whatever modules of this project are loaded by then:
    # the examples of a test would depend on which tests ran before it, and on every number that is written anywhere.
    # It has no setting for that; test_examples.py holds that this one still works.
    providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command sends the logs of its process to its stderr, which under a test is a stream that ends with it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)
    structlog.reset_defaults()
