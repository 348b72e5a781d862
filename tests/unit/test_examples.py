"""The examples of property tests are the same whatever ran before, or `make test` would fail by chance."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEEDED = settings(settings.get_profile("seeded"), max_examples=400)


def drawn() -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []

    @SEEDED
    @given(st.integers(), st.text())
    def note(number: int, text: str) -> None:
        found.append((number, text))

    note()
    return found


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE", "seeded") != "seeded", reason="new examples are asked for")
def test_examples_do_not_depend_on_the_modules_that_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn()
    assert len(set(before)) > 300
    file = tmp_path / "numbers_of_mine.py"
    file.write_text(f"MINE = {[7_000_000_003 * number for number in range(1, 100)]}\n")
    spec = importlib.util.spec_from_file_location("numbers_of_mine", file)
    assert spec is not None
    monkeypatch.setitem(sys.modules, "numbers_of_mine", importlib.util.module_from_spec(spec))
    assert drawn() == before


def test_examples_are_not_timed() -> None:
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
