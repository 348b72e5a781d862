"""Random numbers that belong to a decision: the same for ever, whoever else is present."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qts.bandit import draws, thompson
from qts.bandit.base import draw
from qts.bandit.draws import uniforms

unhurried = settings(deadline=None)
NAMES = [f"instrument-{number}" for number in range(500)]
names = st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True)


def test_past_decisions_keep_their_numbers() -> None:
    # Written down once: another number here means that replays of recorded runs choose other arms.
    np.testing.assert_array_equal(
        uniforms(7, 1_600_000_000_000_000_000, ["AAPL", "São Paulo"], "thompson", 2),
        [[0.15842440302600125, 0.28363225988494645], [0.40987964046146363, 0.2919073185336364]],
    )


@unhurried
@given(
    seed=st.integers(-(2**70), 2**70),
    time=st.integers(-(2**63), 2**63 - 1),
    instruments=names,
    name=st.text(max_size=8),
    n=st.integers(0, 5),
    data=st.data(),
)
def test_a_row_does_not_depend_on_the_others(
    seed: int, time: int, instruments: list[str], name: str, n: int, data: st.DataObject
) -> None:
    whole = uniforms(seed, time, instruments, name, n)
    assert whole.shape == (len(instruments), n)
    assert ((whole > 0) & (whole < 1)).all()
    some = data.draw(st.permutations(range(len(instruments))))[: data.draw(st.integers(0, len(instruments)))]
    np.testing.assert_array_equal(uniforms(seed, time, [instruments[row] for row in some], name, n), whole[some])
    np.testing.assert_array_equal(uniforms(seed, time, instruments, name, n + 3)[:, :n], whole)


@pytest.mark.parametrize("along", ["instruments", "times", "seeds", "names", "index"])
def test_numbers_are_uniform_and_independent_along(along: str) -> None:
    if along == "instruments":
        sample = uniforms(0, 0, [f"i{number}" for number in range(20_000)], "a", 1)[:, 0]
    elif along == "times":
        sample = np.array([uniforms(0, time * 1_000_000_000, ["i"], "a", 1)[0, 0] for time in range(5_000)])
    elif along == "seeds":
        sample = np.array([uniforms(seed, 0, ["i"], "a", 1)[0, 0] for seed in range(5_000)])
    elif along == "names":
        sample = np.array([uniforms(0, 0, ["i"], f"policy{number}", 1)[0, 0] for number in range(5_000)])
    else:
        sample = uniforms(0, 0, ["i"], "a", 20_000)[0]
    assert stats.kstest(sample, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / np.sqrt(len(sample))
    cells = np.histogram2d(sample[:-1:2], sample[1::2], bins=5, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


def test_the_same_instrument_draws_anew_at_every_coordinate() -> None:
    base = uniforms(1, 2, NAMES, "a", 1)[:, 0]
    for other in (uniforms(2, 1, NAMES, "a", 1), uniforms(1, 3, NAMES, "a", 1), uniforms(1, 2, NAMES, "b", 1)):
        assert abs(np.corrcoef(base, other[:, 0])[0, 1]) < 4 / np.sqrt(len(NAMES))


def test_arms_are_drawn_as_often_as_they_should() -> None:
    probabilities = np.array([0.5, 0.0, 0.01, 0.29, 0.2, 0.0])
    choice = draw(
        np.tile(probabilities, (50_000, 1)), uniforms(3, 0, [str(number) for number in range(50_000)], "a", 1)
    )
    counts = np.bincount(choice.arm, minlength=6)
    assert counts[[1, 5]].sum() == 0
    likely = probabilities > 0
    assert stats.chisquare(counts[likely], 50_000 * probabilities[likely]).pvalue > 1e-3
    np.testing.assert_array_equal(choice.propensity, probabilities[choice.arm])


@unhurried
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1.0)), min_size=1, max_size=8).filter(any),
    uniform=st.one_of(st.sampled_from([2.0**-53, 1 - 2.0**-53]), st.floats(2.0**-53, 1 - 2.0**-53)),
)
def test_an_impossible_arm_is_never_drawn(weights: list[float], uniform: float) -> None:
    probabilities = np.array([weights]) / sum(weights)
    choice = draw(probabilities, np.array([[uniform]]))
    assert choice.propensity[0] == probabilities[0, choice.arm[0]] > 0


@pytest.mark.parametrize("module", [draws, thompson])
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module, extraglobs={"np": np}).failed == 0  # type: ignore[arg-type]
