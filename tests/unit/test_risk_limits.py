"""Limits files: what they may say, and what they are told when they say something else."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import ConfigError
from qts.risk import breakers
from qts.risk.limits import Breaker, Breakers, RiskLimits, of_equity

CONF = Path(__file__).resolve().parents[2] / "conf" / "risk.yml"


def test_the_shipped_file_names_every_key_there_is():
    raw = yaml.safe_load(CONF.read_text())
    limits = RiskLimits.parse(raw)
    assert set(raw) == set(RiskLimits.model_fields)
    assert set(raw["breakers"]) == set(Breakers.model_fields)
    for group in ("sizing", "execution"):
        assert raw[group] == {name: getattr(getattr(limits, group), name) for name in raw[group]}
        assert set(raw[group]) == set(vars(getattr(limits, group)))


def test_arrays_follow_the_instruments_and_overrides_win():
    raw = {
        "max_position": 10,
        "restricted": ["BBB"],
        "instruments": {"AAA": {"max_position": 3, "allow_short": False}, "XXX": {"max_position": 1}},
    }
    limits = RiskLimits.parse(raw).arrays(("AAA", "BBB"))
    assert limits.max_position.tolist() == [3, 10]
    assert limits.allow_short.tolist() == [False, True]
    assert limits.restricted.tolist() == [False, True]
    assert limits.max_order_size.tolist() == [np.inf, np.inf]
    assert np.isnan(limits.lot_size).all()
    assert (limits.max_gross_exposure, limits.min_cash) == (np.inf, 0)


def test_no_shipped_limit_cuts_an_account_that_has_grown_sixfold():
    limits = RiskLimits.parse(yaml.safe_load(CONF.read_text())).arrays(("AAA",))
    for amount, share in (
        (limits.max_order_notional, limits.max_order_notional_fraction),
        (limits.max_position_notional, limits.max_position_notional_fraction),
        (limits.max_gross_exposure, limits.max_gross_exposure_fraction),
        (limits.max_net_exposure, limits.max_net_exposure_fraction),
    ):
        np.testing.assert_array_equal(np.minimum(amount, of_equity(np.asarray(share), 6e6)), np.asarray(share) * 6e6)


def test_an_override_lifts_a_restriction():
    raw = {"restricted": ["AAA"], "instruments": {"AAA": {"restricted": False}}}
    assert RiskLimits.parse(raw).arrays(("AAA",)).restricted.tolist() == [False]


def test_null_means_no_limit():
    raw = {"min_cash": None, "max_position": None, "restricted": None, "instruments": None, "breakers": None}
    limits = RiskLimits.parse(raw).arrays(("AAA",))
    assert (limits.min_cash, limits.max_position[0]) == (-np.inf, np.inf)


def test_a_breaker_may_be_a_number():
    assert RiskLimits.parse({"breakers": {"max_drawdown": 0.2}}).breakers.max_drawdown == Breaker(limit=0.2)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"max_positon": 5}, "Did you mean 'max_position'"),
        ({"instruments": {"AAA": {"max_ordersize": 5}}}, "Did you mean 'max_order_size'"),
        ({"breakers": {"max_drawdwon": 0.1}}, "Did you mean 'max_drawdown'"),
        ({"breakers": {"max_drawdown": {"limit": 0.1, "untl": "resume"}}}, "Did you mean 'until'"),
        ({"sizing": {"gross_budjet": 1}}, "Did you mean 'gross_budget'"),
        ({"execution": {"fee": 1}}, "known are order_type"),
        ({"max_position": -1}, "'max_position' is -1"),
        ({"max_order_notional_fraction": -0.1}, "'max_order_notional_fraction' is -0.1"),
        ({"max_gross_exposure_fractoin": 1}, "Did you mean 'max_gross_exposure_fraction'"),
        ({"max_position": "many"}, "'max_position' is 'many'"),
        ({"max_position": float("nan")}, "'max_position' is nan"),
        ({"trading_state": "open"}, "'trading_state' is 'open'"),
        ({"execution": {"participation": 0}}, "'execution.participation' is 0"),
        ([1], "list"),
    ],
)
def test_mistakes_are_named(raw, message):
    with pytest.raises(ConfigError, match=message):
        RiskLimits.parse(raw, "limits.yml")


def test_an_empty_file_limits_nothing_but_cash():
    assert RiskLimits.parse(None) == RiskLimits()


# --- circuit breakers ---------------------------------------------------------------------------------------------

BOTH = Breakers(max_drawdown=Breaker(limit=0.2, action="halted"), max_daily_loss=Breaker(limit=0.1, until="next_day"))


def test_breakers_trip_above_their_limit_once():
    trips, new = breakers.tripped(breakers.no_trips(), BOTH, {"max_drawdown": 0.2, "max_daily_loss": 0.11}, 5, 0)
    assert [(trip.code, trip.action) for trip in new] == [("max_daily_loss", "reducing")]
    assert breakers.state(trips, BOTH) == 1
    trips, new = breakers.tripped(trips, BOTH, {"max_drawdown": 0.3, "max_daily_loss": 0.5}, 5, 0)
    assert [trip.code for trip in new] == ["max_drawdown"]
    assert breakers.state(trips, BOTH) == 2


def test_an_unknown_figure_trips():
    _, new = breakers.tripped(breakers.no_trips(), BOTH, {"max_drawdown": float("nan")}, 5, 0)
    assert len(new) == 1


def test_breakers_let_go_as_they_are_told():
    trips, _ = breakers.tripped(breakers.no_trips(), BOTH, {"max_drawdown": 1, "max_daily_loss": 1}, 5, 2)
    assert breakers.released(trips, BOTH, 5, 2).tolist() == trips.tolist()
    assert breakers.released(trips, BOTH, 6, 2)[:2].tolist() == [[5, 2], [-1, -1]]
    assert breakers.released(trips, BOTH, 5, 3).tolist() == breakers.no_trips().tolist()
    assert breakers.released(trips, Breakers(), 5, 2).tolist() == breakers.no_trips().tolist()


@given(st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=30)
def test_what_is_not_configured_never_trips(drawdown, loss):
    trips, new = breakers.tripped(
        breakers.no_trips(), Breakers(), {"max_drawdown": drawdown, "max_daily_loss": loss}, 1, 0
    )
    assert (new, breakers.state(trips, Breakers())) == ([], 0)
