from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from qts import cli
from qts.commands.files import read_table
from qts.errors import ConfigError, DataError, UnknownColumn
from qts.forecast.point.evaluate import BENCHMARK, Design, evaluate, verdict
from qts.forecast.point.registry import build
from qts.forecast.point.rolling import roll
from qts.forecast.point.series import NAMES, Series, Table, read_long

_SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def _long(series: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        [pd.DataFrame({"series": name, "t": np.arange(len(y)), "y": y}) for name, y in series.items()],
        ignore_index=True,
    )


def _walks(count: int, rows: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"S{n:02}": 100 + rng.normal(size=rows + 7 * n).cumsum() for n in range(count)}


def test_a_messy_table_is_put_in_order_and_the_notes_say_how() -> None:
    rows = pd.DataFrame(
        {
            "series": ["b", "a", "a", "a", "a", "a", None, "c"],
            "t": [1, 3, 1, 2, 2, 4, 1, 1],
            "y": ["5", "3.0", "1.0", "9.0", "2.0", "inf", "1", "x"],
        }
    )
    table = read_long(rows)
    assert [one.name for one in table.series] == ["a", "b"]
    assert table.series[0].times.tolist() == [1, 2, 3]
    assert table.series[0].values.tolist() == [1.0, 2.0, 3.0]  # the last of two rows of one time counts
    assert table.notes == {
        "rows_without_time_or_series": 1,
        "rows_out_of_order": 1,
        "duplicated_times": 1,
        "values_missing": 2,
        "series_without_values": 1,
    }


@pytest.mark.parametrize(
    ("times", "season", "rows"),
    [
        (pd.date_range("2000-01-31", periods=60, freq="ME"), 12, 60),
        (pd.date_range("2000-01-01", periods=60, freq="MS").delete([20, 21]), 12, 60),
        (pd.date_range("2000-01-01", periods=60, freq="QS"), 4, 60),
        (pd.date_range("2000-01-01", periods=100, freq="h", tz="Europe/Berlin").delete([50]), 24, 100),
        (pd.bdate_range("2000-01-03", periods=100), -5, 100),  # weekends are no gaps
        (pd.date_range("2000-01-01", periods=30, freq="YS"), 1, 30),
    ],
    ids=["month ends", "months, two missing", "quarters", "hours, one missing", "business days", "years"],
)
def test_calendars(times: pd.DatetimeIndex, season: int, rows: int) -> None:
    frame = pd.DataFrame({"series": 7, "timestamp": times, "y": 1.5})
    for variant in (frame, frame.assign(timestamp=[stamp.isoformat() for stamp in times])):
        (one,) = read_long(variant.sample(frac=1, random_state=0)).series
        assert (one.name, one.season, len(one.values)) == ("7", season, rows)
        assert np.isfinite(one.values).sum() == len(times)
        assert (np.diff(one.times) > 0).all()
    assert read_long(frame, season=5).series[0].season == 5


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%Y%m%d"])
def test_dates_in_any_order_of_their_parts(form: str) -> None:
    """A day that is taken for a month moves its row to another place, and no error says so."""
    days = pd.date_range("2020-01-01", periods=90)
    texts = days.strftime(form)
    plain = pd.DataFrame({"timestamp": days, "y": np.arange(90.0)})
    told = plain.assign(timestamp=texts.astype(int) if form == "%Y%m%d" else texts)
    ((wanted,), (found,)) = (read_long(table).series for table in (plain, told))
    np.testing.assert_array_equal(found.times, wanted.times)
    np.testing.assert_array_equal(found.values, wanted.values)


def test_names_of_series_are_text(tmp_path: Path) -> None:
    rows = pd.DataFrame({"series": ["007", "NA"] * 5, "t": np.repeat(range(5), 2), "y": np.arange(10.0)})
    rows.to_csv(tmp_path / "long.csv", index=False)
    table = read_long(read_table(tmp_path / "long.csv", "series", NAMES))
    assert [each.name for each in table.series] == ["007", "NA"]
    assert not table.notes


