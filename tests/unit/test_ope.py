"""Off-policy evaluation: formulas by hand, a published figure, unbiasedness, coverage of the intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.bandit import ope
from qts.bandit.ope_model import credibility_means, thompson_ranking
from qts.cli import main
from qts.errors import DataError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bandit"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="the Open Bandit sample is not beside the checkout")


def log_of(seed: int, rows: int = 400, actions: int = 4, dependence: float = 0.0) -> tuple[ope.Log, Array]:
    """A log of a known policy, and the actions' true mean rewards."""
    rng = np.random.default_rng(seed)
    means = np.linspace(0.2, 0.8, actions)
    behaviour = np.linspace(2.0, 1.0, actions) / np.linspace(2.0, 1.0, actions).sum()
    cell = rng.choice(actions, rows, p=behaviour)
    mood = np.repeat(rng.normal(0, dependence, rows // 20 + 1), 20)[:rows]
    reward = means[cell] + mood + rng.normal(0, 0.3, rows)
    stratum = np.zeros(rows, dtype=np.int64)
    log = ope.Log(cell, stratum, reward, behaviour[cell], ope.time_blocks(None, rows))
    return log, means


Array = np.ndarray
TARGET = ope.Target(np.array([0.1, 0.1, 0.2, 0.6]), np.zeros(4, dtype=np.int64))


def test_ips_and_snips_are_their_formulas() -> None:
    log, _ = log_of(1)
    weight = TARGET.probability[log.cell] / log.propensity
    result = ope.evaluate(log, TARGET)
    assert result.estimates is not None
    assert result.estimates["ips"].value == pytest.approx(np.mean(weight * log.reward), rel=1e-12)
    assert result.estimates["snips"].value == pytest.approx((weight @ log.reward) / weight.sum(), rel=1e-12)
    assert result.effective_sample_size == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-12)


def test_every_estimator_is_right_on_average() -> None:
    truth = float(TARGET.probability @ np.linspace(0.2, 0.8, 4))
    found = [ope.evaluate(log_of(seed)[0], TARGET, resamples=50).estimates for seed in range(60)]
    for name in ope.ESTIMATORS:
        values = np.array([each[name].value for each in found if each is not None])
        error = values.std(ddof=1) / np.sqrt(len(values))
        # The model of DM draws the actions together a little; that bias is far below the spread of one estimate.
        assert abs(values.mean() - truth) < 3.5 * error + 0.005, name


def test_a_model_makes_estimates_more_precise_than_weights_alone() -> None:
    found = [ope.evaluate(log_of(seed)[0], TARGET, resamples=50).estimates for seed in range(60)]
    spread = {name: np.std([each[name].value for each in found if each]) for name in ("ips", "snips", "dr")}
    assert spread["dr"] < 0.8 * spread["ips"]
    assert spread["snips"] < spread["ips"]


@pytest.mark.parametrize(("trials", "low"), [(60, 0.83), pytest.param(400, 0.90, marks=pytest.mark.slow)])
def test_intervals_hold_what_they_promise_when_rewards_depend_on_the_time(trials: int, low: float) -> None:
    """Nominal 95%: with moods of 20 rounds, intervals of single rounds would cover far less."""
    truth = float(TARGET.probability @ np.linspace(0.2, 0.8, 4))
    covered = {"clustered": 0, "single": 0}
    for seed in range(trials):
        log, _ = log_of(seed, rows=1200, dependence=0.5)
        for kind, used in (("clustered", log), ("single", replace(log, block=np.arange(1200)))):
            found = ope.evaluate(used, TARGET, resamples=300).estimates
            assert found is not None
            covered[kind] += found["snips"].low <= truth <= found["snips"].high
    assert covered["clustered"] / trials >= low
    assert covered["single"] < covered["clustered"]
    assert covered["single"] / trials < 0.75


def test_a_policy_that_is_the_logging_one_earns_what_was_logged() -> None:
    log, _ = log_of(3)
    behaviour = np.linspace(2.0, 1.0, 4) / np.linspace(2.0, 1.0, 4).sum()
    result = ope.evaluate(log, ope.Target(behaviour, np.zeros(4, dtype=np.int64)))
    assert result.estimates is not None
    assert result.effective_sample_size == pytest.approx(len(log.reward))
    for name in ("ips", "snips"):
        assert result.estimates[name].value == pytest.approx(log.reward.mean())
        assert result.estimates[name].low == pytest.approx(result.logged.low)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), shift=st.floats(-5, 5))
