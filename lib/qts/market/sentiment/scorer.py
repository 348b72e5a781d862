"""What a scorer of texts is, and the one of a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from qts.errors import ConfigError
from qts.market.bar import Array

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True)
class Scores:
    """Of `N` texts.

    Attributes:
        score: from -1 (bad news for a holder) to 1 (good news), 0 for a text that says nothing, shape (N,).
        label: one of `LABELS` each.
        uncertainty: how much of a text is conjecture, from 0 to 1, shape (N,).
    """

    score: Array
    label: list[str]
    uncertainty: Array


class Scorer(Protocol):
    """Scores texts one by one: a text's score depends on nothing but the text."""

    @property
    def name(self) -> str:
        """Goes beside every score; it changes when the scorer does."""
        ...

    def score(self, texts: Sequence[str | None]) -> Scores:
        """Scores of texts; an empty or missing one is neutral."""
        ...


def build(name: str) -> Scorer:
    """The scorer `lexicon`, or a transformers model in a folder.

    Raises:
        ConfigError: neither.
        SetupError: there is a model, but not the library that runs it.
    """
    if name == "lexicon":
        from qts.market.sentiment.lexicon import Lexicon

        return Lexicon()
    folder = Path(name)
    if not folder.is_dir():
        raise ConfigError(
            f"There is no scorer {name!r}: expected 'lexicon', or a folder with a transformers model "
            "(config.json, tokenizer, weights). Nothing is downloaded."
        )
    from qts.market.sentiment.transformer import Transformer

    return Transformer.load(folder)


def labels_of(score: Array, threshold: float) -> list[str]:
    """Labels by a symmetric threshold."""
    return [LABELS[int(sign) + 1] for sign in np.where(np.abs(score) >= threshold, np.sign(score), 0)]
