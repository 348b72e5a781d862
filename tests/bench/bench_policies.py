"""LinUCB's decisions and updates a second, beside mabwiser's LinUCB and Vowpal Wabbit's learn.

Twenty arms, ten features. Trading needs a model of its own for every instrument, so mabwiser gets one object an
instrument too, asked for one decision each. Where one model serves a thousand contexts at once mabwiser is far faster;
that figure stands in the details. Vowpal Wabbit learns one model from parsed examples. A decision here is scores,
floor, draw and propensity.
"""

from __future__ import annotations

import time

import numpy as np
from harness import alternate, options, publish, record_of, seconds_of
from mabwiser.mab import MAB, LearningPolicy
from vowpalwabbit import Workspace

from qts.bandit.draws import uniforms
from qts.bandit.linucb import LinUcb

ARMS, FEATURES = 20, 10


def main() -> None:
    given = options(__doc__, {"instruments": (1000, 200), "rounds": (10, 3)})
    count = given.instruments
    rng = np.random.default_rng(0)
    contexts = rng.normal(size=(count, FEATURES))
    arm = rng.integers(0, ARMS, count)
    reward = rng.random(count)
    policy = LinUcb()
    state = policy.start(count, ARMS, FEATURES)
    for _ in range(5):
        state = policy.learn(state, contexts, rng.integers(0, ARMS, count), rng.random(count))
    drawn = uniforms(0, 0, [str(number) for number in range(count)], "bench", 1)

    peers = [MAB(list(range(ARMS)), LearningPolicy.LinUCB(alpha=1.0, l2_lambda=1.0), seed=0) for _ in range(count)]
    for peer in peers:
        peer.fit(arm[:ARMS], reward[:ARMS], contexts[:ARMS])
    single = [contexts[row : row + 1] for row in range(count)]

    def decide() -> None:
        for peer, context in zip(peers, single, strict=True):
            peer.predict(context)

    scored = alternate(
        lambda: policy.choose(state, contexts, drawn), decide, repetitions=given.rounds, clock=time.process_time
    )
    shared = min(seconds_of(lambda: peers[0].predict(contexts)) for _ in range(given.rounds))
    details = {
        "decisions a second": count / min(scored.subject),
        "mabwiser's": count / min(scored.peer),
        "mabwiser's, one model for all": count / shared,
    }
    faster = [1.0 / ratio for ratio in scored.ratios]
    publish(record_of("policy_decisions", faster, source="simulated", details=details), given)

    workspace = Workspace(f"--cb {ARMS} --quiet")
    lines = [
        f"{k + 1}:{1 - paid:.4f}:{1 / ARMS} | " + " ".join(f"f{i}:{x:.4f}" for i, x in enumerate(row))
        for k, paid, row in zip(arm, reward, contexts, strict=True)
    ]
    examples = [workspace.example(line) for line in lines]

    def learn() -> None:
        for example in examples:
            workspace.learn(example)

    learnt = alternate(
        lambda: policy.learn(state, contexts, arm, reward), learn, repetitions=given.rounds, clock=time.process_time
    )
    details = {"updates a second": count / min(learnt.subject), "Vowpal Wabbit's": count / min(learnt.peer)}
    faster = [1.0 / ratio for ratio in learnt.ratios]
    publish(record_of("policy_updates", faster, source="simulated", details=details), given)


if __name__ == "__main__":
    main()
