"""Strategies and policies named in configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qts.bandit.linucb import LinUcb
from qts.bandit.registry import build_policy
from qts.bandit.thompson import GaussianThompson
from qts.errors import ConfigError
from qts.strategy import registry
from qts.strategy.trend import EwmaCross

CONF = Path(__file__).resolve().parents[2] / "conf/strategies.yml"

OWN = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Contrarian:
    size: float
    def start(self, instruments):
        return {}
    def step(self, state, bar):
        return state, np.full(len(bar.close), -self.size)

class Nothing:
    pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_strategies.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_strategies"
    sys.modules.pop("own_strategies", None)  # its file is this test's


def test_the_configuration_builds_in_its_order() -> None:
    spec = yaml.safe_load(CONF.read_text())["strategies"]
    built = registry.build(spec)
    assert list(built) == list(spec)
    assert len(built) >= 24
    assert built["ewma_cross"] == EwmaCross(12, 26)


def test_the_configuration_tells_of_every_strategy() -> None:
    assert [name for name in registry.all() if f"#   {name} " not in CONF.read_text()] == []


def test_parameters_are_the_keys() -> None:
    assert registry.build({"mine": {"class": "EwmaCross", "fast": 3}}) == {"mine": EwmaCross(fast=3)}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "expected at least one entry"),
        ({"a": {"class": "EwmaCros"}}, "strategies.a: There is no strategy 'EwmaCros'.*Did you mean 'EwmaCross'"),
        ({"a": {"fast": 3}}, "strategies.a is .* expected a class"),
        ({"a": "Flat"}, "strategies.a is 'Flat', expected a class"),
        ({"a": {"class": "EwmaCross", "fst": 3}}, "no parameter 'fst'; its parameters are fast, slow.*mean 'fast'"),
        ({"a": {"class": "Flat", "size": 3}}, "no parameter 'size'; it has no parameters"),
        ({"a": {"class": "EwmaCross", "fast": "12"}}, "EwmaCross.fast is '12', expected int"),
        ({"a": {"class": "EwmaCross", "fast": 1.5}}, "EwmaCross.fast is 1.5, expected int"),
        ({"a": {"class": "EwmaCross", "fast": True}}, "EwmaCross.fast is True, expected int"),
        ({"a": {"class": "EwmaCross", "fast": 30}}, r"EwmaCross\(fast=30, slow=26\).*1 <= fast < slow"),
        ({"a": {"class": "VolatilityTarget", "target": float("nan")}}, "VolatilityTarget.target is nan"),
        ({"a": {"class": "RsiReversion", "low": 20}}, "equal distance"),
        ({"a": {"class": "no_such_module_at_all:X"}}, "cannot be imported.*Python path"),
        ({"a": {"class": "own_strategies:Contrarin"}}, "no class 'Contrarin'.*Did you mean 'Contrarian'"),
        ({"a": {"class": "own_strategies:Contrarian"}}, "needs the parameter 'size'"),
        ({"a": {"class": "own_strategies:Nothing"}}, "no strategy"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_a_wrong_entry_says_what_is_wrong(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.build(spec)


def test_a_class_of_your_own(own_module: str) -> None:
    built = registry.build({"mine": {"class": f"{own_module}:Contrarian", "size": 1}})
    assert built["mine"].size == 1  # type: ignore[attr-defined]


def test_a_short_name_of_an_installed_package(own_module: str, tmp_path: Path) -> None:
    installed = tmp_path / "own_strategies-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-strategies\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[qts.strategy]\nContrarian = {own_module}:Contrarian\n")
    built = registry.build({"mine": {"class": "Contrarian", "size": 1.0}})
    assert type(built["mine"]).__module__ == own_module
    with pytest.raises(ConfigError, match=r"There is no strategy 'Contrarin'.*Did you mean 'Contrarian'"):
        registry.build({"mine": {"class": "Contrarin"}})


def test_lists_of_a_configuration_are_taken_for_tuples() -> None:
    built = registry.build({"mine": {"class": "ForecastConsensus", "models": ["log_har"]}})
    assert built["mine"].models == ("log_har",)  # type: ignore[attr-defined]


def test_policies_by_name() -> None:
    assert build_policy("thompson", {"forgetting": 0.99}) == GaussianThompson(forgetting=0.99)
    assert build_policy("linucb", {}) == LinUcb()
    assert build_policy("careful", {"class": "linucb", "alpha": 2}) == LinUcb(alpha=2)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("thomson", {}, "There is no policy 'thomson'.*Did you mean 'thompson'"),
        ("linucb", {"alfa": 1.0}, "no parameter 'alfa'.*Did you mean 'alpha'"),
        ("linucb", {"ridge": 0.0}, "ridge > 0"),
        ("thompson", {"forgetting": 1.5}, "0 < forgetting <= 1"),
        ("thompson", {"class": 3}, "expected one of thompson, bernoulli_thompson, linucb"),
        ("thompson", [1], "expected its parameters"),
        ("mine", {"class": "own_strategies:Nothing"}, "lacks a method of a policy"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_a_wrong_policy_says_what_is_wrong(name: str, params: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_policy(name, params)


@pytest.mark.parametrize("name", ["thompson", "linucb"])
def test_a_floor_too_high_for_the_arms(name: str) -> None:
    with pytest.raises(ConfigError, match=r"at most 0\.125"):
        build_policy(name, {"floor": 0.2}).start(1, 8, 2)
