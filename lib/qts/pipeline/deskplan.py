"""The plan of a trade batch, and the objects that it stands for.

A plan holds configuration as it was, and versions of side tables, all as JSON: a replay, and `qts explain`, build
from it the same desk, rules and side inputs, whatever conf files and tables say by then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

import qts
from qts.bandit.registry import build_policy
from qts.errors import ConfigError, MissingInput
from qts.risk.limits import RiskLimits
from qts.settings import Settings, duration
from qts.store.ledger import Ledger
from qts.strategy import registry
from qts.trading import controls
from qts.trading.decide import Rules
from qts.trading.propose import Desk
from qts.trading.settle import SettleConfig
from qts.trading.universe import Universe

#: Tables that a batch reads beside its own rows, each at the version that its plan names; `batches` says which rows of
#: the others were those of done batches then.
SIDE_TABLES = ("batches", "instruments", "controls", "forecasts", "regimes", "sentiment", "indices")


@dataclass(frozen=True)
class TradeConfig:
    """What a plan says about one batch, times in nanoseconds.

    Attributes:
        intervals: bar lengths by name.
        decision: the one that is decided on.
    """

    desk: Desk
    limits: RiskLimits
    account: str
    cash: float
    buckets: int
    intervals: dict[str, int]
    decision: int
    allowance: int
    idle_timeout: int


def configuration(settings: Settings) -> dict[str, Any]:
    """The part of a plan that comes from the settings, as JSON can hold it.

    Raises:
        ConfigError: strategies, policies or risk limits make no sense; nothing has been written then.
        MissingInput: a conf file that the settings name is not there.
    """
    trade = settings.trade
    config = {
        "code": qts.__version__,
        "strategies": _yaml(settings.strategies).get("strategies"),
        "policies": trade.policies,
        "acting": trade.acting if trade.acting is not None else next(iter(trade.policies)),
        "hold": trade.hold,
        "seed": trade.seed,
        "reward_cost": trade.reward_cost,
        "risk": _yaml(settings.risk),
        "account": trade.account,
        "cash": trade.cash,
        "buckets": trade.buckets,
        "intervals": list(settings.bars.intervals),
        "decision": settings.bars.decision,
        "allowance": settings.ingest.allowance,
        "idle_timeout": trade.idle_timeout,
    }
    trade_config(config)
    return config


def trade_config(config: dict[str, Any]) -> TradeConfig:
    """The objects that `configuration` describes."""
    return _trade_config(json.dumps(config, sort_keys=False))


@lru_cache(maxsize=4)
def _trade_config(text: str) -> TradeConfig:
    config = json.loads(text)
    return TradeConfig(
        desk=Desk(
            strategies=registry.build(config["strategies"]),
            policies={name: build_policy(name, params) for name, params in config["policies"].items()},
            acting=config["acting"],
            seed=config["seed"],
            cost=config["reward_cost"],
            hold=config.get("hold", 1),  # a plan of before there was one
        ),
        limits=RiskLimits.parse(config["risk"], "the risk limits"),
        account=config["account"],
        cash=config["cash"],
        buckets=config["buckets"],
        intervals={name: duration(name) for name in config["intervals"]},
        decision=duration(config["decision"]),
        allowance=config["allowance"],
        idle_timeout=config["idle_timeout"],
    )


def side_versions(ledger: Ledger) -> dict[str, int]:
    """The newest version of every side table; -1 where a table does not exist yet."""
    return {name: ledger.version(name) for name in SIDE_TABLES}


def universe(ledger: Ledger, versions: dict[str, int]) -> Universe:
    """The instruments at a planned version; none where there is no table yet."""
    if versions["instruments"] < 0:
        return Universe.plain(())
    return Universe.from_columns(ledger.read("instruments", version=versions["instruments"]).to_pydict())


def quote_driven(ledger: Ledger, versions: dict[str, int]) -> frozenset[str]:
    """Instruments whose bars are made of mid quotes."""
    if versions["instruments"] < 0:
        return frozenset()
    rows = ledger.read("instruments", version=versions["instruments"], columns=("instrument", "price_from")).to_pylist()
    return frozenset(row["instrument"] for row in rows if row["price_from"] == "quote")


def rules(ledger: Ledger, config: TradeConfig, versions: dict[str, int], known: Universe, provenance: str) -> Rules:
    """Universe, limits and controls of a batch."""
    overrides = ledger.read("controls", version=versions["controls"]).to_pylist() if versions["controls"] >= 0 else []
    return Rules(
        known,
        config.limits.arrays(known.names),
        controls.fold(overrides, known.names),
        SettleConfig.of(config.limits, config.account, provenance),
    )


def _yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise MissingInput(f"Conf file {path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"Conf file {path} is not YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(data, dict):
        raise ConfigError(f"Conf file {path} holds {type(data).__name__}; a mapping is needed.")
    return data
