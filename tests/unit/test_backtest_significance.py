"""Tests of luck: formulas by hand and against a second source, published figures, size and power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.backtest import significance as s
from qts.backtest.many import block_of, confidence_set, contest, resampled_means
from qts.errors import DataError

rng_of = np.random.default_rng
Array = np.ndarray


def autoregressive(count: int, phi: float, rng: np.random.Generator) -> Array:
    noise, out = rng.normal(0, 0.01, count), np.zeros(count)
    for t in range(1, count):
        out[t] = phi * out[t - 1] + noise[t]
    return out


def test_hac_is_that_of_statsmodels() -> None:
    import statsmodels.api as sm

    returns = autoregressive(500, 0.3, rng_of(0)) + 0.0005
    lags = math.floor(4 * 5 ** (2 / 9))
    fit = sm.OLS(returns, np.ones(500)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True})
    found = s.mean_test(returns)
    assert found.error == pytest.approx(float(fit.bse[0]), rel=1e-9)
    assert found.p == pytest.approx(float(fit.pvalues[0]) / 2, rel=1e-6)


def test_what_does_not_vary_has_no_test() -> None:
    assert math.isnan(s.mean_test(np.zeros(100)).p)
    assert math.isnan(s.mean_test(np.ones(2)).p)
    assert math.isnan(s.ledoit_wolf(np.zeros(50), rng_of(0).normal(size=50)).p)
    assert math.isnan(s.jobson_korkie(np.zeros(50), rng_of(0).normal(size=50)).p)
    assert math.isnan(s.probabilistic_sharpe(np.zeros(50)))


@pytest.mark.parametrize("annual", [0.5, 1.0, 2.0])
def test_los_error(annual: float) -> None:
    """Lo (2002), equation 9 by hand, for 120 months; the error of the annual ratio is sqrt(12) times as large."""
    month = annual / 12**0.5
    returns = rng_of(1).normal(size=120)
    returns = (returns - returns.mean()) / returns.std(ddof=1) + month
    assert s.sharpe_error(returns) * 12**0.5 == pytest.approx(math.sqrt((1 + month**2 / 2) / 120 * 12), rel=1e-9)


def test_errors_of_sharpe_ratios_are_their_spread() -> None:
    """Over many samples: Lo's errors for independent returns, the HAC one for those with memory, too."""
    rng = rng_of(2)
    plain = [rng.normal(0.05, 1, 400) for _ in range(800)]
    spread = np.std([s.sharpe(each) for each in plain])
    assert np.mean([s.sharpe_error(each) for each in plain]) == pytest.approx(spread, rel=0.08)
    memory = [autoregressive(600, 0.4, rng) for _ in range(400)]
    spread = np.std([s.sharpe(each) for each in memory])
    assert np.mean([s.sharpe_error(each) for each in memory]) < 0.75 * spread
    assert np.mean([s.sharpe_error_hac(each) for each in memory]) == pytest.approx(spread, rel=0.15)


def test_deflated_sharpe_as_published() -> None:
    """Bailey and Lopez de Prado (2014), their example: annual ratio 2.5 of 1,250 days, 100 trials of variance 1/2.

    The expected best is .1132 a day; with skew -3 and kurtosis 10 the deflated Sharpe ratio is .9004.
    """
    best = s.expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(0.1132, abs=1e-4)
    ratio, count = 2.5 / 250**0.5, 1250
    spread = 1 + 3 * ratio + (10 - 1) / 4 * ratio**2
    score = (ratio - best) * math.sqrt(count - 1) / math.sqrt(spread)
    assert s.ndtr(score) == pytest.approx(0.9004, abs=1e-3)
    # The same by the function, on returns with that ratio whose own skew and kurtosis are used.
    returns = rng_of(3).normal(size=count)
    returns = (returns - returns.mean()) / returns.std(ddof=1) + ratio
    assert s.deflated_sharpe(returns, 100, 0.5 / 250) == pytest.approx(s.probabilistic_sharpe(returns, best))
    assert s.expected_best_sharpe(1, 1.0) == 0


@settings(max_examples=30, deadline=None)
@given(trials=st.integers(2, 5000), variance=st.floats(1e-6, 1.0))
def test_more_trials_ask_for_more(trials: int, variance: float) -> None:
    assert s.expected_best_sharpe(trials + 1, variance) > s.expected_best_sharpe(trials, variance) > 0


def test_expected_best_of_many_is_what_many_show() -> None:
    draws = rng_of(4).normal(0, 0.3, (4000, 50)).max(axis=1)
    assert s.expected_best_sharpe(50, 0.09) == pytest.approx(draws.mean(), rel=0.02)


@pytest.mark.parametrize("test", [s.jobson_korkie, s.ledoit_wolf])
def test_differences_of_sharpe_ratios_have_their_size_and_find_what_is_there(test: object) -> None:
    rng = rng_of(5)
    false, found = 0, 0
    for _ in range(400):
        common = rng.normal(0.05, 1, 500)
        first, second = (common + rng.normal(0, 0.5, 500) for _ in range(2))
        false += test(first, second).p < 0.05  # type: ignore[operator]
        found += test(first + 0.1, second).p < 0.05  # type: ignore[operator]
    assert false <= 32  # 8% of 400; 5% is nominal
    assert found >= 300


