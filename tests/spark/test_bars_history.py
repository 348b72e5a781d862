"""`qts bars`: history in batch gives the bars that the live query streamed, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from trade_help import NAMES, market, rows_of, settings_for, undisturbed

from qts.errors import MissingInput
from qts.pipeline import bars
from qts.store.ledger import Ledger

pytestmark = pytest.mark.usefixtures("spark")


@pytest.fixture(scope="module")
def built(spark, tmp_path_factory):
    settings = undisturbed(tmp_path_factory)
    return settings, bars.run(settings)


def test_history_equals_the_stream(built):
    settings, figures = built
    ledger = Ledger(settings.tables)
    streamed, history = (rows_of(ledger, name).to_pylist() for name in ("bars", "bars_history"))
    assert sum(figures["bars"].values()) == len(history) > 1000
    assert [repr(row) for row in streamed] == [repr(row) for row in history]


def test_bars_are_what_their_definition_says(built):
    settings, _ = built
    daily = Ledger(settings.tables).read("bars_history").to_pandas()
    daily = daily[daily["interval"] == "1d"].set_index(["instrument", "bar_time"]).sort_index()
    ticks = market().sort_values(["event_ns", "source_offset"], kind="stable")
    ticks["day"] = ticks["event_time"].dt.floor("1D")
    for name in NAMES:
        quoted = name == "EURUSD"
        own = ticks[(ticks["instrument"] == name) & (ticks["kind"] == ("quote" if quoted else "trade"))]
        price = (own["bid"] + own["ask"]) / 2 if quoted else own["price"]
        days = price.groupby(own["day"])
        bar = daily.loc[name]
        assert len(bar) == days.ngroups
        np.testing.assert_array_equal(bar["high"], days.max())
        np.testing.assert_array_equal(bar["low"], days.min())
        np.testing.assert_array_equal(bar["trades"], days.size())
        volume = own["size"].fillna(0.0).groupby(own["day"]).sum()
        np.testing.assert_allclose(bar["volume"], volume, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            bar["realised_variance"], bar["semivariance_minus"] + bar["semivariance_plus"], rtol=1e-12
        )
    assert daily.loc["EURUSD", "vwap"].isna().all()
    assert daily.loc["CARBON", "spread"].isna().all()
    assert (daily.loc["IRON", "spread"] > 0).all()
    iron = ticks[(ticks["instrument"] == "IRON") & (ticks["kind"] == "trade")]
    closes = np.log(iron.groupby(iron["event_ns"] // 1_000_000_000)["price"].last())
    squares = (closes.diff() ** 2).groupby(closes.index // 86_400)
    # A day's first return starts at its open, so the return over night is no part of it.
    np.testing.assert_allclose(
        daily.loc["IRON", "realised_variance"], squares.apply(lambda day: day.iloc[1:].sum()), rtol=1e-9
    )


def test_provenance_marks_the_bars_of_simulated_prints(built):
    settings, _ = built
    rows = Ledger(settings.tables).read("bars_history").to_pandas()
    simulated = rows[rows["provenance"] == "simulated_path"]
    assert set(simulated["instrument"]) == {"TIN"}
    assert simulated["bar_time"].min() > rows.loc[rows["provenance"] == "real", "bar_time"].min()


def test_building_again_replaces_the_history(built):
    settings, figures = built
    assert bars.run(settings) == figures


def test_history_needs_ticks(tmp_path):
    with pytest.raises(MissingInput, match="qts ingest"):
        bars.run(settings_for(tmp_path / "work"))