def test_rewards_in_another_unit_give_the_same_answer(seed: int, scale: float, shift: float) -> None:
    log, _ = log_of(seed, rows=120)
    plain, moved = (ope.evaluate(each, TARGET, resamples=30) for each in (log, replace(log, reward=log.reward * scale)))
    assert plain.estimates is not None
    assert moved.estimates is not None
    for name in ope.ESTIMATORS:
        assert moved.estimates[name].value == pytest.approx(scale * plain.estimates[name].value, rel=1e-9)
    lifted = ope.evaluate(replace(log, reward=log.reward + shift), TARGET, resamples=30)
    assert lifted.estimates is not None  # SNIPS and DM move with the rewards; IPS, whose weights need not add up, not
    for name in ("snips", "dm"):
        assert lifted.estimates[name].value == pytest.approx(plain.estimates[name].value + shift, abs=1e-7)


def test_below_the_floor_there_is_no_answer() -> None:
    log, _ = log_of(4)
    log.propensity[7] = 0.009
    log.cell[7] = 3
    result = ope.evaluate(log, TARGET)
    assert result.estimates is None
    assert result.reason.startswith("not evaluable: 1 of 400 rounds")
    # An action that the policy never plays may have been as rare as it likes.
    spared = ope.Target(np.array([0.2, 0.3, 0.5, 0.0]), TARGET.stratum)
    assert ope.evaluate(log, spared).estimates is not None


def test_blocks_never_split_a_time() -> None:
    time = np.sort(np.random.default_rng(0).integers(0, 40, 500))
    block = ope.time_blocks(time, 500)
    assert (np.diff(block) >= 0).all()
    assert (np.diff(block) <= 1).all()
    assert not np.any((np.diff(time) == 0) & (np.diff(block) != 0))


def test_credibility_by_hand() -> None:
    """Three groups of two: within variance 1, means 0, 2, 4, so between variance is 4 - 1/2 and Z is 3.5 / 4."""
    half = np.sqrt(0.5)
    rewards = np.array([[-half, half], [2 - half, 2 + half], [4 - half, 4 + half]])
    found = credibility_means(rewards.sum(1), np.full(3, 2.0), (rewards**2).sum(1))
    np.testing.assert_allclose(found, [2 - 2 * 0.875, 2.0, 2 + 2 * 0.875])


