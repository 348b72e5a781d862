"""`qts volatility evaluate`: the figures on real data, and tables of every kind that go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.cli import main
from qts.errors import DataError, UnknownColumn
from qts.forecast.volatility.evaluation import LEAST_TRAIN, default_train, evaluate, search_rows
from qts.forecast.volatility.models import build
from qts.forecast.volatility.table import Columns, read_days

_SHARED = Path(__file__).resolve().parents[2] / "../shared/data/volatility/dji_realized_oxfordman_v03.csv"


def _table(days: int = 260, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    log = np.zeros(days)
    for t in range(1, days):
        log[t] = 0.95 * log[t - 1] + 0.3 * rng.normal()
    variance = 1e-4 * np.exp(log)
    share = rng.beta(5, 5, days)
    return pd.DataFrame(
        {
            "day": pd.bdate_range("2001-01-01", periods=days).strftime("%Y-%m-%d"),
            "rv": variance,
            "rq": 1.1 * variance**2,
            "down": share * variance,
            "up": (1 - share) * variance,
            "r": np.sqrt(variance) * rng.normal(size=days),
        }
    )


_ALL = Columns("day", "rv", "rq", "down", "up", "r")


def _run(capsys: pytest.CaptureFixture[str], table: pd.DataFrame, tmp_path: Path, *options: str) -> dict:
    file = tmp_path / "days.csv"
    table.to_csv(file, index=False)
    code = main(["volatility", "evaluate", "--input", str(file), "--date", "day", "--rv", "rv", "--json", *options])
    assert code == 0
    return json.loads(capsys.readouterr().out)


def test_the_contract_of_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ("--rq", "rq", "--rs-minus", "down", "--rs-plus", "up", "--returns", "r", "--train", "200")
    daily = tmp_path / "daily.csv"
    found = _run(capsys, _table(), tmp_path, *options, "--output", str(daily))
    assert found["n_test"] == 60
    assert found["first_test_day"] == _table()["day"][200]
    assert set(found["models"]) == {model.name for model in build()} | {"combination"}
    assert found["chosen"] in set(found["models"]) - {"random_walk", "ewma"}
    for figures in found["models"].values():
        assert figures.keys() >= {
            "rmse", "qlike", "rmse_cut_vs_random_walk", "rmse_cut_vs_ewma", "rmse_cut_vs_har",
            "dm_qlike_t_vs_random_walk", "coverage90", "coverage90_worst250",
        }  # fmt: skip
        assert np.isfinite([v for v in figures.values() if not isinstance(v, list)]).all()
        low, high = figures["rmse_cut_vs_random_walk_interval"]
        assert low <= figures["rmse_cut_vs_random_walk"] <= high
    walk = found["models"]["random_walk"]
    variance = _table()["rv"].to_numpy()
    assert walk["rmse"] == pytest.approx(np.sqrt(np.mean(np.diff(variance[199:]) ** 2)))
    assert (walk["rmse_cut_vs_random_walk"], walk["dm_qlike_t_vs_random_walk"]) == (0, 0)
    rows = pd.read_csv(daily)
    np.testing.assert_allclose(rows["random_walk"], variance[199:-1])
    inside = (rows["har_lower90"] <= rows["variance"]) & (rows["variance"] <= rows["har_upper90"])
    assert inside.mean() == pytest.approx(found["models"]["har"]["coverage90"])


def test_a_bare_table_drops_models_with_notes_and_prints_a_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = _run(capsys, _table()[["day", "rv"]], tmp_path, "--models", "log_har,harq,garch")
    assert set(found["models"]) == {"random_walk", "ewma", "har", "log_har"}
    notes = " ".join(found["notes"])
    assert "--returns" in notes
    assert "--rq" in notes
    assert main(["volatility", "evaluate", "--input", str(tmp_path / "days.csv"), "--date", "day", "--rv", "rv"]) == 0
    shown = capsys.readouterr().out
    assert "log_hexp" in shown
    assert "95% confidence" in shown


def test_disorder_repeats_and_unusable_days_change_nothing_but_the_notes() -> None:
    clean = _table()
    whole = read_days(clean, _ALL)
    dirty = pd.concat([clean, clean.iloc[[5, 9]].assign(rv=7.0)]).sample(frac=1, random_state=1)
    kept_last = pd.concat([clean.iloc[[5, 9]].assign(rv=7.0), clean, pd.DataFrame({"day": ["never"], "rv": [1.0]})])
    bad = pd.DataFrame(
        {"day": ["2000-01-03", "2000-01-04", "2000-01-05", "2000-01-06"], "rv": [np.nan, 0.0, -1e-4, np.inf], "r": 0.0}
    )
    found = read_days(pd.concat([bad, kept_last]), _ALL)
    assert found.dates == whole.dates
    np.testing.assert_array_equal(found.measures.variance, whole.measures.variance)
    np.testing.assert_allclose(found.measures.get("returns"), whole.measures.get("returns"))
    told = " ".join(found.notes)
    for part in (
        "sorted",
        "2 rows left out: a later row",
        "no readable date",
        "missing",
        "zero",
        "negative",
        "infinite",
    ):
        assert part in told
    assert len(read_days(dirty, _ALL).dates) == 260


def test_returns_from_closes_span_the_days_that_are_left_out() -> None:
    table = _table()
    table["close"] = 50 * np.exp(table["r"].cumsum())
    table.loc[100:102, "rv"] = np.nan
    closes = read_days(table, Columns("day", "rv", close="close")).measures.get("returns")[:, 0]
    direct = read_days(table, Columns("day", "rv", returns="r")).measures.get("returns")[:, 0]
    np.testing.assert_allclose(closes[1:], direct[1:], atol=1e-12)
    assert closes[100] == pytest.approx(table["r"][100:104].sum())
    derived = read_days(table.drop(columns="r"), Columns("day", "rv"))
    np.testing.assert_array_equal(derived.measures.get("returns")[:, 0], closes)
    assert "Returns are taken from the column 'close'." in derived.notes


def test_one_semivariance_gives_the_other_and_holes_are_filled_neutrally() -> None:
    table = _table()
    one = read_days(table, Columns("day", "rv", rs_minus="down")).measures
    np.testing.assert_allclose(one.get("rs_plus")[:, 0], table["up"])
    np.testing.assert_allclose(
        read_days(table, Columns("day", "rv", rs_plus="up")).measures.get("rs_minus")[:, 0], table["down"]
    )
    table.loc[[0, 50], ["rq", "down"]] = np.nan
    holes = read_days(table, _ALL)
    assert holes.measures.get("quarticity")[50, 0] == pytest.approx(1.1 * table["rv"][50] ** 2)
    assert holes.measures.get("rs_plus")[50, 0] == pytest.approx(table["rv"][50] / 2)
    assert "'rq' is unusable on 2 days" in " ".join(holes.notes)
    table.loc[:200, "rq"] = -1.0
    assert not read_days(table, _ALL).measures.has(("quarticity",))


@pytest.mark.parametrize("given", [20010102, 3, "2001-01-02T10:00:00Z", "02/01/2001"])
def test_dates_of_several_kinds(given: object) -> None:
    table = _table()
    if given == "02/01/2001":
        table["day"] = pd.to_datetime(table["day"]).dt.strftime("%d/%m/%Y")
    elif isinstance(given, str):
        table["day"] = pd.to_datetime(table["day"]).dt.tz_localize("UTC") + pd.Timedelta(hours=10)
    elif given == 3:
        table["day"] = np.arange(len(table)) + 2
    else:
        table["day"] = table["day"].str.replace("-", "").astype(int)
    dates = read_days(table, _ALL).dates
    assert dates[1] == {20010102: "2001-01-02", 3: "3", "02/01/2001": "2001-01-02"}.get(given, "2001-01-02T10:00:00")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.iloc[:3], (), "There are 3 usable days"),
        (lambda t: t.assign(rv=1e-4), (), "constant"),
        (lambda t: t.assign(rv=0.0), (), "holds no positive number"),
        (lambda t: t.assign(rv="x"), (), "holds no positive number"),
        (lambda t: t.assign(day="x"), (), "no date that can be read"),
        (lambda t: t, ("--train", "20"), "--train is 20"),
        (lambda t: t, ("--train", "259"), "--train is 259"),
        (lambda t: t, ("--returns", "rr"), "Did you mean 'r'"),
        (lambda t: t, ("--returns", "r", "--close", "up"), "expected one of them"),
        (lambda t: t, ("--models", "arch"), "Did you mean 'garch'"),
        (lambda t: t.iloc[:0], (), "no rows"),
        (lambda t: pd.concat([t, _table(seed=1)]), (), "several instruments"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "days.parquet"
    change(_table()).to_parquet(file)
    code = main(["volatility", "evaluate", "--input", str(file), "--date", "day", "--rv", "rv", "--json", *options])
    output = capsys.readouterr()
    assert code == 2
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_a_column_that_only_some_models_need_may_be_absent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ("--rq", "rqq", "--rs-minus", "down", "--rs-plus", "rises")
    found = _run(capsys, _table(), tmp_path, *options)
    assert "harq" not in found["models"]
    assert {"har_rs", "log_har_rs"} <= set(found["models"])  # the variance less the falls gives the rises
    assert found["notes"][:2] == ["There is no column 'rqq'. Did you mean 'rq'?", "There is no column 'rises'."]
    found = _run(capsys, _table().drop(columns=["down", "up"]), tmp_path, "--rs-minus", "down", "--rs-plus", "up")
    assert "har_rs" not in found["models"]


def test_unknown_columns_and_constant_test_windows() -> None:
    with pytest.raises(UnknownColumn, match="Did you mean 'rv'"):
        read_days(_table(), Columns("day", "RV"))
    table = _table()
    table.loc[220:, "rv"] = 1e-4
    with pytest.raises(DataError, match="40 test days"):
        evaluate(read_days(table, _ALL).measures, build(), 220)


def test_the_shortest_table_that_works(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table = _table(LEAST_TRAIN + 20)
    found = _run(capsys, table, tmp_path, "--returns", "r", "--rq", "rq", "--rs-minus", "down", "--rs-plus", "up")
    assert found["n_test"] == 20
    assert set(found["models"]) == {model.name for model in build()} | {"combination"}
    assert default_train(len(table)) == LEAST_TRAIN
    assert default_train(5000) == 2000


@pytest.mark.parametrize("unit", [1e-140, 1e4, 1e140])
def test_the_unit_of_the_variance_does_not_matter(unit: float) -> None:
    table = _table()
    other = table.assign(**{name: table[name] * unit for name in ("rv", "down", "up")}, rq=table["rq"] * unit * unit)
    ours, theirs = (evaluate(read_days(t, _ALL).measures, build(), 200) for t in (table, other))
    assert theirs.chosen == ours.chosen
    for name, figures in ours.figures.items():
        found = dict(theirs.figures[name])
        assert found.pop("rmse") / unit == pytest.approx(figures["rmse"], rel=1e-6)
        for key, value in found.items():
            assert value == pytest.approx(figures[key], rel=1e-4, abs=1e-4)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(221, 259))
def test_later_days_change_no_forecast_no_interval_and_no_choice(seed: int, cut: int) -> None:
    table = _table(seed=seed)
    table.loc[[20, 210], "rq"] = np.nan
    whole, part = (evaluate(read_days(t, _ALL).measures, build(), 200) for t in (table, table.iloc[:cut]))
    assert whole.chosen == part.chosen
    for name, forecast in part.forecast.items():
        np.testing.assert_array_equal(whole.forecast[name][: cut - 200], forecast)
        np.testing.assert_array_equal(whole.lower[name][: cut - 200], part.lower[name])
        np.testing.assert_array_equal(whole.upper[name][: cut - 200], part.upper[name])


def test_one_wild_day_leaves_every_figure_finite() -> None:
    for day, size in ((230, 1e6), (40, 1e6), (40, 1e-12)):
        table = _table()
        table.loc[day, "rv"] *= size
        found = evaluate(read_days(table, _ALL).measures, build(), 200)
        for figures in found.figures.values():
            assert np.isfinite([v for v in figures.values() if not isinstance(v, list)]).all()


def test_still_prices_drop_the_models_of_returns() -> None:
    days = read_days(_table().assign(r=0.0), _ALL)
    assert not days.measures.has(("returns",))
    assert "never moves" in " ".join(days.notes)


def _garman_klass(name: str) -> pd.DataFrame:
    from arch.data import nasdaq, sp500

    data = {"sp500": sp500, "nasdaq": nasdaq}[name].load().dropna()
    opened, high, low, close = (data[column].to_numpy(np.float64) for column in ("Open", "High", "Low", "Close"))
    variance = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(close / opened) ** 2
    return pd.DataFrame({"day": data.index, "rv": variance, "close": close})


@pytest.mark.parametrize("name", ["sp500", "nasdaq"])
def test_the_next_days_variance_of_indices(name: str) -> None:
    """From 1999, chosen on 2003 to 2006, judged on 2007 to 2018, Garman and Klass's variance (1980)."""
    days = read_days(_garman_klass(name), Columns("day", "rv", close="close"))
    train = sum(date < "2007" for date in days.dates)
    found = evaluate(days.measures, build(["log_hexp", "har_leverage", "hexp_leverage"]), train, combined=False)
    best = found.figures[found.chosen]
    # Measured: .274 and .254, t of -13.9 and -11.9, of -5.0 and -5.6 against EWMA.
    assert best["rmse_cut_vs_random_walk"] > 0.17
    assert best["rmse_cut_vs_random_walk_interval"][0] > 0
    assert best["dm_qlike_t_vs_random_walk"] < -3
    assert best["dm_qlike_t_vs_ewma"] < -2
    for figures in found.figures.values():
        assert abs(figures["coverage90"] - 0.9) < 0.015
        assert figures["coverage90_worst250"] >= 0.84
        assert figures["widest_interval"] < 10
    assert best["winkler"] < best["winkler_static"]


def test_realised_variance_of_the_dow() -> None:
    if not _SHARED.exists():
        pytest.skip("the shared data folder is absent")
    days = read_days(pd.read_csv(_SHARED), Columns("date", "rv5", rs_minus="rsv", close="close_price"))
    train = sum(date < "2007" for date in days.dates)
    found = evaluate(days.measures, build(["log_har", "log_har_rs", "har_leverage"]), train, combined=False)
    best = found.figures[found.chosen]
    assert best["rmse_cut_vs_random_walk"] > 0.17
    assert best["dm_qlike_t_vs_random_walk"] < -3
    assert best["dm_qlike_t_vs_ewma"] < -2
    for figures in found.figures.values():
        assert abs(figures["coverage90"] - 0.9) < 0.015
        assert figures["coverage90_worst250"] >= 0.84
        assert figures["winkler"] < figures["winkler_static"]


def test_garch_is_fitted_monthly_and_a_long_past_seldom() -> None:
    assert search_rows(4_400).tolist() == list(range(0, 4_400, 22))
    rows = search_rows(1_000_000)
    assert len(rows) < 1_400
    assert (np.diff(rows) <= np.maximum(22, rows[:-1] / 200)).all()
