"""What the tests of whole runs share."""

from __future__ import annotations

import pytest
from undisturbed import Undisturbed, run_undisturbed


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return run_undisturbed(tmp_path_factory.mktemp("undisturbed"))
