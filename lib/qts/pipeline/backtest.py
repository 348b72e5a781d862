"""Backtests: strategies and policies over history, side by side, judged together and written down."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qts.backtest import scenario
from qts.backtest.compare import compare
from qts.backtest.experiment import Experiment, Outcome, Terms
from qts.backtest.experiment import run as run_one
from qts.backtest.market import Market
from qts.backtest.report import html
from qts.backtest.runner import Runner, longest_first, processes
from qts.backtest.study import Study, study, verdict
from qts.backtest.walkforward import Fold, Plan, candidates, default_plan, folds, walk_forward
from qts.bandit.base import Policy
from qts.bandit.registry import BUILTIN as POLICIES
from qts.bandit.registry import build_policy
from qts.errors import ConfigError, DataError, did_you_mean
from qts.pipeline import experiments as kept
from qts.pipeline.deskplan import configuration
from qts.pipeline.models import tracking_of
from qts.risk.limits import RiskLimits
from qts.settings import Settings
from qts.store.ledger import Ledger
from qts.strategy import registry
from qts.strategy.base import Strategy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Summary = dict[str, Any]

_DAY = 86_400_000_000_000


def execute(settings: Settings, market: Market) -> Summary:
    """Runs all experiments, judges them, and keeps them in the `experiments` table, in MLflow and as a report.

    Raises:
        ConfigError: a strategy, policy or scenario that does not exist.
        DataError: no experiment can be run on these bars at all.
    """
    terms = terms_of(settings)
    market, first = _window(settings, market)
    base = [replace(each, first=first) for each in experiments_of(settings)]
    _refuse_comparison(settings.backtest.compare, base)
    plan, cut = _plan(settings, market)
    searched = base if plan is None else [_searched(each, market, terms, plan, settings) for each in base]
    scenarios, left_out = _scenarios(settings.backtest.scenarios, market, base, terms)
    pieces = {"history": (market, searched)} | scenarios
    everything = [experiment for _, chosen in pieces.values() for experiment in chosen]
    outcomes = iter(_runner(settings)(everything, market, terms))
    ledger = Ledger(settings.tables)
    identities = {each.identity(terms, market.fingerprint) for each in everything}
    before = kept.earlier(ledger, market, identities)
    made = before.trials + sum(each.trials for each in searched)
    studies = {
        name: study([next(outcomes) for _ in chosen], seen, terms, made, before.sharpes)
        for name, (seen, chosen) in pieces.items()
    }
    main = studies.pop("history")
    study_id = hashlib.blake2b(" ".join(sorted(identities)).encode(), digest_size=6).hexdigest()
    if not kept.holds(ledger, study_id):
        scenes = [(each, pieces[name][1]) for name, each in studies.items()]
        kept.keep(ledger, study_id, [(main, searched), *scenes], market)
    report = settings.workdir / "reports" / f"backtest-{study_id}.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(html(main, studies), encoding="utf-8")
    run_id = kept.track(tracking_of(settings), study_id, main, searched, market, report.read_bytes())
    return (
        _summary(replace(main, notes=(*main.notes, *left_out)), studies, cut, market)
        | _comparison(main, settings.backtest.compare)
        | {
            "study": study_id,
            "report": str(report),
            "mlflow_run": run_id,
            "tracking_uri": settings.tracking_uri,
        }
    )


def terms_of(settings: Settings) -> Terms:
    """Cash, costs and limits: sizing and execution are always those of risk.yml, its limits only if asked for."""
    risk = RiskLimits.parse(configuration(settings)["risk"], str(settings.risk))
    given = settings.backtest
    if not given.limits:
        risk = RiskLimits(min_cash=None, sizing=risk.sizing, execution=risk.execution)
    trade = settings.trade
    return Terms(given.cash, risk, given.lot_size, given.borrow, trade.reward_cost, trade.seed, trade.hold)


def experiments_of(settings: Settings) -> list[Experiment]:
    """One experiment for each strategy, and one for the policy that chooses among them, if there is one.

    A strategy that the grid names is one experiment for each combination of parameters, unless walk-forward is to
    choose among them.
    """
    chosen = strategies_of(settings)
    found = []
    for name, strategy in chosen.items():
        grid = None if settings.backtest.walk_forward else _grid(settings, name, strategy)
        for variant in candidates(strategy, grid) if grid else [strategy]:
            label = name if variant is strategy else repr(variant)
            found.append(Experiment(label, {name: variant}))
    policy = settings.backtest.policy
    if policy is not None:
        found.append(Experiment(policy, chosen, policy_of(settings, policy)))
    return found


def strategies_of(settings: Settings) -> dict[str, Strategy]:
    """The strategies that `backtest.strategies` names.

    Raises:
        ConfigError: a name that is neither in strategies.yml nor a class.
    """
    text = settings.backtest.strategies.strip()
    if text == "all":
        return registry.all()
    configured = configuration(settings)["strategies"]
    found: dict[str, Strategy] = {}
    for name in filter(None, map(str.strip, text.split(","))):
        if name in configured:
            found |= registry.build({name: configured[name]})
        elif name in registry.BUILTIN or ":" in name:
            found |= registry.build({name: {"class": name}})
        else:
            known = [*configured, *registry.BUILTIN]
            raise ConfigError(
                f"There is no strategy {name!r}; {settings.strategies} has {', '.join(configured)}, built in are "
                f"{', '.join(registry.BUILTIN)}.{did_you_mean(name, known)}"
            )
    if not found:
        raise ConfigError(f"backtest.strategies is {text!r}; expected `all`, or names joined by commas.")
    return found


def policy_of(settings: Settings, name: str) -> Policy:
    """A policy of the settings, or a built-in one with its defaults.

    Raises:
        ConfigError: there is no such policy.
    """
    configured = settings.trade.policies
    if name not in configured and name not in POLICIES and ":" not in name:
        known = sorted({*configured, *POLICIES})
        raise ConfigError(f"There is no policy {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}")
    return build_policy(name, configured.get(name, {"class": name}))


def _grid(settings: Settings, name: str, strategy: Strategy) -> dict[str, list[Any]] | None:
    """The grid of a strategy, by its name or by that of its class."""
    grids = settings.backtest.grid
    return grids.get(name, grids.get(type(strategy).__name__))


def _window(settings: Settings, market: Market) -> tuple[Market, int | None]:
    """The history of the instruments and days that were asked for, and the first bar that is traded.

    Raises:
        ConfigError: a start for a walk-forward, whose own windows say where trading starts.
        DataError: there are no such instruments, or fewer than 3 bars of these days.
    """
    given = settings.backtest
    if given.instruments:
        market = market.only(given.instruments)
    times, first = market.panel.times, None
    if given.end is not None:
        stop = int(np.searchsorted(times, pd.Timestamp(given.end, tz="UTC").value + _DAY, side="right"))
        market = market.until(stop)
    if given.start is not None:
        if given.walk_forward:
            raise ConfigError("backtest.start and walk_forward exclude each other: training windows come first.")
        first = int(np.searchsorted(times, pd.Timestamp(given.start, tz="UTC").value, side="right"))
    bars = max(len(market.panel) - (first or 0), 0)
    if bars < 3:
        days = f"from {given.start or 'the beginning'} to {given.end or 'the end'}"
        raise DataError(f"There are {bars} bar times {days}; 3 are needed.")
    return market, first


def _plan(settings: Settings, market: Market) -> tuple[Plan | None, list[Fold]]:
    if not settings.backtest.walk_forward:
        return None, []
    bars = len(market.panel)
    plan = default_plan(bars, market.periods_per_year, settings.backtest.anchored)
    return plan, folds(bars, plan)


def _searched(experiment: Experiment, market: Market, terms: Terms, plan: Plan, settings: Settings) -> Experiment:
    """The experiment with its parameters searched; one whose strategy fails in the search fails when it is run."""
    grid = _grid(settings, experiment.name, next(iter(experiment.strategies.values())))
    free = replace(terms, risk=RiskLimits(min_cash=None, sizing=terms.risk.sizing, execution=terms.risk.execution))
    try:
        return walk_forward(experiment, market, free, plan, grid)
    except ConfigError:
        raise
    except Exception as error:
        cut = folds(len(market.panel), plan)
        note = f"Its parameters could not be searched ({type(error).__name__}: {error})."
        return replace(experiment, first=cut[0].test_first, stop=cut[-1].test_stop, note=note)


def _scenarios(
    names: Sequence[str], market: Market, base: Sequence[Experiment], terms: Terms
) -> tuple[dict[str, tuple[Market, list[Experiment]]], list[str]]:
    """The scenarios by name, and a sentence for each of `all` that these bars cannot show.

    Raises:
        ConfigError, DataError: one that was asked for by name cannot be had; see `_scenario`.
    """
    found, left_out = {}, []
    every = tuple(names) == ("all",)
    for name in (*scenario.WINDOWS, *scenario.SHOCKS) if every else names:
        try:
            found[name] = _scenario(name, market, base, terms)
        except DataError as error:
            if not every:
                raise
            left_out.append(f"Scenario {name} is left out: {error}")
    return found, left_out


def _scenario(name: str, market: Market, base: Sequence[Experiment], terms: Terms) -> tuple[Market, list[Experiment]]:
    """The history that a scenario's benchmark sees, and the experiments in it.

    Raises:
        ConfigError: there is no such scenario.
        DataError: history does not reach the window.
    """
    if name in scenario.WINDOWS:
        window = scenario.WINDOWS[name]
        first, stop = scenario.rows_of(window, market.panel.times)
        if stop - first < 3:
            raise DataError(
                f"Scenario {name!r} is {window.start} to {window.end}, where these bars have {stop - first} bar times; "
                "3 are needed."
            )
        return market, [replace(each, first=first, stop=stop, scenario=name) for each in base]
    if name not in scenario.SHOCKS:
        known = [*scenario.WINDOWS, *scenario.SHOCKS]
        raise ConfigError(f"There is no scenario {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}")
    panel, _ = scenario.apply(name, market.panel, terms.risk)
    return replace(market, panel=panel), [replace(each, scenario=name) for each in base]


def _runner(settings: Settings) -> Runner:
    if not settings.backtest.spark:
        return processes(settings.backtest.workers)
    from qts.pipeline.session import spark_session

    return spark_runner(spark_session(settings))


def spark_runner(spark: SparkSession, spent: list[float] | None = None) -> Runner:
    """Runs experiments as Spark tasks, one each, the longest first; all that they need travels with the function.

    Args:
        spent: gets the CPU seconds of each experiment in its task, without its start.
    """

    def run_all(experiments: Sequence[Experiment], market: Market, terms: Terms) -> list[Outcome]:
        if not experiments:
            return []
        order = longest_first(experiments, len(market.panel))
        # A partition for each number, without a shuffle: round-robin over partitions may put several into one task.
        places = spark.range(0, len(order), 1, len(order))
        work = _running([experiments[place] for place in order], market, terms)
        rows = places.mapInPandas(work, "id long, result binary, cpu double").collect()
        done = {int(row["id"]): row["result"] for row in rows}
        if spent is not None:
            spent.extend(float(row["cpu"]) for row in rows)
        # Bytes that our own tasks have just made: nothing here is read from outside.
        outcomes = {place: pickle.loads(done[number]) for number, place in enumerate(order)}  # noqa: S301
        return [outcomes[place] for place in range(len(experiments))]

    return run_all


def _running(
    experiments: Sequence[Experiment], market: Market, terms: Terms
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    def tasks(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            for number in batch["id"]:
                began = time.process_time()
                outcome = run_one(experiments[number], market, terms)
                cpu = time.process_time() - began
                yield pd.DataFrame({"id": [number], "result": [pickle.dumps(outcome)], "cpu": [cpu]})

    return tasks


def _summary(main: Study, scenarios: dict[str, Study], cut: list[Fold], market: Market) -> Summary:
    days = [kept.day(end) for end in (main.times[[0, -1]] if len(main.times) else ())]
    summary: Summary = {
        "trials": main.trials,
        "spa_p": main.contests["buy_and_hold"].spa_p,
        "spa_p_flat": main.contests["flat"].spa_p,
        "pbo": main.pbo,
        "verdict": verdict(main),
        "better": _names(main, main.contests["buy_and_hold"].better),
        "best_set": _names(main, main.best_set),
        "benchmark": main.benchmark_metrics,
        "instruments": list(market.panel.instruments),
        "bars": len(main.times),
        "from_to": days,
        "periods_per_year": main.periods_per_year,
        "notes": list(main.notes),
        "experiments": _rows(main),
    }
    if cut:
        summary["walk_forward"] = [asdict(fold) for fold in cut]
    if scenarios:
        summary["scenarios"] = {
            name: {
                "bars": len(each.times),
                "spa_p": each.contests["buy_and_hold"].spa_p,
                "benchmark": each.benchmark_metrics,
                "experiments": _rows(each),
            }
            for name, each in scenarios.items()
        }
    return dict(kept.plain(summary))


def _rows(judged: Study) -> list[Summary]:
    rows = []
    for outcome, evidence in zip(judged.outcomes, judged.evidence, strict=True):
        row: Summary = {"strategy": outcome.name, "kind": outcome.kind}
        if evidence is None:
            row |= {"error": outcome.error, "metrics": None, "t": None, "p": None, "deflated_sharpe": None}
        else:
            row |= asdict(evidence)
            row["metrics"] = evidence.metrics | {
                name: int(evidence.metrics[name]) for name in ("trades", "fills", "orders", "max_drawdown_bars")
            }
        rows.append(row | {"trials": outcome.trials, "notes": list(outcome.notes), "experiment": outcome.identity})
    return rows


def _refuse_comparison(names: Sequence[str], experiments: Sequence[Experiment]) -> None:
    """Sees that two experiments are to be compared, or none.

    Raises:
        ConfigError: not two names, or no such experiment.
    """
    known = [each.name for each in experiments]
    wrong = [name for name in names if name not in known]
    if names and (len(names) != 2 or wrong):
        hint = did_you_mean(wrong[0], known) if wrong else ""
        raise ConfigError(f"backtest.compare is {', '.join(names)}; expected two of {', '.join(known)}.{hint}")


def _comparison(judged: Study, names: Sequence[str]) -> Summary:
    """The comparison of two experiments, if one was asked for."""
    if not names:
        return {}
    known = {outcome.name: outcome for outcome in judged.outcomes}
    first, second = (known[name] for name in names)
    return {"comparison": kept.plain(asdict(compare(first, second, judged.periods_per_year)))}


def _names(judged: Study, identities: Sequence[str]) -> list[str]:
    names = {outcome.identity: outcome.name for outcome in judged.outcomes}
    return [names[each] for each in identities]