def test_a_table_that_cannot_be_used() -> None:
    with pytest.raises(UnknownColumn, match="'timestamp' or 't', the file has 'series', 'when', 'y'"):
        read_long(pd.DataFrame({"series": [1], "when": [1], "y": [1.0]}))
    with pytest.raises(UnknownColumn, match="the value"):
        read_long(pd.DataFrame({"series": [1], "t": [1]}))
    with pytest.raises(DataError, match="No row of 2"):
        read_long(pd.DataFrame({"series": [1, None], "t": [1, 2], "y": [np.nan, 1.0]}))
    with pytest.raises(DataError, match="No series has 3 values"):
        evaluate(read_long(_long({"a": np.array([1.0, 2.0])})), build(["naive"]), Design(1))
    with pytest.raises(ConfigError, match="Shares"):
        Design(1, test=1.2)
    with pytest.raises(ConfigError, match="Horizon 0"):
        Design(0)


@pytest.mark.parametrize(("seed", "cut"), [(0, 95), (1, 103), (2, 119)])
def test_the_future_never_changes_a_past_forecast_or_interval(seed: int, cut: int) -> None:
    walks = _walks(3, 120, seed)
    changed = {name: np.where(np.arange(len(y)) < cut, y, y[::-1] * 3) for name, y in walks.items()}
    models, design = build(["drift", "arima", "ensemble"]), Design(2, refit_every=15)
    one, other = (evaluate(read_long(_long(series)), models, design) for series in (walks, changed))
    for n, first in enumerate(one.first):
        past = max(cut - int(first) + 1, 0)  # origins that know the rows before the cut, or fewer
        assert past > 0
        for name, judged in one.models.items():
            np.testing.assert_array_equal(judged.forecast.mean[:past, n], other.models[name].forecast.mean[:past, n])
            for level, bounds in judged.lower.items():
                np.testing.assert_array_equal(bounds[:past, n], other.models[name].lower[level][:past, n])


def test_appended_rows_change_nothing() -> None:
    series = read_long(_long(_walks(3, 120, 4))).series
    part = [replace(one, times=one.times[:100], values=one.values[:100]) for one in series]
    first = np.array([60, 70, 80])
    for model in build(["naive2", "arima", "ensemble"]).values():
        whole, cut = (roll(model, some, first, 20, 3, 7).forecast for some in (series, part))
        np.testing.assert_array_equal(whole.mean, cut.mean)
        np.testing.assert_array_equal(whole.sd, cut.sd)


def test_figures_by_hand() -> None:
    y = np.array([1.0, 3.0, 2.0, 4.0, 4.0, 7.0])
    found = evaluate(read_long(_long({"a": y})), build(["naive"]), Design(1, test=0.3))
    assert found.first.tolist() == [5]
    figures = found.summary()["models"]["naive"]
    assert figures["mae"] == figures["rmse"] == 3.0
    assert figures["mase"] == pytest.approx(3.0 / (5 / 4))
    assert figures["rmsse"] == pytest.approx(3.0 / np.sqrt(9 / 4))
    assert figures["smape"] == pytest.approx(200 * 3 / 11)
    assert figures["theil_u"] == 1.0
    rows = found.rows()
    assert rows[["model", "series", "origin", "step", "target_time", "mean", "actual"]].to_numpy().tolist() == [
        ["naive", "a", 5, 1, 5, 4.0, 7.0]
    ]


def test_intervals_hold_their_coverage_where_the_models_do_not() -> None:
    """Errors are far from normal and their size doubles in the middle."""
    rng = np.random.default_rng(6)
    scale = np.where(np.arange(600) < 450, 1.0, 2.0)
    series = {f"S{n}": 50 + (scale * rng.standard_t(3, size=600) + 0.3).cumsum() for n in range(8)}
    found = evaluate(read_long(_long(series)), build(["ewma"]), Design(3)).summary()["models"]
    for name in ("naive", "ewma"):
        assert found[name]["coverage80"] == pytest.approx(0.80, abs=0.03)
        assert found[name]["coverage95"] == pytest.approx(0.95, abs=0.02)


def test_short_series_borrow_their_intervals_from_the_panel() -> None:
    rng = np.random.default_rng(2)
    series = {f"S{n:03}": 20 + rng.exponential(size=24).cumsum() for n in range(150)}  # skewed errors
    found = evaluate(read_long(_long(series)), build(["drift"]), Design(4)).summary()["models"]["drift"]
    assert found["coverage80"] == pytest.approx(0.8, abs=0.07)  # .86: the errors they borrow are of shorter pasts
    assert found["coverage95"] == pytest.approx(0.95, abs=0.04)
    assert found["dm_t_vs_naive"] < -5


