"""propose(): the half of the decision step that sees one instrument at a time.

Per bar: matured rewards teach the policies, strategies step, every policy chooses one of the strategies for every
instrument. All of it works row by row, so it runs in any number of buckets with the same bits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from qts.bandit.base import Choice, Policy, Pooled
from qts.bandit.draws import uniforms
from qts.bandit.reward import reward
from qts.market.bar import Array, Bar, BarPanel, IntArray, State
from qts.market.returns import log_return
from qts.strategy.base import Strategy, divide
from qts.trading import across

#: What a policy knows when it chooses; each is a ratio without unit, clipped to [-5, 5]; 0 while unknown.
CONTEXT = (
    "constant",
    "last_return",
    "trend",
    "volatility_ratio",
    "forecast_ratio",
    "stressed",
    "sentiment",
    "position",
)

#: Arrays of the state whose second axis is the policies', and those whose second axis is the arms'.
BY_POLICY = frozenset({"arm", "propensity", "position", "previous", "context"})
BY_ARM = frozenset({"signals"})

_DECAY = 0.94  # per bar: RiskMetrics' daily constant (J.P. Morgan, 1996)
_SLOW_DECAY = 0.99
_FLOOR = 1e-5  # least volatility per bar: a constant price must not make a reward infinite


@dataclass(frozen=True)
class Desk:
    """Who decides: the strategies are the arms, every policy learns, one of them acts.

    Attributes:
        strategies: name to strategy; their order is the order of the arms.
        policies: name to policy.
        acting: the policy whose choices become orders.
        seed: of all random draws.
        cost: of turning over a position of 1, as a fraction of its value.
        hold: bars of its instrument for which a chosen strategy is kept. Its signal is followed, and learnt from, at
            every one of them; only the choice waits, for an exploring policy that chooses anew at every bar turns its
            position over at every bar.
    """

    strategies: Mapping[str, Strategy]
    policies: Mapping[str, Policy]
    acting: str
    seed: int
    cost: float
    hold: int = 1


@dataclass(frozen=True)
class Proposals:
    """What was proposed at `T` bar times for `N` instruments by `S` strategies and `P` policies.

    Attributes:
        signals: shape (T, N, S).
        context: shape (T, N, C), the columns of `CONTEXT`, as each policy of P saw it in `position`: (T, N, P, C).
        arm: index of the chosen strategy, shape (T, N, P); -1 where the instrument has no bar.
        propensity: probability with which the arm was chosen, when it was, shape (T, N, P). While an arm is kept it
            stays what it was: seen from the choice, that is how likely the arm is at every bar until the next one.
        target: signal of the chosen arm, shape (T, N, P); NaN where the instrument has no bar.
        reward: of the choice that matured at this bar, shape (T, N, P); NaN where none did.
        reward_arm: the arm that it belongs to, shape (T, N, P); -1 where none.
        reward_time: bar time of that choice, nanoseconds, shape (T, N).
    """

    signals: Array
    context: Array
    arm: IntArray
    propensity: Array
    target: Array
    reward: Array
    reward_arm: IntArray
    reward_time: IntArray

    @classmethod
    def join(cls, parts: Sequence[Proposals], order: npt.NDArray[np.intp]) -> Proposals:
        """Puts buckets of instruments together; row `order[i]` of all of them is instrument `i`."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts], axis=1)[:, order] for f in fields(cls)))

    @classmethod
    def follow(cls, parts: Sequence[Proposals]) -> Proposals:
        """Puts stretches of time together."""
        return (
            parts[0]
            if len(parts) == 1
            else cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))
        )


def start(desk: Desk, instruments: int) -> State:
    """The state before the first bar; the leading axis of every array is the instruments'."""
    arms, policies = len(desk.strategies), len(desk.policies)
    state: State = {
        "close": np.full(instruments, np.nan),
        "fast_variance": np.full(instruments, np.nan),
        "slow_variance": np.full(instruments, np.nan),
        "trend": np.zeros(instruments),
        "decided_at": np.zeros(instruments, dtype=np.int64),
        "kept": np.zeros(instruments, dtype=np.int64),
        "decided_volatility": np.full(instruments, np.nan),
        "signals": np.zeros((instruments, arms)),
        "arm": np.full((instruments, policies), -1, dtype=np.int64),
        "propensity": np.full((instruments, policies), np.nan),
        "position": np.zeros((instruments, policies)),
        "previous": np.zeros((instruments, policies)),
        "context": np.zeros((instruments, policies, len(CONTEXT))),
        "clock": np.zeros(instruments, dtype=np.int64),
        **across.start(instruments),
    }
    for name, strategy in desk.strategies.items():
        state |= {f"strategy/{name}/{key}": value for key, value in strategy.start(instruments).items()}
    for name, policy in desk.policies.items():
        state |= {f"policy/{name}/{key}": value for key, value in policy.start(instruments, arms, len(CONTEXT)).items()}
    return state


