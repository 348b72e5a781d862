"""The offline scorer: words, figures that rose or fell, amounts compared, and what usually is news."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qts.market.sentiment import words as w
from qts.market.sentiment.comparisons import comparisons, in_comparison
from qts.market.sentiment.contrast import weights
from qts.market.sentiment.events import events
from qts.market.sentiment.figures import change
from qts.market.sentiment.scorer import Scores, labels_of
from qts.market.sentiment.tokens import Tokens, tokenise

#: Weight from which a text is more than neutral. A plain statement weighs 1, a hint less than one half.
_THRESHOLD = 0.5
#: A longer text needs more cues: they are divided by the root of how often this many tokens go into it.
_TOKENS = 60

_LEVELS = {"up", "down"}
_CHANGES = w.UP | w.DOWN | _LEVELS | {"added", "adds", "change", "more"}
#: What is left of a cue in a text that tells how things are accounted for.
_OF_POLICY = 0.3
#: What a negation leaves: "no problems" is a weaker praise than "not profitable" is a complaint.
_NO_TROUBLE, _DENIED = -0.4, -0.9
_DETERMINERS = w.word_set("the a an its our their his her this these s")
_BE = w.word_set("was were been is are be being")
_TONES = w.POSITIVE.keys() | w.NEGATIVE.keys() | w.LOSS


@dataclass(frozen=True)
class Lexicon:
    """Adds up what a text's cues are worth and squashes the sum into [-1, 1].

    The cues are words with a tone of their own; figures that rose or fell, where a falling cost is good; amounts set
    beside older ones ("to EUR 5 mn from EUR 6 mn", a profit after a loss); and events such as orders won or staff laid
    off. A negation turns a cue and takes some of its weight, intensity scales it, conjecture takes some; a trouble that
    ended is good news; what a sentence concedes ("although", "despite") weighs less than what it says. A text without
    cues is neutral, as most company news is. English only: of another language it knows no words.

    Source of the approach: P. Malo, A. Sinha, P. Korhonen, J. Wallenius, P. Takala, "Good debt or bad debt: Detecting
    semantic orientations in economic texts", JASIST 65 (2014), where the direction of an entity decides.

    >>> Lexicon().score(["Operating loss narrowed to EUR 1.2 mn from EUR 3.4 mn."]).label
    ['positive']
    """

    name: str = "lexicon-4"

    def score(self, texts: Sequence[str | None]) -> Scores:
        """See `Scorer`."""
        found = [_read(text) if isinstance(text, str) else (0.0, 0.0) for text in texts]
        raw = np.array([worth for worth, _ in found], np.float64)
        # tanh at half speed keeps a plain statement (1.0) at .46 and leaves room above it.
        score = np.tanh(0.5 * raw)
        return Scores(score, labels_of(score, math.tanh(0.5 * _THRESHOLD)), np.array([u for _, u in found], np.float64))


def _read(text: str) -> tuple[float, float]:
    """The worth of a text's cues, and the share of conjecture."""
    tokens = tokenise(text)
    if not len(tokens):
        return 0.0, 0.0
    compared = comparisons(tokens)
    cues = [*compared, *events(tokens), *_turned_and_toned(tokens, {at for at, _ in compared})]
    weight = weights(tokens) if cues else None
    worth = sum(value for _, value in cues) if weight is None else sum(value * weight[at] for at, value in cues)
    if _policy(tokens):
        worth *= _OF_POLICY
    uncertain = sum(word in w.UNCERTAIN for word in tokens.words)
    return worth / math.sqrt(max(1.0, len(tokens) / _TOKENS)), min(1.0, 8 * uncertain / len(tokens))


def _policy(tokens: Tokens) -> bool:
    """Whether a text says how things are accounted for: "an impairment is recognised when", and no amount."""
    words = tokens.words
    if w.ACCOUNTS.isdisjoint(words) or any(amount is not None and amount.currency for amount in tokens.amounts):
        return False
    return any(word in w.ACCOUNTS and at and words[at - 1] in {"is", "are"} for at, word in enumerate(words))


