"""Walk-forward: folds, searches that see training alone, schedules of variants."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from backtest_help import closes, market, one
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest.experiment import Terms
from qts.backtest.market import market_of
from qts.backtest.walkforward import Plan, Scheduled, candidates, default_plan, folds, walk_forward
from qts.errors import ConfigError, DataError
from qts.strategy.base import Array
from qts.strategy.controls import Flat
from qts.strategy.trend import EwmaCross, SmaCross


@settings(max_examples=60, deadline=None)
@given(
    bars=st.integers(40, 400),
    train=st.integers(5, 60),
    test=st.integers(1, 40),
    anchored=st.booleans(),
    purge=st.integers(1, 5),
    embargo=st.integers(0, 9),
)
def test_folds_never_let_the_test_into_training(
    bars: int, train: int, test: int, anchored: bool, purge: int, embargo: int
) -> None:
    plan = Plan(train, test, anchored, purge, embargo)
    if bars < train + purge + embargo + 3:
        with pytest.raises(DataError, match="too few"):
            folds(bars, plan)
        return
    cut = folds(bars, plan)
    assert cut[-1].test_stop == bars
    for fold, after in itertools.pairwise(cut):
        assert fold.test_stop == after.test_first
    for fold in cut:
        assert fold.train_stop + purge + embargo == fold.test_first
        assert fold.train_stop - fold.train_first >= train
        assert fold.train_first == 0 or not anchored
        assert 0 <= fold.train_first < fold.train_stop < fold.test_first < fold.test_stop


def test_a_search_sees_training_windows_only() -> None:
    """Prices after a test window has begun change nothing that was chosen for it."""
    table = closes(300, 2, seed=5)
    plan = default_plan(300, 261)
    seen = market_of(table, "x")
    found = walk_forward(one(SmaCross(2, 10)), seen, Terms(), plan)
    strategy = found.strategies["one"]
    assert isinstance(strategy, Scheduled)
    cut = folds(300, plan)
    later = table.copy()
    later.loc[cut[1].train_stop :, ["I0", "I1"]] = closes(300, 2, seed=6)[["I0", "I1"]]
    other = walk_forward(one(SmaCross(2, 10)), market_of(later, "x"), Terms(), plan).strategies["one"]
    assert isinstance(other, Scheduled)
    assert strategy.choices[:2] == other.choices[:2]
    assert len(set(strategy.choices)) > 1
    assert found.trials == len(strategy.variants) == 3
    assert found.first == cut[0].test_first


def test_candidates_are_halved_doubled_or_of_a_grid() -> None:
    assert candidates(SmaCross(4, 20)) == [SmaCross(4, 20), SmaCross(2, 10), SmaCross(8, 40)]
    assert candidates(Flat()) == [Flat()]
    grid = candidates(SmaCross(4, 20), {"fast": [5, 30], "slow": [10, 20]})
    assert grid == [SmaCross(4, 20), SmaCross(5, 10), SmaCross(5, 20)]
    with pytest.raises(ConfigError, match="no parameter 'fats'"):
        candidates(SmaCross(4, 20), {"fats": [5]})


def test_a_schedule_is_its_variants_in_turn() -> None:
    seen = market(bars=60)
    times = seen.panel.times
    both = (EwmaCross(2, 5), EwmaCross(5, 20))
    planned = Scheduled(both, (int(times[20]), int(times[40])), (1, 0))
    rows: dict[object, list[Array]] = {}
    for strategy in (planned, *both):
        state, rows[strategy] = strategy.start(4), []
        for bar in seen.panel:
            buffer = io.BytesIO()
            np.savez(buffer, **state)  # what a state is must survive its bytes
            state, signal = strategy.step(dict(np.load(io.BytesIO(buffer.getvalue()))), bar)
            rows[strategy].append(signal)
    found = np.array(rows[planned])
    assert (found[:20] == 0).all()
    np.testing.assert_array_equal(found[20:40], np.array(rows[both[1]])[20:40])
    np.testing.assert_array_equal(found[40:], np.array(rows[both[0]])[40:])


def test_plans_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="purge"):
        Plan(10, 10, purge=0)