def test_groups_that_chance_explains_get_the_mean_of_all() -> None:
    rewards = np.array([[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(credibility_means(rewards.sum(1), np.full(2, 2.0), (rewards**2).sum(1)), [0.5, 0.5])


def test_rankings_by_thompson_sampling_of_two_known_actions() -> None:
    """P(Beta(2, 1) > Beta(1, 1)) = 2/3; what is not first is second."""
    found = thompson_ranking(np.array([2.0, 1.0]), np.array([1.0, 1.0]), 2, 200_000, seed=0)
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=4e-3)
    with pytest.raises(DataError, match="3 positions"):
        thompson_ranking(np.ones(2), np.ones(2), 3, 10, seed=0)


def bernoulli_thompson(folder: Path, simulations: int = 100_000) -> Path:
    """The policy file of Bernoulli Thompson sampling with the published prior."""
    prior = yaml.safe_load((DATA / "prior_bts.yaml").read_text())["all"]
    shown = thompson_ranking(np.array(prior["alpha"]), np.array(prior["beta"]), 3, simulations, seed=12345)
    action, position = np.indices(shown.shape)
    path = folder / "policy.csv"
    columns = {"action": action.ravel(), "position": position.ravel() + 1, "probability": shown.ravel()}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def arguments(logged: Path, policy: Path) -> list[str]:
    columns = ["--action", "item_id", "--reward", "click", "--propensity", "propensity_score", "--position", "position"]
    return ["bandit", "ope", "--logged", str(logged), "--policy", str(policy), *columns, "--json"]


@with_data
def test_open_bandit_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Saito et al.'s example: 0.004553, that is 1.198 times the logged mean, with another generator's draws."""
    assert main(arguments(DATA / "random_all.csv.gz", bernoulli_thompson(tmp_path))) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["n"] == 10_000
    assert found["logged"]["value"] == pytest.approx(0.0038)
    assert found["ips"]["value"] == pytest.approx(0.004553, rel=0.01)
    assert 1.188 <= found["relative_ips"] <= 1.203
    for name in ope.ESTIMATORS:
        assert found[name]["low"] < found[name]["value"] < found[name]["high"], name
    assert found["effective_sample_size"] < 2500


@with_data
def test_the_thompson_log_cannot_evaluate_the_uniform_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "uniform.csv"
    pd.DataFrame({"action": range(80), "probability": 1 / 80}).to_csv(policy, index=False)
    assert main(arguments(DATA / "bts_all.csv.gz", policy)) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["evaluable"] is False
    assert found["reason"].startswith("not evaluable")
    assert found["ips"] == {"value": None, "low": None, "high": None}


def write(folder: Path, **changes: object) -> Path:
    columns = {"item": ["a", "b"] * 10, "gain": [0.0, 1.0] * 10, "p": 0.5, "place": [1, 1, 2, 2] * 5} | changes
    pd.DataFrame(columns).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def policy_file(folder: Path, **columns: object) -> Path:
    pd.DataFrame(columns or {"action": ["a", "b"], "probability": [0.25, 0.75]}).to_csv(folder / "p.csv", index=False)
    return folder / "p.csv"


def run(log: Path, policy: Path | str, *more: str) -> int:
    options = ["--logged", str(log), "--policy", str(policy), "--action", "item", "--reward", "gain"]
    return main(["bandit", "ope", *options, "--propensity", "p", *more])


@pytest.mark.parametrize(
    ("changes", "policy", "more", "message"),
    [
        ({"p": 0.0}, {}, (), "log's propensity is 0.0 in row 1"),
        ({"p": 1.5}, {}, (), "at most 1"),
        ({"gain": ["x", "1"] * 10}, {}, (), "has gain 'x' in row 1"),
        ({}, {"action": ["a", "b"], "probability": [0.2, 0.2]}, (), "add up to 0.4; expected 1"),
        ({}, {"action": ["a", "b"], "probability": [-0.5, 1.5]}, (), "outside of 0 to 1"),
        ({}, {"action": ["a", "a"], "probability": [0.5, 0.5]}, (), "names action 'a' twice"),
        (
            {},
            {"action": ["a", "b"], "probabilty": [0.5, 0.5]},
            (),
            "has action, probabilty. Did you mean 'probabilty'?",
        ),
        ({}, {}, ("--position", "plaace"), "no column 'plaace'; it has item, gain, p, place. Did you mean 'place'?"),
        (
            {},
            {"action": ["a", "b", "a", "b"], "position": [1, 1, 2, 2], "probability": 0.5},
            (),
            "say with --position which column",
        ),
        (
            {},
            {"action": ["a", "b"], "position": [1, 1], "probability": 0.5},
            ("--position", "place"),
            "has position '2', for which",
        ),
    ],
)
def test_bad_files_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    policy: dict[str, object],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert run(write(tmp_path, **changes), policy_file(tmp_path, **policy), *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("policy", ["linucb", "mine.yml"])
def test_policies_that_learn_are_sent_to_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    assert run(write(tmp_path), policy) == 2
    assert "evaluated by replay, not by IPS" in capsys.readouterr().err


def test_logs_of_trading_decisions_are_sent_to_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path, policy="thompson", arm="a", propensity=0.5, target=1.0, acting=True)
    assert run(log, policy_file(tmp_path)) == 2
    assert "positions that carry costs over" in capsys.readouterr().err


def test_unknown_actions_have_no_chance_and_files_without_overlap_no_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path), policy_file(tmp_path, action=["c"], probability=[1.0]), "--json") == 0
    assert "plays none of the logged actions" in yaml.safe_load(capsys.readouterr().out)["reason"]
    assert run(write(tmp_path), policy_file(tmp_path), "--json") == 0
    assert yaml.safe_load(capsys.readouterr().out)["ips"]["value"] == pytest.approx(0.75)
    assert run(write(tmp_path), policy_file(tmp_path)) == 0
    assert "switch_dr" in capsys.readouterr().out


def test_rows_in_any_order_give_the_same_answer_when_times_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(write(tmp_path)).assign(timestamp=pd.date_range("2024-01-01", periods=20, tz="UTC"))
    answers = []
    for rows in (frame, frame.sample(frac=1, random_state=3)):
        rows.to_csv(tmp_path / "log.csv", index=False)
        assert run(tmp_path / "log.csv", policy_file(tmp_path), "--json") == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    frame.assign(timestamp="yesterday").to_csv(tmp_path / "log.csv", index=False)
    assert run(tmp_path / "log.csv", policy_file(tmp_path)) == 2
    assert "has the time 'yesterday' in row 1" in capsys.readouterr().err


def test_an_interval_without_width_is_told_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No reward among the rounds that count: that is not certainty that there is none."""
    never = policy_file(tmp_path, action=["a", "b"], probability=[1.0, 0.0])
    assert run(write(tmp_path), never, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ips"]["value"] == found["ips"]["low"] == found["ips"]["high"] == 0
    (note,) = found["notes"]
    assert note.startswith("ips, snips")
    assert "once in 3 rounds" in note  # ten rounds played what the policy plays
    assert run(write(tmp_path), policy_file(tmp_path), "--json") == 0
    assert "notes" not in json.loads(capsys.readouterr().out)
