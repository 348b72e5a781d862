"""A labelled table as a contextual bandit: the label is the right arm, a right choice earns 1, a wrong one 0.

The oldest way to test a policy on real data with known answers: only the chosen arm's reward is shown to it.

Source: Dudik, Langford and Li, Doubly robust policy evaluation and learning (ICML 2011), section 5; Bietti, Agarwal and
Langford, A contextual bandit bake-off (Journal of Machine Learning Research, 2021).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from qts.bandit.base import Array, IntArray, Policy
from qts.bandit.draws import uniforms
from qts.errors import DataError

#: A text column has a feature for each of its commonest values, up to as many.
_LEVELS = 32
#: Random numbers that are made at once.
_BLOCK = 1000

#: Parameters of policies where rewards are 0 or 1, nothing drifts and nothing needs to be evaluated afterwards.
LABELLED: Mapping[str, Mapping[str, Any]] = {
    "thompson": {"prior_var": 0.25, "noise_var": 0.25, "floor": 0.0},
    "discounted_thompson": {"prior_var": 0.25, "noise_var": 0.25, "floor": 0.0},
    "sliding_window_thompson": {"prior_var": 0.25, "noise_var": 0.25, "floor": 0.0},
    "bernoulli_thompson": {"low": 0.0, "high": 1.0, "floor": 0.0},
    "linucb": {"alpha": 0.2, "floor": 0.0},
    "lints": {"alpha": 0.1, "floor": 0.0},
    "squarecb": {"floor": 0.0},
    "epsilon_greedy": {"floor": 0.0},
    "ucb1": {"floor": 0.0},
    "discounted_ucb": {"floor": 0.0},
    "sliding_window_ucb": {"floor": 0.0},
    "kl_ucb": {"low": 0.0, "high": 1.0, "floor": 0.0},
    "exp3": {"low": 0.0, "high": 1.0},
    "hedge": {"floor": 0.0},
    "explore_then_commit": {"floor": 0.0},
}


@dataclass(frozen=True)
class Table:
    """Rows with their contexts and right arms.

    Attributes:
        contexts: features from 0 to 1, the last one the intercept, shape (R, d).
        labels: the right arm of each row, shape (R,).
        arms: names of the arms, sorted.
        features: names of the features.
        dropped: rows without a label.
    """

    contexts: Array
    labels: IntArray
    arms: tuple[str, ...]
    features: tuple[str, ...]
    dropped: int


@dataclass(frozen=True)
class Played:
    """What a policy earned, round by round.

    Attributes:
        reward: 0 or 1, shape (T,).
        majority: share of rounds whose right arm is the commonest one: what no context can buy.
    """

    reward: Array
    majority: float


def table(frame: pd.DataFrame, label: str) -> Table:
    """Contexts and labels of a data frame.

    Numbers, dates and booleans are brought to [0, 1] by the range of their column; columns that are numbered alike
    (`pixel_0_1`, `pixel_0_2`) and of similar size are taken to have one unit and share their range, so that pixels stay
    pixels. Texts become one feature a value. Missing values count as the column's minimum, or as no value; columns that
    never change are left out. An intercept comes last. Labels take no part in any of it.

    Args:
        frame: rows in any order.
        label: the column with the right arm; any type.

    Raises:
        DataError: no row has a label.
    """
    known = frame[frame[label].notna()]
    if known.empty:
        raise DataError(f"No row has a label in {label!r}; expected at least one.")
    arms, labels = np.unique(known[label].map(_text).to_numpy(object).astype(str), return_inverse=True)
    rest = known.drop(columns=label)
    numbers = {name: number for name in rest.columns if (number := _number(rest[name])) is not None}
    columns = _scaled(numbers)
    for name in rest.columns:
        if name not in numbers:
            columns |= _levels(str(name), rest[name])
    intercept = np.ones(len(known))
    contexts = np.stack([*columns.values(), intercept], axis=1)
    return Table(
        np.ascontiguousarray(contexts),
        labels.astype(np.int64),
        tuple(arms.tolist()),
        (*columns, "intercept"),
        len(frame) - len(known),
    )


def play(policy: Policy, data: Table, rounds: int, seed: int) -> Played:
    """Plays a number of rounds; the rows come in a random order, tiled where there are fewer of them than rounds."""
    count = len(data.labels)
    order = np.random.default_rng(seed).permutation(max(rounds, count))[:rounds] % count
    arms = len(data.arms)
    state = policy.start(1, arms, data.contexts.shape[1])
    reward = np.empty(rounds)
    names = [str(number) for number in range(_BLOCK)]
    for number, row in enumerate(order):
        if number % _BLOCK == 0:
            drawn = uniforms(seed, number, names, "simulate", policy.draws(arms))
        context = data.contexts[row : row + 1]
        choice = policy.choose(state, context, drawn[number % _BLOCK][None])
        paper = np.zeros((1, arms))
        paper[0, data.labels[row]] = 1.0
        earned = paper[0, choice.arm]
        state = policy.learn(state, context, choice.arm, earned, propensity=choice.propensity, paper=paper)
        reward[number] = earned[0]
    return Played(reward, float(np.bincount(data.labels[order], minlength=arms).max() / rounds))


def summary(played: Played, data: Table) -> dict[str, Any]:
    """Mean rewards with a 95% interval, beside the best that no context can buy."""
    reward = played.reward
    mean = float(reward.mean())
    half = 1.96 * float(np.sqrt(mean * (1.0 - mean) / len(reward)))
    return {
        "rounds": len(reward),
        "mean_reward": mean,
        "mean_reward_last_2000": float(reward[-2000:].mean()),
        "interval": [max(mean - half, 0.0), min(mean + half, 1.0)],
        "baseline": {"majority": played.majority, "uniform": 1.0 / len(data.arms)},
        "arms": len(data.arms),
        "features": len(data.features),
        "rows": len(data.labels),
        "rows_without_label": data.dropped,
    }


def _text(value: Any) -> str:
    """A label as text; 3.0 is 3, as it was before a missing value made floats of a column of integers."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(column: pd.Series) -> Array | None:
    """A column as numbers, NaN where missing; None where it is text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = column.astype("int64").to_numpy(np.float64)
        return np.where(column.isna().to_numpy(), np.nan, stamps)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        values: npt.NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan)
    return None


def _scaled(numbers: Mapping[Any, Array]) -> dict[str, Array]:
    groups: dict[str, list[Any]] = {}
    for name in numbers:
        groups.setdefault(re.sub(r"\d+", "#", str(name)), []).append(name)
    columns: dict[str, Array] = {}
    for names in groups.values():
        least = np.array([_extreme(numbers[name], np.fmin) for name in names])
        most = np.array([_extreme(numbers[name], np.fmax) for name in names])
        varied = most > least
        if not varied.any():
            continue
        widths = (most - least)[varied]
        whole = float(most[varied].max() - least[varied].min())
        # Numbered alike, and the usual width is of the size of the whole: one unit.
        shared = bool(np.median(widths) >= whole / 2.0)
        for name, low, high in zip(names, least, most, strict=True):
            if high > low:
                start, width = (float(least[varied].min()), whole) if shared else (low, high - low)
                columns[str(name)] = np.nan_to_num((numbers[name] - start) / width)
    return {str(name): columns[str(name)] for name in numbers if str(name) in columns}


def _extreme(values: Array, ufunc: np.ufunc) -> float:
    return float(ufunc.reduce(values))


def _levels(name: str, column: pd.Series) -> dict[str, Array]:
    texts = column.astype(object).where(column.notna(), None).map(lambda value: None if value is None else str(value))
    common = sorted(texts.value_counts().sort_index().nlargest(_LEVELS).index)
    return {f"{name}={level}": (texts == level).to_numpy(np.float64) for level in common} if len(common) > 1 else {}
