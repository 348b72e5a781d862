"""How a scorer does on labelled sentences beside plain counts of the same word lists, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qts.market.sentiment import words
from qts.market.sentiment.lexicon import Lexicon
from qts.market.sentiment.scorer import LABELS
from qts.market.sentiment.tokens import tokenise

DRAWS = 5000
_ORDER = {name: place for place, name in enumerate(LABELS)}


def count_of_tone(text: str) -> str:
    """Positive words less negative words, by sign: as Loughran and McDonald (2011) count theirs."""
    return _by_sign(text, words.POSITIVE.keys(), words.NEGATIVE.keys())


def count_with_directions(text: str) -> str:
    """The same, where a rise counts as positive and a fall or a loss as negative, whatever rose or fell."""
    return _by_sign(text, words.POSITIVE.keys() | words.UP, words.NEGATIVE.keys() | words.DOWN | words.LOSS)


def _by_sign(text: str, up: set[str] | frozenset[str], down: set[str] | frozenset[str]) -> str:
    tone = sum((word in up) - (word in down) for word in tokenise(text).words)
    return LABELS[1 + (tone > 0) - (tone < 0)]


@dataclass(frozen=True)
class Judged:
    """Labels found beside the true ones, as places in `LABELS`.

    Attributes:
        truth, found: shape (N,).
    """

    truth: NDArray[np.intp]
    found: NDArray[np.intp]

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.truth == self.found

    @property
    def confusion(self) -> NDArray[np.intp]:
        """Counts by (true label, found label), shape (3, 3)."""
        table = np.zeros((3, 3), np.intp)
        np.add.at(table, (self.truth, self.found), 1)
        return table

    @property
    def macro_f1(self) -> float:
        """The mean over the labels of the harmonic mean of precision and recall, 0 for a label never found."""
        table = self.confusion
        return float(np.mean(2 * np.diag(table) / (table.sum(axis=0) + table.sum(axis=1))))


def judged(rows: Sequence[tuple[str, str]]) -> dict[str, Judged]:
    """The lexicon, both counts and "always neutral" on sentences of (label, text)."""
    texts = [text for _, text in rows]
    found = {
        "lexicon": Lexicon().score(texts).label,
        "count of tone": [count_of_tone(text) for text in texts],
        "count with directions": [count_with_directions(text) for text in texts],
        "always neutral": ["neutral"] * len(texts),
    }
    truth = _places([label for label, _ in rows])
    return {name: Judged(truth, _places(labels)) for name, labels in found.items()}


def _places(labels: Sequence[str]) -> NDArray[np.intp]:
    return np.array([_ORDER[label] for label in labels], np.intp)


def interval(values: NDArray[np.generic]) -> tuple[float, float]:
    """95% of a mean over sentences, by the bootstrap; of a paired difference where that is what the values are."""
    drawn = np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(np.asarray(values, np.float64)[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
