"""The online forward filter over many instruments at once, beside hmmlearn's forward pass series by series.

Both compute the log-likelihood of the same series under the same three-state models; the filter also gives the
probabilities after every bar, which hmmlearn has only smoothed, that is with the future in them.
"""

from __future__ import annotations

import time

import numpy as np
from harness import alternate, options, publish, record_of
from hmmlearn.hmm import GaussianHMM

from qts.regime.forward import ForwardFilter
from qts.regime.model import Regimes


def main() -> None:
    given = options(__doc__, {"instruments": (1000, 100), "bars": (250, 50)})
    rng = np.random.default_rng(0)
    models = [
        Regimes.ordered(
            rng.normal(0, 0.001, 3),
            np.sort(rng.uniform(0.005, 0.03, 3)),
            rng.dirichlet(np.ones(3), 3),
            np.full(3, 1 / 3),
        )
        for _ in range(given.instruments)
    ]
    values = 0.01 * rng.normal(size=(given.bars, given.instruments))
    peers = [_hmmlearn(model) for model in models]

    def ours() -> np.ndarray:
        return ForwardFilter.of(models).run(values)[1].log_density.sum(axis=0)

    def theirs() -> np.ndarray:
        return np.array([peer.score(values[:, [n]]) for n, peer in enumerate(peers)])

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-9)
    measured = alternate(ours, theirs, repetitions=5, clock=time.process_time)
    a_bar = [1000 * seconds / given.bars for seconds in measured.subject]
    details = {"times hmmlearn's forward pass": sum(measured.subject) / sum(measured.peer)}
    publish(record_of("regime_bar", a_bar, source="simulated", details=details), given)


def _hmmlearn(model: Regimes) -> GaussianHMM:
    peer = GaussianHMM(model.states)
    peer.n_features = 1
    peer.startprob_, peer.transmat_ = model.start, model.transition
    peer.means_, peer.covars_ = model.mean[:, None], model.sd[:, None] ** 2
    return peer


if __name__ == "__main__":
    main()