def test_the_verdict_says_when_nothing_beats_no_change() -> None:
    table = read_long(_long(_walks(6, 200, 9)))
    summary = evaluate(table, build(["drift", "ewma"]), Design(1)).summary()
    assert summary["verdict"].startswith("No model beats no change: Theil's U")
    assert summary["models"]["naive"]["dm_t_vs_naive"] == 0
    trending = read_long(_long({"a": np.arange(200.0) + np.random.default_rng(0).normal(size=200)}))
    summary = evaluate(trending, build(["drift"]), Design(5)).summary()
    assert summary["verdict"].startswith("drift beats no change")
    assert summary["models"]["drift"]["dm_t_vs_naive"] < -2


def _figures(u: float, t: float, p: float) -> dict[str, float]:
    return {"theil_u": u, "dm_t_vs_naive": t, "dm_p_vs_naive": p}


def test_the_best_of_many_models_has_to_be_better_than_luck_makes_it() -> None:
    one = {"naive": _figures(1, 0, 1), "a": _figures(0.99, -2.2, 0.03)}
    assert verdict(one, 100, 1).startswith("a beats no change: Theil's U 0.990, Diebold-Mariano t -2.2.")
    many = one | {name: _figures(1.0, 0.1, 0.9) for name in "bcde"}
    assert "p 0.15 as the best of 5 models" in verdict(many | {"a": _figures(0.9, -2.2, 0.03)}, 100, 1)
    assert "may be luck" in verdict(many | {"a": _figures(0.9, -2.2, 0.03)}, 100, 1)
    assert verdict(many, 100, 1).startswith("No model beats no change")


def test_the_best_of_five_useless_models_is_seldom_told_as_better() -> None:
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(2000):
        t = rng.normal(size=5)
        models = {str(k): _figures(1 + 0.02 * t[k], t[k], 2 * norm.sf(abs(t[k]))) for k in range(5)}
        said = verdict({"naive": _figures(1, 0, 1), **models}, 100, 1)
        told += " beats no change" in said and not said.startswith("No model")
    assert told / 2000 <= 0.04  # half of p .05, for only the better side counts; an uncorrected -1.96 gives .12


@pytest.mark.parametrize(("origins", "series"), [(1, 1), (3, 20), (29, 29)])
def test_few_origins_of_few_series_decide_nothing(origins: int, series: int) -> None:
    models = {"naive": _figures(1, 0, 1), "a": _figures(0.5, -9, 1e-9)}
    said = verdict(models, origins, series)
    assert "too few to say" in said
    assert "liquid" not in said
    assert "as if they were independent" in verdict(models, origins, 30)


def test_liquid_markets_are_told_of_only_after_many_origins_and_near_one() -> None:
    assert "liquid markets" in verdict({"naive": _figures(1, 0, 1), "a": _figures(0.99, -1, 0.3)}, 30, 1)
    assert "liquid" not in verdict({"naive": _figures(1, 0, 1), "a": _figures(0.99, -1, 0.3)}, 3, 500)
    assert verdict({"naive": _figures(1, 0, 1), "a": _figures(1.5, 4, 0.0)}, 100, 1).endswith("worse than no change.")


def test_what_has_no_figure_is_told_in_the_notes() -> None:
    still = {f"C{n}": np.full(20, 5.0) for n in range(2)}
    notes = evaluate(read_long(_long(still)), build(["drift"]), Design(6)).summary()["notes"]
    assert notes == {"series_without_a_scale_for_mase": 2, "series_that_diebold_mariano_cannot_judge": 2}
    short = evaluate(read_long(_long(_walks(2, 20, 0))), build(["drift"]), Design(50))
    assert short.summary()["notes"]["series_shorter_than_the_horizon_and_two_values"] == 2
    assert short.first.tolist() == [14, 19]  # there is no room for a horizon: the usual share is forecast


def test_few_series_are_tested_over_time() -> None:
    found = evaluate(read_long(_long(_walks(2, 60, 3))), build(["drift"]), Design(2)).summary()
    assert found["origins"] < 30
    assert found["models"]["drift"]["dm_t_vs_naive"] is not None
    assert "series_that_diebold_mariano_cannot_judge" not in found["notes"]