def test_ledoit_wolf_sees_memory_that_jobson_korkie_does_not() -> None:
    rng = rng_of(6)
    rejected = {"jk": 0, "lw": 0}
    for _ in range(200):
        first, second = autoregressive(800, 0.5, rng), autoregressive(800, 0.5, rng)
        rejected["jk"] += s.jobson_korkie(first, second).p < 0.05
        rejected["lw"] += s.ledoit_wolf(first, second).p < 0.05
    assert rejected["jk"] > 40
    assert rejected["lw"] < 0.6 * rejected["jk"]


def test_the_ledoit_wolf_bootstrap_is_its_definition() -> None:
    """Resample by resample, with the moments' covariance matrix written out."""
    rng, block, resamples, bars = rng_of(7), 5, 99, 63
    first, second = rng.normal(0.1, 1, (2, bars))
    found = s.ledoit_wolf_bootstrap(first, second, block, resamples, seed=3)
    starts = rng_of(3).integers(0, bars, (resamples, bars // block))
    larger = 0
    for row in starts:
        index = ((row[:, None] + np.arange(block)) % bars).ravel()
        one, two = first[index], second[index]
        slope = np.array(
            [
                np.mean(one**2) / one.var() ** 1.5,
                -np.mean(two**2) / two.var() ** 1.5,
                -one.mean() / (2 * one.var() ** 1.5),
                two.mean() / (2 * two.var() ** 1.5),
            ]
        )
        moments = np.column_stack([one, two, one**2, two**2])
        zeta = (moments - moments.mean(axis=0)).reshape(-1, block, 4).sum(axis=1) / block**0.5
        error = math.sqrt(slope @ (zeta.T @ zeta / len(zeta)) @ slope / len(index))
        difference = one.mean() / one.std() - two.mean() / two.std()
        larger += abs(difference - found.value) / error >= abs(found.t)
    assert found.p == (larger + 1) / (resamples + 1)
    assert found.t == s.ledoit_wolf(first, second).t


def test_the_ledoit_wolf_bootstrap_agrees_with_hac_where_returns_are_plain_and_many() -> None:
    rng = rng_of(8)
    first = rng.normal(0.05, 1, 3000)
    for gap in (0.0, 0.02, 0.04):
        second = 0.5 * first + rng.normal(gap, 1, 3000)
        hac, boot = s.ledoit_wolf(first, second), s.ledoit_wolf_bootstrap(first, second)
        assert boot.p == pytest.approx(hac.p, abs=0.03)
        assert boot == s.ledoit_wolf_bootstrap(first, second)
        assert s.ledoit_wolf_bootstrap(first, second, seed=1).p == pytest.approx(boot.p, abs=0.04)


def test_the_ledoit_wolf_bootstrap_has_its_size_where_hac_rejects_too_often() -> None:
    """Ten years of months with fat tails and memory, equal Sharpe ratios, a level of 5%."""
    rng, rejected = rng_of(9), {"hac": 0, "bootstrap": 0}
    for _ in range(1000):
        first, second = (_fat_and_slow(120, 0.2, rng) for _ in range(2))
        rejected["hac"] += s.ledoit_wolf(first, second).p < 0.05
        rejected["bootstrap"] += s.ledoit_wolf_bootstrap(first, second, 5, 499).p <= 0.05
    assert 30 <= rejected["bootstrap"] <= 66  # 50 is nominal, 95% of the time 36 to 64
    assert rejected["bootstrap"] < rejected["hac"] - 10


def _fat_and_slow(count: int, phi: float, rng: np.random.Generator) -> Array:
    """An autoregression with innovations of Student's t with 6 degrees of freedom, and a mean."""
    noise, out = rng.standard_t(6, count + 50), np.zeros(count + 50)
    for t in range(1, count + 50):
        out[t] = phi * out[t - 1] + noise[t]
    return out[50:] + 0.2


def test_blocks_that_do_not_fit_are_refused_and_what_does_not_vary_has_no_test() -> None:
    noise = rng_of(0).normal(size=50)
    for block in (0, 13):
        with pytest.raises(DataError, match=f"A block of {block} bars does not fit 4 times into 50 bars; give 1 to 12"):
            s.ledoit_wolf_bootstrap(noise, noise[::-1], block)
    assert math.isnan(s.ledoit_wolf_bootstrap(np.zeros(50), noise).p)
    assert math.isnan(s.ledoit_wolf_bootstrap(noise, noise).p)


def test_overfitting_is_even_odds_for_noise_and_none_for_skill() -> None:
    rng = rng_of(7)
    noise = [s.overfitting_probability(rng.normal(0, 0.01, (640, 10)), 8) for _ in range(20)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.12)
    skill = rng.normal(0, 0.01, (640, 10)) + np.linspace(0, 0.01, 10)
    assert s.overfitting_probability(skill, 8) == 0
    same = np.repeat(rng.normal(size=(640, 1)), 4, axis=1)
    assert s.overfitting_probability(same, 8) == 0.5
    with pytest.raises(DataError, match="even number"):
        s.overfitting_probability(noise_of(7), 7)


def noise_of(columns: int) -> Array:
    return rng_of(0).normal(size=(100, columns))


def test_bootstrap_means_are_centred_and_spread_as_the_stationary_bootstrap_says() -> None:
    """For the mean of a series: Politis and Romano's variance, from its autocovariances."""
    values = autoregressive(400, 0.5, rng_of(8))
    means = resampled_means(values[:, None], 4000, seed=1)[:, 0]
    q, centred = 1 / block_of(400), values - values.mean()
    gamma = np.array([centred[: 400 - k] @ centred[k:] / 400 for k in range(400)])
    lag = np.arange(1, 400)
    weight = (1 - lag / 400) * (1 - q) ** lag + lag / 400 * (1 - q) ** (400 - lag)
    variance = (gamma[0] + 2 * weight @ gamma[1:]) / 400
    assert means.mean() == pytest.approx(values.mean(), abs=4 * (variance / 4000) ** 0.5)
    assert means.var() == pytest.approx(variance, rel=0.1)


def test_spa_and_stepm_are_those_of_arch() -> None:
    from arch.bootstrap import SPA, StepM

    gaps = []
    for seed in range(6):
        rng = rng_of(seed)
        models = rng.normal(0, 0.01, (300, 6)) + np.array([0.004, 0.0012, 0.0006, 0, -0.003, -0.02])
        names = [str(place) for place in range(6)]
        ours = contest(dict(zip(names, models.T, strict=True)), np.zeros(300), resamples=2000, seed=seed)
        spa = SPA(np.zeros(300), -models, block_size=block_of(300), reps=2000, seed=seed)
        spa.compute()
        gaps.append(ours.spa_p - float(spa.pvalues["consistent"]))
        step = StepM(np.zeros(300), -models, size=0.05, block_size=block_of(300), reps=2000, seed=seed)
        step.compute()
        assert "0" in ours.better
        assert set(ours.better) ^ {names[place] for place in step.superior_models} <= {"1", "2"}  # near the edge
    assert np.abs(gaps).max() < 0.05


def test_contests_without_rivals_have_no_winner() -> None:
    assert contest({"flat": np.zeros(50)}, np.zeros(50)).spa_p == 1
    assert confidence_set({"a": np.zeros(50), "b": np.zeros(50)}) == ("a", "b")


def test_the_confidence_set_keeps_the_good_and_their_twins() -> None:
    rng = rng_of(9)
    good = rng.normal(0.004, 0.01, 400)
    found = confidence_set({"good": good, "twin": good.copy(), "bad": good - 0.002 + rng.normal(0, 0.002, 400)})
    assert found == ("good", "twin")


def walks(seed: int, strategies: int = 24, bars: int = 1000) -> tuple[dict[str, Array], Array]:
    """Positions of 24 rules without skill on a driftless random walk, before costs, and its own returns."""
    rng = rng_of([seed, 77])
    walk = rng.normal(0, 0.01, bars)
    past = np.concatenate([np.zeros(64), walk])
    rules = {}
    for number in range(strategies):
        if number % 2:
            span = 2 + 2 * number
            trend = np.array([past[t + 64 - span : t + 64].sum() for t in range(bars)])
            position = np.sign(trend) * (1 if number % 4 == 1 else -1)
        else:
            position = np.repeat(rng.choice([-1.0, 0.0, 1.0], bars // 5 + 1), 5)[:bars]
        rules[str(number)] = position * walk
    return rules, walk


@pytest.mark.parametrize(("runs", "most"), [(60, 9), pytest.param(200, 21, marks=pytest.mark.slow)])
def test_on_random_walks_spa_rejects_seldom(runs: int, most: int) -> None:
    """At 5%: no more than 10.5% of 200 driftless walks; one-sided t-tests no more than 8% of all rules."""
    rejected, single, tests = 0, 0, 0
    for seed in range(runs):
        rules, _ = walks(seed)
        rejected += contest(rules, np.zeros(1000), resamples=400, seed=seed).spa_p < 0.05
        single += sum(s.mean_test(each).p < 0.05 for each in rules.values())
        tests += len(rules)
    assert rejected <= most
    assert single / tests <= 0.08


@pytest.mark.parametrize(("runs", "least"), [(25, 20), pytest.param(100, 85, marks=pytest.mark.slow)])
def test_a_planted_strategy_is_found(runs: int, least: int) -> None:
    """Sharpe 1 among 24 over 20 years of days: found by SPA at 5% at least 85% of the time."""
    bars, found = 20 * 252, 0
    for seed in range(runs):
        rng = rng_of([seed, 78])
        rules = {str(number): rng.normal(0, 0.01, bars) for number in range(23)}
        rules["planted"] = rng.normal(0.01 / 252**0.5, 0.01, bars)
        judged = contest(rules, np.zeros(bars), resamples=200, seed=seed)
        found += judged.spa_p < 0.05
    assert found >= least