def propose(desk: Desk, state: State, panel: BarPanel) -> tuple[State, Proposals]:
    """Steps through a panel of bars.

    Args:
        desk: strategies and policies.
        state: from `start`, or from the call before; it is not changed.
        panel: bars of instruments in the order of the state's rows.

    Returns:
        The new state and the proposals at every bar time.
    """
    shape = (len(panel), len(panel.instruments))
    out = Proposals(
        signals=np.zeros((*shape, len(desk.strategies))),
        context=np.zeros((*shape, len(desk.policies), len(CONTEXT))),
        arm=np.full((*shape, len(desk.policies)), -1, dtype=np.int64),
        propensity=np.full((*shape, len(desk.policies)), np.nan),
        target=np.full((*shape, len(desk.policies)), np.nan),
        reward=np.full((*shape, len(desk.policies)), np.nan),
        reward_arm=np.full((*shape, len(desk.policies)), -1, dtype=np.int64),
        reward_time=np.zeros(shape, dtype=np.int64),
    )
    shared, owned = _by_owner(state)
    for row, bar in enumerate(panel):
        _step(desk, shared, owned, bar, panel.instruments, out, row)
    return _joined(shared, owned), out


def _step(
    desk: Desk, state: State, owned: dict[str, State], bar: Bar, names: Sequence[str], out: Proposals, row: int
) -> None:
    here = np.isfinite(bar.close) & (bar.close > 0)
    change = np.where(here, log_return(state["close"], np.where(here, bar.close, np.nan)), np.nan)
    _mature(desk, state, owned, change, here, out, row)
    _observe(state, bar, change, here)
    for arm, (name, strategy) in enumerate(desk.strategies.items()):
        owned[f"strategy/{name}"], signal = strategy.step(owned[f"strategy/{name}"], bar)
        out.signals[row, :, arm] = signal
    _choose(desk, state, owned, bar, names, here, change, out, row)


def _mature(
    desk: Desk,
    state: State,
    owned: dict[str, State],
    change: Array,
    here: npt.NDArray[np.bool_],
    out: Proposals,
    row: int,
) -> None:
    """The choice made at an instrument's bar before is worth what the price did since; so is every other arm."""
    out.reward_time[row] = np.where(here, state["decided_at"], 0)
    for number, (name, policy) in enumerate(desk.policies.items()):
        arm = np.where(here & np.isfinite(change), state["arm"][:, number], -1)
        previous = state["previous"][:, number]
        volatility = state["decided_volatility"]
        gain = reward(state["position"][:, number], previous, change, desk.cost, volatility)
        gain = np.where(arm >= 0, gain, np.nan)
        paper = reward(state["signals"], previous[:, None], change[:, None], desk.cost, volatility[:, None])
        owned[f"policy/{name}"] = policy.learn(
            owned[f"policy/{name}"],
            state["context"][:, number],
            arm,
            gain,
            propensity=state["propensity"][:, number],
            paper=paper,
        )
        out.reward[row, :, number] = gain
        out.reward_arm[row, :, number] = np.where(np.isfinite(gain), arm, -1)


def _observe(state: State, bar: Bar, change: Array, here: npt.NDArray[np.bool_]) -> None:
    """Fast and slow EWMA variance and a trend in units of volatility, all from closes."""
    seen = np.isfinite(change)
    for name, decay in (("fast_variance", _DECAY), ("slow_variance", _SLOW_DECAY)):
        old = state[name]
        fresh = np.where(np.isnan(old), change**2, decay * old + (1 - decay) * change**2)
        state[name] = np.where(seen, fresh, old)
    scaled = np.clip(np.nan_to_num(divide(change, np.sqrt(state["fast_variance"]))), -5, 5)
    state["trend"] = np.where(seen, _DECAY * state["trend"] + (1 - _DECAY) * scaled, state["trend"])
    state["close"] = np.where(here, bar.close, state["close"])


