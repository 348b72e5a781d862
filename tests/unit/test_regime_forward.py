"""The forward filter: what it gives is exact, and never depends on what comes later or stands beside."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from qts.errors import DataError
from qts.regime.forward import ForwardFilter, filter_series, log_likelihood
from qts.regime.model import Regimes, state_names, stationary


def model_of(seed: int, states: int, order: int = 0) -> Regimes:
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), size=states)
    start = stationary(transition) if order else rng.dirichlet(np.ones(states))
    return Regimes.ordered(
        rng.normal(size=states), rng.uniform(0.3, 2, states), transition, start, rng.uniform(-0.4, 0.4, order)
    )


def series_of(seed: int, length: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed + 1000)
    values = 2 * rng.normal(size=length)
    values[rng.random(length) < missing] = np.nan
    return values


seeds = st.integers(0, 10_000)


@given(seed=seeds, states=st.integers(1, 3), order=st.integers(0, 2), length=st.integers(1, 6))
def test_it_is_the_sum_over_all_paths(seed, states, order, length):
    """Brute force: every path of states, its probability, and what the observations say of it."""
    model, y = model_of(seed, states, order), series_of(seed, length)
    found = filter_series(model, y)
    for t in range(order, length):
        weight = np.zeros(states)
        for path in itertools.product(range(states), repeat=t + 1):
            p = model.start[path[0]] * np.prod([model.transition[i, j] for i, j in itertools.pairwise(path)])
            for s in range(order, t + 1):
                lags = [model.ar[i] * (y[s - 1 - i] - model.mean[path[s - 1 - i]]) for i in range(order)]
                p *= norm.pdf(y[s], model.mean[path[s]] + sum(lags), model.sd[path[s]])
            weight[path[-1]] += p
        np.testing.assert_allclose(found.probability[t], weight / weight.sum(), rtol=1e-8)
        np.testing.assert_allclose(np.nansum(found.log_density[: t + 1]), np.log(weight.sum()), rtol=1e-8)
    assert np.isnan(found.log_density[:order]).all()


@given(seed=seeds, states=st.integers(1, 3), order=st.integers(0, 2), cut=st.integers(1, 39), missing=st.booleans())
def test_appended_rows_never_change_what_was_filtered(seed, states, order, cut, missing):
    model, y = model_of(seed, states, order), series_of(seed, 40, 0.2 if missing else 0.0)
    whole, part = filter_series(model, y), filter_series(model, y[:cut])
    np.testing.assert_array_equal(whole.probability[:cut], part.probability)
    np.testing.assert_array_equal(whole.log_density[:cut], part.log_density)


@given(seed=seeds, cut=st.integers(1, 29))
def test_it_goes_on_from_its_state(seed, cut):
    models = [model_of(seed + n, 1 + n % 3) for n in range(5)]
    y = np.stack([series_of(seed + n, 30, 0.1) for n in range(5)], axis=1)
    filter_ = ForwardFilter.of(models)
    state = filter_.begin()
    kept = []
    for t, row in enumerate(y):
        if t == cut:  # through bytes and back, as between two batches
            state = {name: np.frombuffer(values.tobytes()).reshape(values.shape) for name, values in state.items()}
        state, found = filter_.step(state, row)
        kept.append(found.probability)
    np.testing.assert_array_equal(filter_.run(y)[1].probability, kept)


@given(seed=seeds, count=st.sampled_from([2, 7, 64]))
@settings(max_examples=20)
def test_series_side_by_side_have_the_bits_that_each_has_alone(seed, count):
    models = [model_of(seed + n, 1 + n % 3) for n in range(count)]
    y = np.stack([series_of(seed + n, 12) for n in range(count)], axis=1)
    _, together = ForwardFilter.of(models).run(y)
    for n, model in enumerate(models):
        alone = filter_series(model, y[:, n])
        np.testing.assert_array_equal(together.probability[:, n, : model.states], alone.probability)
        np.testing.assert_array_equal(together.log_density[:, n], alone.log_density)
        assert not together.probability[:, n, model.states :].any()


@given(seed=seeds, states=st.integers(1, 3), order=st.integers(0, 1))
def test_probabilities_stay_probabilities_whatever_comes(seed, states, order):
    values = [0.0, 1e300, -1e300, np.inf, np.nan, 1e-300, 5.0]
    y = np.random.default_rng(seed).choice(values, size=30)
    probability = filter_series(model_of(seed, states, order), y).probability
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-9)
    assert ((probability >= 0) & (probability <= 1 + 1e-9)).all()


def test_a_missing_bar_moves_nothing():
    model, y = model_of(3, 2, 1), series_of(3, 20)
    gap = np.insert(y, 11, np.nan)
    with_gap, without = filter_series(model, gap), filter_series(model, y)
    np.testing.assert_array_equal(np.delete(with_gap.probability, 11, axis=0), without.probability)
    np.testing.assert_array_equal(with_gap.probability[11], with_gap.probability[10])


def test_impossible_transitions_and_a_certain_start():
    model = Regimes.ordered(
        np.array([0.0, 0.0]), np.array([1.0, 3.0]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 0.0])
    )
    y = np.array([0.0, 50.0, 0.0])
    np.testing.assert_array_equal(filter_series(model, y).probability, [[1, 0]] * 3)
    assert log_likelihood(model, y) == pytest.approx(norm.logpdf(y).sum())


@pytest.mark.parametrize("states", [2, 3])
def test_it_equals_hmmlearns_likelihood_and_last_posterior(states):
    from hmmlearn.hmm import GaussianHMM

    model, y = model_of(5, states), series_of(5, 60)
    theirs = GaussianHMM(states)
    theirs.n_features = 1
    theirs.startprob_, theirs.transmat_ = model.start, model.transition
    theirs.means_, theirs.covars_ = model.mean[:, None], model.sd[:, None] ** 2
    assert log_likelihood(model, y) == pytest.approx(theirs.score(y[:, None]), rel=1e-10)
    # Of the last bar smoothed and filtered are the same; of an earlier one they are not.
    smoothed, filtered = theirs.predict_proba(y[:, None]), filter_series(model, y).probability
    np.testing.assert_allclose(filtered[-1], smoothed[-1], rtol=1e-8)
    assert np.abs(filtered[:-1] - smoothed[:-1]).max() > 0.01


@pytest.mark.parametrize(("states", "order", "variances"), [(2, 0, True), (3, 0, True), (3, 1, True), (2, 4, False)])
def test_it_equals_statsmodels_filter(states, order, variances):
    from statsmodels.tsa.regime_switching.markov_autoregression import MarkovAutoregression
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    y = series_of(7, 80)
    model = model_of(7, states, order)
    sd = model.sd if variances else np.full(states, model.sd[0])
    model = Regimes.ordered(model.mean, sd, model.transition, stationary(model.transition), model.ar)
    kind = {"trend": "c", "switching_variance": variances}
    theirs = (
        MarkovAutoregression(y, states, order, switching_ar=False, **kind)
        if order
        else MarkovRegression(y, states, **kind)
    )
    value = {f"p[{i}->{j}]": model.transition[i, j] for i in range(states) for j in range(states)}
    value |= {f"const[{k}]": model.mean[k] for k in range(states)}
    value |= {f"sigma2[{k}]": model.sd[k] ** 2 for k in range(states)} | {"sigma2": model.sd[0] ** 2}
    value |= {f"ar.L{lag + 1}": model.ar[lag] for lag in range(order)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = theirs.filter(np.array([value[name] for name in theirs.param_names]), cov_type="none")
    ours = filter_series(model, y)
    np.testing.assert_allclose(ours.probability[order:], found.filtered_marginal_probabilities, atol=1e-10)
    assert np.nansum(ours.log_density) == pytest.approx(found.llf, rel=1e-10)


def test_parameters_through_json_and_tampered_ones():
    import json

    model = model_of(11, 3, 2)
    params = model.to_params()
    back = Regimes.of_params(json.loads(json.dumps(params)))
    for name, values in vars(back).items():
        np.testing.assert_array_equal(values, getattr(model, name))
    for name, bad in (
        ("sd", [1.0, -1.0, 1.0]), ("sd", [1.0, 1.0]), ("start", [0.5, 0.6, 0.0]), ("mean", [0.0, None, 1.0]),
        ("transition", [[1.0]]), ("ar", [float("nan")]), ("ar", "x"),
    ):  # fmt: skip
        with pytest.raises(DataError, match="Fit them again"):
            Regimes.of_params({**params, name: bad})
    with pytest.raises(DataError, match="sd"):
        Regimes.of_params({name: values for name, values in params.items() if name != "sd"})


def test_states_are_ordered_named_and_last():
    model = Regimes.ordered(
        np.array([1.0, 2.0, 3.0]),
        np.array([3.0, 1.0, 2.0]),
        np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.5, 0.5]]),
        np.array([0.2, 0.3, 0.5]),
    )
    assert model.sd.tolist() == [1, 2, 3]
    assert model.mean.tolist() == [2, 3, 1]
    assert model.names == ("calm", "normal", "stressed")
    assert model.transition.tolist() == [[0.8, 0.0, 0.2], [0.5, 0.5, 0.0], [0.1, 0.0, 0.9]]
    np.testing.assert_allclose(model.expected_duration, [5, 2, 10])
    np.testing.assert_allclose(model.stationary @ model.transition, model.stationary, atol=1e-12)
    assert state_names(4) == ("calm", "normal_1", "normal_2", "stressed")
    assert state_names(1) == ("normal",)


def test_a_filter_takes_models_of_one_order():
    with pytest.raises(DataError, match="one order"):
        ForwardFilter.of([model_of(1, 2), model_of(1, 2, 1)])
