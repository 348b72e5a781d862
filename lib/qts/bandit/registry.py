"""The policies by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qts.bandit.base import Policy
from qts.bandit.linucb import LinUcb
from qts.bandit.thompson import GaussianThompson
from qts.errors import ConfigError
from qts.plugins import create

BUILTIN: dict[str, type[Policy]] = {"thompson": GaussianThompson, "linucb": LinUcb}


def build_policy(name: str, params: Mapping[str, Any]) -> Policy:
    """One policy of a configuration.

    Args:
        name: of the policy, where `params` has no `class`: `thompson` or `linucb`.
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
        policy = create(kind, {key: value for key, value in params.items() if key != "class"}, BUILTIN, "policy")
    except ConfigError as error:
        raise ConfigError(f"policies.{name}: {error}") from error
    if not isinstance(policy, Policy):
        raise ConfigError(
            f"policies.{name}: {kind} lacks a method of a policy (start, draws, probabilities, choose, learn)."
        )
    return policy