def _turned_and_toned(tokens: Tokens, compared: set[int]) -> Iterator[tuple[int, float]]:
    """Figures that rose or fell, and words with a tone; what a change has judged has no tone of its own besides.

    "Down from a profit" is judged as the comparison that it is: the loss before it did not fall.
    """
    judged: set[int] = set()
    for at, word in enumerate(tokens.words):
        if word in _CHANGES and not (word in _LEVELS and at + 1 in compared):
            worth, figure = change(tokens, at)
            if worth:
                judged.update((at, figure))
                yield at, worth * _manner(tokens, at)
    for at, word in enumerate(tokens.words):
        if at in judged or word not in _TONES or _technical(tokens, at):
            continue
        if word in w.POSITIVE:
            yield at, w.POSITIVE[word] * _manner(tokens, at)
        elif word in w.NEGATIVE:
            yield at, -w.NEGATIVE[word] * _manner(tokens, at) * _relief(tokens, at)
        elif not in_comparison(tokens, at):
            yield at, -0.7 * _manner(tokens, at) * _relief(tokens, at)


def _technical(tokens: Tokens, at: int) -> bool:
    """Whether a word with a tone is part of a term that has none: a strike price, a profit and loss account."""
    words = tokens.words
    if at and f"{words[at - 1]} {words[at]}" in w.TERMS:
        return True
    if at + 1 < len(tokens) and f"{words[at]} {words[at + 1]}" in w.TERMS:
        return True
    if words[at] in w.POSITIVE and words[at] != "best" and _describes(tokens, at):
        return True
    objects = w.TONELESS_WITH.get(words[at])
    return objects is not None and not objects.isdisjoint(words[at + 1 : at + 7])


def _describes(tokens: Tokens, at: int) -> bool:
    """Whether a word of praise stands before what a company is: "a successful international technology company"."""
    for word in tokens.words[at + 1 : at + 5]:
        if word in w.DESCRIBED:
            return True
        if word in w.STOPS or word in _BE or word in _DETERMINERS:
            return False
    return False


def _relief(tokens: Tokens, at: int) -> float:
    """A trouble that ended is good news; that something helps against troubles is a hint of it."""
    for place in range(at - 1, max(at - 5, -1), -1):
        word = tokens.words[place]
        if word in w.ENDED:
            return -0.8
        if word in w.ENDING:
            return -0.4
        if word in w.STOPS:  # "dropped on weak demand" ends nothing
            break
    for place in range(at + 1, min(at + 12, len(tokens) - 1)):
        word = tokens.words[place]
        if word in w.CLAUSE:
            break
        if word in _BE and tokens.words[place + 1] in w.ENDED:  # "the lawsuit was withdrawn"
            return -0.8
        if word in _BE and tokens.words[place + 1 : place + 3] in (["over"], ["over", ","], ["over", "."]):
            return -0.8
        if word in {"ended", "ends"} and tokens.words[place - 1] not in w.PERIODS:  # "the strike ended"
            return -0.8
    return 1.0


def _manner(tokens: Tokens, at: int) -> float:
    """What the words around a cue do to it."""
    before = tokens.words[max(at - 4, 0) : at]
    near = [*before[-2:], *tokens.words[at + 1 : at + 3]]
    factor = 1.0
    if any(word in w.NEGATIONS for word in before) and "only" not in before:
        factor *= _NO_TROUBLE if tokens.words[at] in w.NEGATIVE else _DENIED
    if before[-1:] == ["less"]:
        factor *= _DENIED
    if "had" in before and "expected" in before:  # "analysts had expected a smaller profit"
        factor *= _DENIED
    if before[-1:] == ["more"] or any(word in w.BOOSTERS for word in near):
        factor *= 1.3
    if any(word in w.DAMPENERS for word in near):
        factor *= 0.7
    if any(word in w.MODALS for word in before):
        factor *= 0.7
    return factor
