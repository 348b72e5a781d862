"""The policies by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from qts.bandit.base import Policy
from qts.bandit.linucb import LinThompson, LinUcb, SquareCb
from qts.bandit.thompson import BernoulliThompson, GaussianThompson
from qts.bandit.ucb import EpsilonGreedy, ExploreThenCommit, KlUcb, Ucb
from qts.bandit.weights import Exp3, Hedge
from qts.errors import ConfigError
from qts.plugins import create

BUILTIN: dict[str, type[Policy]] = {
    "thompson": GaussianThompson,
    "bernoulli_thompson": BernoulliThompson,
    "linucb": LinUcb,
    "lints": LinThompson,
    "squarecb": SquareCb,
    "epsilon_greedy": EpsilonGreedy,
    "ucb1": Ucb,
    "kl_ucb": KlUcb,
    "exp3": Exp3,
    "hedge": Hedge,
    "explore_then_commit": ExploreThenCommit,
    "discounted_ucb": Ucb,
    "sliding_window_ucb": Ucb,
    "discounted_thompson": GaussianThompson,
    "sliding_window_thompson": GaussianThompson,
}

#: Parameters that a name stands for beside its class; others can be given in their place.
_PRESETS: dict[str, dict[str, Any]] = {
    "discounted_ucb": {"forgetting": 0.99},
    "sliding_window_ucb": {"window": 200},
    "discounted_thompson": {"forgetting": 0.99},
    "sliding_window_thompson": {"window": 200},
}


def build_policy(name: str, params: Mapping[str, Any]) -> Policy:
    """One policy of a configuration.

    Args:
        name: of the policy, where `params` has no `class`: a key of `BUILTIN`.
        params: parameters, and optionally `class`: a built-in's name or `package.module:Class`, so that one
            configuration can run several policies of one class.

    Raises:
        ConfigError: unknown class or parameter (with the nearest known one), a value of the wrong type or out of range,
            or a class of your own that is no policy.
    """
    if not isinstance(params, Mapping):
        raise ConfigError(f"policies.{name} is {params!r}, expected its parameters, such as {{forgetting: 0.99}}.")
    kind = params.get("class", name)
    if not isinstance(kind, str):
        raise ConfigError(f"policies.{name}.class is {kind!r}, expected one of {', '.join(BUILTIN)}.")
    try:
        given = {key: value for key, value in params.items() if key != "class"}
        policy = create(kind, _PRESETS.get(kind, {}) | given, BUILTIN, "policy")
    except ConfigError as error:
        raise ConfigError(f"policies.{name}: {error}") from error
    if not isinstance(policy, Policy):
        raise ConfigError(
            f"policies.{name}: {kind} lacks a method of a policy (start, draws, probabilities, choose, learn)."
        )
    takes = inspect.signature(policy.learn).parameters
    if missing := [name for name in ("propensity", "paper") if name not in takes]:
        raise ConfigError(
            f"policies.{name}: learn of {kind} takes {', '.join(takes)}; it also needs {' and '.join(missing)}, "
            "which it may ignore. See qts.bandit.base.Policy."
        )
    return policy
