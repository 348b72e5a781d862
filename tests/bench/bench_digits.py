"""The digits as a 10-arm contextual bandit: LinUCB beside Vowpal Wabbit's squarecb on the same rounds.

scikit-learn's digits, pixels / 16 and an intercept, rows tiled and permuted, alpha .1, 10,000 rounds; several seeds.
What is compared is the mean reward, not the time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from harness import options, publish, record_of
from sklearn.datasets import load_digits
from vowpalwabbit import Workspace

from qts.bandit import simulate
from qts.bandit.registry import build_policy


def main() -> None:
    given = options(__doc__, {"rounds": (10_000, 500), "seeds": (3, 1)})
    pixels, labels = load_digits(return_X_y=True)
    frame = pd.DataFrame(pixels, columns=[f"x{number}" for number in range(64)]).assign(label=labels)
    data = simulate.table(frame, "label")
    ours = {
        name: [played(name, data, given.rounds, seed) for seed in range(given.seeds)] for name in ("linucb", "lints")
    }
    theirs = [vowpal(data, given.rounds, seed) for seed in range(given.seeds)]
    details = {
        "linear Thompson": float(np.mean([reward.mean() for reward in ours["lints"]])),
        "last 2,000": float(np.mean([reward[-2000:].mean() for reward in ours["linucb"]])),
        "Vowpal Wabbit's squarecb": float(np.mean([reward.mean() for reward in theirs])),
    }
    values = [float(reward.mean()) for reward in ours["linucb"]]
    publish(record_of("digits_reward", values, source="real", details=details), given)


def played(name: str, data: simulate.Table, rounds: int, seed: int) -> np.ndarray:
    policy = build_policy(name, {**simulate.LABELLED[name], "alpha": 0.1})
    return simulate.play(policy, data, rounds, seed).reward


def vowpal(data: simulate.Table, rounds: int, seed: int) -> np.ndarray:
    """Rewards of `--cb_explore 10 --squarecb` on the rows that `simulate.play` shows in the same order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(max(rounds, len(data.labels)))[:rounds] % len(data.labels)
    workspace = Workspace(f"--cb_explore {len(data.arms)} --squarecb --quiet --random_seed {seed}")
    reward = np.empty(rounds)
    for number, row in enumerate(order):
        features = " ".join(f"x{k}:{value:.6g}" for k, value in enumerate(data.contexts[row]) if value)
        chances = np.array(workspace.predict(f"| {features}"))
        arm = rng.choice(len(chances), p=chances / chances.sum())
        reward[number] = float(data.labels[row] == arm)
        workspace.learn(f"{arm + 1}:{-reward[number]}:{chances[arm]:.6f} | {features}")
    return reward


if __name__ == "__main__":
    main()