def _choose(
    desk: Desk,
    state: State,
    owned: dict[str, State],
    bar: Bar,
    names: Sequence[str],
    here: npt.NDArray[np.bool_],
    change: Array,
    out: Proposals,
    row: int,
) -> None:
    volatility = np.maximum(np.sqrt(state["fast_variance"]), _FLOOR)
    unknown = np.full(len(here), np.nan)
    forecast = bar.extra.get("forecast.log_har.variance", unknown)
    common = {
        "constant": np.ones(len(here)),
        "last_return": divide(change, volatility),
        "trend": 4 * state["trend"],
        "volatility_ratio": log_return(state["slow_variance"], np.maximum(state["fast_variance"], _FLOOR**2)),
        "forecast_ratio": log_return(state["slow_variance"], np.maximum(forecast, _FLOOR**2)),
        "stressed": bar.extra.get("regime.stressed", unknown),
        "sentiment": bar.extra.get("sentiment.score", unknown),
    }
    signals = out.signals[row]
    due = state["kept"] == 0
    arms, propensities, positions, previous, contexts = [], [], [], [], []
    for number, (name, policy) in enumerate(desk.policies.items()):
        held = state["position"][:, number]
        columns = [common.get(key, held) for key in CONTEXT]
        context = np.clip(np.nan_to_num(np.stack(columns, axis=1)), -5, 5)
        draws = uniforms(desk.seed, bar.time, names, name, policy.draws(signals.shape[1]))
        choice = policy.choose(owned[f"policy/{name}"], context, draws)
        if desk.hold > 1:
            anew = due | (state["arm"][:, number] < 0)
            choice = Choice(
                np.where(anew, choice.arm, state["arm"][:, number]),
                np.where(anew, choice.propensity, state["propensity"][:, number]),
            )
        target = np.take_along_axis(signals, choice.arm[:, None], axis=1)[:, 0]
        out.context[row, :, number] = context
        out.arm[row, :, number] = np.where(here, choice.arm, -1)
        out.propensity[row, :, number] = np.where(here, choice.propensity, np.nan)
        out.target[row, :, number] = np.where(here, target, np.nan)
        arms.append(np.where(here, choice.arm, state["arm"][:, number]))
        propensities.append(np.where(here, choice.propensity, state["propensity"][:, number]))
        positions.append(np.where(here, target, held))
        previous.append(np.where(here, held, state["previous"][:, number]))
        contexts.append(np.where(here[:, None], context, state["context"][:, number]))
    state["arm"], state["position"] = np.stack(arms, axis=1), np.stack(positions, axis=1)
    state["propensity"] = np.stack(propensities, axis=1)
    state["signals"] = np.where(here[:, None], signals, state["signals"])
    state["previous"], state["context"] = np.stack(previous, axis=1), np.stack(contexts, axis=1)
    state["decided_volatility"] = np.where(here, volatility, state["decided_volatility"])
    state["decided_at"] = np.where(here, bar.time, state["decided_at"])
    state["kept"] = np.where(here, (state["kept"] + 1) % desk.hold, state["kept"])


def pool(desk: Desk, state: State, clock: int) -> State:
    """The state of all instruments after the policies whose turn it is have learnt from all of them.

    Args:
        clock: bar times that the desk has decided on so far.
    """
    shared, owned = _by_owner(state)
    for name, policy in desk.policies.items():
        if isinstance(policy, Pooled) and policy.pool and clock and clock % policy.pool == 0:
            owned[f"policy/{name}"] = policy.pooled(owned[f"policy/{name}"])
    return _joined(shared, owned)


def stretches(desk: Desk, clock: int, bars: int) -> list[slice]:
    """The stretches of the next bars between which policies learn from all instruments; one where none does."""
    turns = [policy.pool for policy in desk.policies.values() if isinstance(policy, Pooled) and policy.pool]
    cuts = [row for row in range(1, bars) if any((clock + row) % turn == 0 for turn in turns)]
    return [slice(start, stop) for start, stop in zip([0, *cuts], [*cuts, bars], strict=True)]


def _by_owner(state: State) -> tuple[State, dict[str, State]]:
    """The arrays that are nobody's, and those of each strategy and policy: `policy/thompson/sum` is the sum of one."""
    shared: State = {}
    owned: dict[str, State] = defaultdict(dict)
    for name, value in state.items():
        owner, _, key = name.rpartition("/")
        (owned[owner] if owner else shared)[key] = value
    return shared, owned


def _joined(shared: State, owned: Mapping[str, State]) -> State:
    return shared | {f"{owner}/{key}": value for owner, part in owned.items() for key, value in part.items()}