def test_refits_are_as_many_as_a_minute_allows() -> None:
    assert Design(1).every(np.array([40, 200]), 60) == 12
    assert Design(1).every(np.full(200, 240), 150) == 72
    assert Design(1).every(np.full(3_000, 500), 250) == 100
    assert Design(1).every(np.array([50, 1_000_000]), 500_000) == 10_000  # or an evaluation is quadratic in the rows
    assert Design(1, refit_every=7).every(np.array([1_000_000]), 500_000) == 7


@pytest.mark.parametrize("name", ["constant", "three", "zero run", "late start", "mixed"])
def test_odd_series_are_evaluated(name: str) -> None:
    rng = np.random.default_rng(0)
    holes = rng.normal(size=60).cumsum()
    holes[20:45] = np.nan
    series = {
        "constant": {"a": np.full(40, 5.0)},
        "three": {"a": np.array([1.0, 2.0, 4.0])},
        "zero run": {"a": np.r_[np.zeros(50), rng.normal(size=10)]},
        "late start": {"a": np.r_[np.full(30, np.nan), rng.normal(size=20)]},
        "mixed": {"a": holes, "b": np.array([1.0, 2.0, 4.0]), "c": np.full(40, -3.0), "d": np.arange(50.0) ** 2},
    }[name]
    found = evaluate(read_long(_long(series)), build(["drift", "ewma", "arima", "ensemble"]), Design(4))
    summary = found.summary()
    assert summary["n_series"] == len(series)
    for figures in summary["models"].values():
        assert figures["mae"] is not None
        assert 0 <= figures["coverage95"] <= 1
    for judged in found.models.values():
        inside = np.isfinite(judged.forecast.mean)
        assert (judged.lower[0.95][inside] <= judged.lower[0.8][inside]).all()
        assert (judged.upper[0.8][inside] <= judged.upper[0.95][inside]).all()
    json.dumps(summary, allow_nan=False)


def test_prices_of_real_stocks_are_close_to_a_random_walk() -> None:
    file = _SHARED / "market/daily/sp500_20stocks_adjclose_1990_2012.csv.gz"
    if not file.exists():
        pytest.skip("the shared data folder is absent")
    wide = pd.read_csv(file, parse_dates=["Date"]).iloc[-700:, :5]
    table = read_long(wide.melt("Date", var_name="series", value_name="y").rename(columns={"Date": "timestamp"}))
    summary = evaluate(table, build(["arima", "ensemble"]), Design(1)).summary()
    assert summary["models"]["ensemble"]["theil_u"] == pytest.approx(1, abs=0.02)
    assert summary["models"]["ensemble"]["coverage80"] == pytest.approx(0.8, abs=0.04)
    assert "about 1" in summary["verdict"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, output = tmp_path / "in.parquet", tmp_path / "out.csv"
    _long(_walks(2, 60, 1)).to_parquet(file)
    arguments = ["forecast", "evaluate", "--input", str(file), "--horizon", "3"]
    assert cli.main([*arguments, "--models", "naive, arima", "--output", str(output), "--json"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert summary["n_series"] == 2
    assert list(summary["models"]) == ["naive", "arima"]
    keys = {"rmse", "mae", "mase", "smape", "crps", "coverage80", "coverage95", "dm_t_vs_naive"}
    assert all(keys <= set(figures) for figures in summary["models"].values())
    assert "arima: 20 of 20 origins" in said.err
    assert set(pd.read_csv(output)["model"]) == {"naive", "arima"}
    assert cli.main([*arguments, "--models", "drift"]) == 0
    assert "Theil's U" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--models", "arma"], "Did you mean 'arima'"),
        (["--models", ","], "No model is named"),
        (["--test", "1.5"], "Shares"),
        (["--horizon", "0"], "--horizon"),
        (["--output", "no/folder/x.csv"], "cannot be written"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    file = tmp_path / "in.csv"
    _long(_walks(1, 30, 1)).to_csv(file, index=False)
    arguments = ["forecast", "evaluate", "--input", str(file), "--horizon", "1", "--models", "naive", *extra]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]


def test_series_knows_its_unit_of_scale() -> None:
    one = Series("a", np.arange(3), np.arange(3.0), 0)
    assert (one.scaled_by, replace(one, season=12).scaled_by) == (1, 12)
    found = evaluate(Table((one,)), build(["naive"]), Design(1))
    assert list(found.models) == [BENCHMARK]
