"""Fitting: published estimates, known truths, spurious optima, bad series."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qts import cli
from qts.errors import ConfigError, DataError
from qts.regime.fit import choose_kind, choose_states, fit
from qts.regime.forward import log_likelihood
from qts.regime.hmm import candidates


def gnp() -> np.ndarray:
    """Quarterly growth of US GNP 1951 to 1984, as in Hamilton (1989); it comes with statsmodels' tests."""
    spec = importlib.util.find_spec("statsmodels")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "tsa/regime_switching/tests/test_markov_autoregression.py"
    for statement in ast.parse(file.read_text()).body:  # importing the file would declare its tests' marks
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "rgnp":
            return np.array(ast.literal_eval(statement.value))
    pytest.skip("this version of statsmodels ships no GNP series")


def switching_series(length: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns and states of a calm and a stressed regime."""
    rng = np.random.default_rng(seed)
    draws, state = rng.random(length), np.zeros(length, int)
    for t in range(1, length):
        stay = (0.99, 0.96)[state[t - 1]]
        state[t] = state[t - 1] if draws[t] < stay else 1 - state[t - 1]
    return np.where(state == 0, 0.0006, -0.001) + np.where(state == 0, 0.006, 0.02) * rng.normal(size=length), state


def test_hamiltons_gnp():
    """Hamilton (1989), table I; his numbers by statsmodels to their digits. -182.5 is the optimum to be missed."""
    found = fit(gnp(), 2, "hamilton")
    assert found.log_likelihood == pytest.approx(-181.263, abs=0.002)
    assert found.regimes.transition[0, 0] == pytest.approx(0.7547, abs=0.001)
    assert found.regimes.transition[1, 0] == pytest.approx(0.0959, abs=0.001)
    np.testing.assert_allclose(found.regimes.mean, [-0.3588, 1.1635], atol=2e-3)
    np.testing.assert_allclose(found.regimes.ar, [0.0135, -0.0575, -0.2470, -0.2129], atol=2e-3)
    np.testing.assert_allclose(found.regimes.sd, 0.7690, atol=1e-3)
    assert found.regimes.names == ("low", "high")
    assert found.observations == 131


def test_gnp_growth_calls_for_hamiltons_model_and_returns_do_not():
    kinds = [f.kind for f in choose_kind(gnp(), 2, starts=6)]
    assert kinds == ["hamilton", "hmm"]
    assert choose_kind(switching_series(300, 1)[0], 2, starts=6)[0].kind == "hmm"
    assert len(choose_kind(switching_series(900, 1)[0], 2, starts=2)) == 1
    assert len(choose_kind(gnp(), 3, starts=2)) == 1


def test_it_finds_the_regimes_that_made_a_series():
    y, state = switching_series(4000, 0)
    found = choose_states(y, 3, starts=4)
    model = found.regimes
    assert model.states == 2
    np.testing.assert_allclose(model.sd, [0.006, 0.02], rtol=0.08)
    np.testing.assert_allclose(np.diag(model.transition), [0.99, 0.96], atol=0.012)
    from qts.regime.forward import filter_series

    said = filter_series(model, y).probability.argmax(axis=1)
    assert (said == state).mean() > 0.95


def test_one_state_is_chosen_for_plain_noise():
    y = np.random.default_rng(2).normal(3, 5, 800)
    found = choose_states(y, 3, starts=3)
    assert found.regimes.states == 1
    assert found.log_likelihood == pytest.approx(-400 * (np.log(2 * np.pi * y.var()) + 1))


@pytest.mark.parametrize("kind", ["hmm", "markov_switching"])
def test_the_fit_is_an_optimum_and_in_the_series_units(kind):
    y, _ = switching_series(600, 3)
    found = fit(y, 2, kind, starts=4)
    assert found.log_likelihood == pytest.approx(log_likelihood(found.regimes, y))
    scaled = fit(100 + 1e6 * y, 2, kind, starts=4)
    assert scaled.log_likelihood == pytest.approx(found.log_likelihood - 600 * np.log(1e6), abs=1e-3)
    np.testing.assert_allclose(scaled.regimes.sd, 1e6 * found.regimes.sd, rtol=1e-3)
    for k in range(2):
        for factor in (0.97, 1.03):
            sd = found.regimes.sd.copy()
            sd[k] *= factor
            worse = type(found.regimes)(**{**vars(found.regimes), "sd": sd})
            assert log_likelihood(worse, y) < found.log_likelihood


def test_more_starts_are_never_worse_and_a_seed_repeats():
    y, _ = switching_series(400, 4)
    few, many, again = (fit(y, 3, starts=n, seed=5) for n in (2, 12, 12))
    assert many.log_likelihood >= few.log_likelihood - 1e-2
    assert again.regimes.to_params() == many.regimes.to_params()


def test_a_state_for_one_outlier_is_no_regime():
    y, _ = switching_series(500, 6)
    y = y / y.std()
    y[250] = 40.0
    rng = np.random.default_rng(0)
    assert all(np.isfinite(log_likelihood(model, y)) for model in candidates(y, 3, 8, rng))
    found = fit(y, 2)
    assert found.regimes.sd.min() > 0.01
    assert np.isfinite(found.log_likelihood)


def test_a_bad_price_takes_no_name_from_a_regime(tmp_path, capsys):
    """A 4-for-3 split not adjusted for: by BIC a state of its own pays, and would be the calm one, for it has no sd."""
    rng = np.random.default_rng(0)
    sd = np.where(np.repeat([0, 1, 0, 1], 250) == 0, 0.006, 0.02)
    returns = sd * rng.normal(size=1000)
    plain = choose_states(returns).regimes
    returns[600] = np.log(3 / 4)
    found = choose_states(returns).regimes
    assert found.names == plain.names == ("calm", "stressed")
    np.testing.assert_allclose(found.sd[0], plain.sd[0], rtol=0.1)
    pd.DataFrame({"r": returns}).to_csv(tmp_path / "r.csv", index=False)
    notes = []
    for states in (2, 3):  # a number that was asked for is kept, but not in silence
        call = ["regime", "fit", "--input", str(tmp_path / "r.csv"), "--column", "r", "--states", str(states), "--json"]
        assert cli.main(call) == 0
        notes.append(json.loads(capsys.readouterr().out)["notes"])
    assert [len(each) for each in notes] == [0, 1]
    assert "State calm explains 1.0 observations" in notes[1][0]


@pytest.mark.parametrize(
    ("values", "states", "message"),
    [
        (np.ones(100), 2, "does not move"),
        (np.arange(3.0), 2, "3 finite values; 2 states need 20"),
        (np.full(50, np.nan), 2, "0 finite values"),
        (np.r_[np.zeros(60), np.inf], 2, "does not move"),
    ],
)
def test_series_without_regimes_are_refused(values, states, message):
    with pytest.raises(DataError, match=message):
        fit(values, states)


def test_models_that_make_no_sense_are_refused():
    y, _ = switching_series(100, 7)
    for arguments, message in (
        ({"states": 2, "kind": "hmn"}, "There is no regime model"),
        ({"states": 9}, "expected 1 to 8"),
        ({"states": 2, "order": 1}, "hmm has order 0"),
        ({"states": 8, "kind": "hamilton"}, "histories"),
        ({"states": 1, "kind": "hamilton"}, "1 states with 4 lags were asked for; expected 2 to 8"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(y, **arguments)


def test_a_model_with_lags_needs_a_number_of_states(tmp_path, capsys):
    """Three states and four lags have 243 histories: a choice among such models would take many minutes."""
    file = tmp_path / "gnp.csv"
    pd.DataFrame({"growth": gnp()}).to_csv(file, index=False)
    code, _, said = run(capsys, "--input", file, "--column", "growth", "--model", "hamilton")
    assert code == 2
    assert said.strip().endswith("say how many hamilton has: --states.")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict, str]:
    code = cli.main(["regime", "fit", *map(str, arguments), "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


def test_the_command_reproduces_hamilton(tmp_path, capsys):
    file, out = tmp_path / "gnp.csv", tmp_path / "out.csv"
    pd.DataFrame({"quarter": [f"Q{n}" for n in range(135)], "growth": gnp(), "other": 1.0}).to_csv(file, index=False)
    code, told, _ = run(capsys, "--input", file, "--column", "growth", "--states", 2, "--output", out)
    assert code == 0
    assert told["log_likelihood"] == pytest.approx(-181.263, abs=0.002)
    assert told["model"] == "hamilton"
    assert told["transition"][1][0] == pytest.approx(0.0959, abs=0.001)
    assert [set(state) >= {"mean", "sd", "expected_duration"} for state in told["states"]] == [True, True]
    rows = pd.read_csv(out)
    assert list(rows) == ["quarter", "growth", "p_low", "p_high", "regime"]
    assert len(rows) == 135
    np.testing.assert_allclose(rows[["p_low", "p_high"]].sum(axis=1), 1)


def test_saved_parameters_filter_the_same_and_appended_rows_change_nothing(tmp_path, capsys):
    y, _ = switching_series(700, 8)
    y[[5, 300]] = np.nan
    short, long = tmp_path / "short.csv", tmp_path / "long.parquet"
    pd.DataFrame({"r": y[:500]}).to_csv(short, index=False)
    pd.DataFrame({"r": y}).to_parquet(long)
    saved, a, b, c = (tmp_path / name for name in ("p.json", "a.csv", "b.csv", "c.csv"))
    common = ("--column", "r", "--starts", 4)
    _, first, _ = run(
        capsys, "--input", short, *common, "--states", 2, "--model", "hmm", "--save", saved, "--output", a
    )
    _, second, _ = run(capsys, "--input", long, "--column", "r", "--params", saved, "--output", b)
    _, third, _ = run(capsys, "--input", long, *common, "--states", 2, "--train", 500, "--output", c)
    assert first["missing"] == 2
    assert first["states"] == second["states"]
    assert third["model"] == "hmm"
    past, whole, trained = pd.read_csv(a), pd.read_csv(b), pd.read_csv(c)
    pd.testing.assert_frame_equal(past, whole[:500])
    assert third["log_likelihood"] == pytest.approx(first["log_likelihood"], abs=0.01)
    np.testing.assert_allclose(trained["p_calm"], whole["p_calm"], atol=1e-3)


def test_rows_that_are_dated_are_put_in_order(tmp_path, capsys):
    y, _ = switching_series(300, 8)
    dated = pd.DataFrame({"Date": pd.bdate_range("2001-01-01", periods=300).strftime("%d/%m/%Y"), "r": y})
    mess = pd.concat([dated, dated[40:50]]).sample(frac=1, random_state=0)
    found = []
    for name, rows in (("plain", dated), ("mess", mess)):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
        out = tmp_path / f"{name}_out.csv"
        arguments = ("--input", tmp_path / f"{name}.csv", "--column", "r", "--states", 2, "--model", "hmm")
        _, told, _ = run(capsys, *arguments, "--starts", 4, "--output", out)
        found.append((told["notes"], told["log_likelihood"], pd.read_csv(out)))
    assert found[0][0] == []
    assert found[1][0] == [
        "10 rows left out: they repeat another row whole.",
        "Rows were not in order of 'Date' and have been sorted.",
    ]
    assert found[0][1] == found[1][1]
    pd.testing.assert_frame_equal(found[0][2], found[1][2])


def test_times_that_do_not_tell_rows_apart_leave_them_as_they_are(tmp_path, capsys):
    y, _ = switching_series(300, 8)
    pd.DataFrame({"time": np.arange(300) % 7, "r": y}).to_csv(tmp_path / "x.csv", index=False)
    out = tmp_path / "out.csv"
    arguments = ("--input", tmp_path / "x.csv", "--column", "r", "--states", 2, "--model", "hmm", "--starts", 2)
    _, told, _ = run(capsys, *arguments, "--output", out)
    assert told["notes"] == []
    np.testing.assert_allclose(pd.read_csv(out)["r"], y)


def test_two_values_are_no_point_masses(tmp_path, capsys):
    """An autoregression explains them without error, at a likelihood that means nothing."""
    values = np.random.default_rng(0).integers(0, 2, 80)
    pd.DataFrame({"r": values}).to_csv(tmp_path / "x.csv", index=False)
    code, told, _ = run(capsys, "--input", tmp_path / "x.csv", "--column", "r", "--states", 2, "--starts", 2)
    assert code == 0
    assert told["model"] == "hmm"
    assert min(state["sd"] for state in told["states"]) > 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "nope.csv", "--column", "r"], "There is no file nope.csv"),
        (["--input", "x.csv", "--column", "rr"], "Did you mean 'r'"),
        (["--input", "x.csv", "--column", "word"], "no numbers, the first 'a'"),
        (["--input", "x.csv", "--column", "r", "--states", "2", "--model", "hm"], "Did you mean 'hmm'"),
        (["--input", "x.csv", "--column", "r", "--states", "0"], "--states"),
        (["--input", "x.csv", "--column", "r", "--states", "2"], "2 finite values"),
        (["--input", "x.csv", "--column", "r", "--params", "no.json"], "There is no file no.json"),
        (["--input", "x.csv", "--column", "r", "--params", "x.csv"], "cannot be read as JSON"),
        (["--input", "x.csv", "--column", "r", "--params", "bad.json"], "Fit them again"),
        (["--input", "x.csv", "--column", "r", "--params", "bad.json", "--states", "2"], "leave --states"),
        (["--input", "x.csv", "--column", "r", "--order", "1"], "--order needs --states"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"r": [1.0, 2.0], "word": ["a", "b"]}).to_csv("x.csv", index=False)
    (tmp_path / "bad.json").write_text('{"mean": [0]}')
    code, told, err = run(capsys, *arguments)
    assert code == 2
    assert not told
    assert message in err
    assert len(err.strip().splitlines()) == 1
