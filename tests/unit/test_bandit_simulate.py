"""`qts bandit simulate`: labelled tables as contextual bandits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris

from qts.bandit import simulate
from qts.bandit.registry import BUILTIN, build_policy
from qts.cli import main
from qts.errors import DataError


def test_numbered_columns_of_one_unit_share_their_range() -> None:
    digits = load_digits(as_frame=True).frame
    data = simulate.table(digits, "target")
    varied = digits.drop(columns="target").loc[:, lambda frame: frame.max() > frame.min()]
    np.testing.assert_array_equal(data.contexts[:, :-1], varied.to_numpy() / 16.0)
    assert (data.contexts[:, -1] == 1).all()
    assert data.arms == tuple("0123456789")
    np.testing.assert_array_equal(data.labels, digits["target"])


def test_columns_of_their_own_units_are_brought_to_their_range() -> None:
    frame = pd.DataFrame(
        {"x1": [0.0, 5.0, 10.0], "x2": [1.0, np.nan, 3.0], "x3": [0.0, 1e6, 2e6], "y": ["b", "a", "b"]}
    )
    data = simulate.table(frame, "y")
    np.testing.assert_allclose(data.contexts[:, :3], [[0, 0, 0], [0.5, 0, 0.5], [1, 1, 1]])
    assert data.arms == ("a", "b")
    assert data.labels.tolist() == [1, 0, 1]


def test_texts_become_a_feature_a_value_and_what_never_changes_is_left_out() -> None:
    frame = pd.DataFrame(
        {
            "colour": ["red", None, "green", "blue"],
            "same": [7, 7, 7, 7],
            "one": ["x", "x", "x", "x"],
            "flag": [True, False, False, True],
            "when": pd.to_datetime(["2024-01-01", "2024-01-03", None, "2024-01-02"]),
            "label": [1.0, 2.0, np.nan, 1.0],
        }
    )
    data = simulate.table(frame, "label")
    assert data.features == ("flag", "when", "colour=blue", "colour=red", "intercept")
    assert data.arms == ("1", "2")
    assert data.dropped == 1
    expected = [[1, 0, 0, 1, 1], [0, 1, 0, 0, 1], [1, 0.5, 1, 0, 1]]
    np.testing.assert_allclose(data.contexts, expected)


def test_labels_take_no_part_in_the_features() -> None:
    frame = load_iris(as_frame=True).frame
    shuffled = frame.assign(target=frame["target"].sample(frac=1, random_state=0).to_numpy())
    np.testing.assert_array_equal(simulate.table(frame, "target").contexts, simulate.table(shuffled, "target").contexts)


def test_a_table_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="No row has a label in 'y'"):
        simulate.table(pd.DataFrame({"x": [1.0], "y": [None]}), "y")


def test_every_row_is_played_once_a_round_of_the_table() -> None:
    frame = pd.DataFrame({"x": np.arange(50.0), "y": ["a"] * 30 + ["b"] * 20})
    data = simulate.table(frame, "y")
    policy = build_policy("epsilon_greedy", {"floor": 0.0})
    played = simulate.play(policy, data, 100, seed=3)
    assert played.majority == 0.6
    np.testing.assert_array_equal(played.reward, simulate.play(policy, data, 100, seed=3).reward)
    assert (played.reward != simulate.play(policy, data, 100, seed=4).reward).any()


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_policy_has_its_parameters_for_labels(name: str) -> None:
    """Fifty cases that one feature tells apart: policies that see it find it out, the others find the commoner arm."""
    data = simulate.table(pd.DataFrame({"x": np.tile([0.0, 0.0, 1.0], 20), "y": np.tile([0, 0, 1], 20)}), "y")
    parameters = {**simulate.LABELLED[name], **({"tries": 20} if name == "explore_then_commit" else {})}
    played = simulate.play(build_policy(name, parameters), data, 600, seed=0)
    sees = name in {"linucb", "lints", "squarecb"}
    assert played.reward[-300:].mean() > (0.9 if sees else 0.55)


def test_the_command_prints_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_iris(as_frame=True).frame.to_csv(tmp_path / "iris.csv", index=False)
    arguments = ["bandit", "simulate", "--input", str(tmp_path / "iris.csv"), "--label", "target", "--rounds", "300"]
    assert main([*arguments, "--policy", "linucb", "--seed", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["policy"] == "linucb"
    assert found["rounds"] == 300
    assert found["mean_reward"] == found["mean_reward_last_2000"] > 0.5
    assert found["interval"][0] < found["mean_reward"] < found["interval"][1]
    assert main([*arguments, "--policy", "linucb", "--param", "alpha=0.5"]) == 0
    assert "Always the commonest arm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--policy": "linucbb"}, "Did you mean 'linucb'"),
        ({"--label": "targt"}, "Did you mean 'target'"),
        ({"--input": "no.csv"}, "There is no file"),
        ({"--rounds": "0"}, "greater than or equal to 1"),
        ({"--param": "alpha"}, "expected name=value"),
        ({"--param": "alpha=-1"}, "alpha >= 0"),
        ({"--param": "beta=1"}, "no parameter 'beta'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    changed: dict[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_iris(as_frame=True).frame.to_csv(tmp_path / "iris.csv", index=False)
    options = {"--input": str(tmp_path / "iris.csv"), "--label": "target", "--policy": "linucb"} | changed
    assert main(["bandit", "simulate", *(part for pair in options.items() for part in pair)]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
