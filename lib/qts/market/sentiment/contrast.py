"""Which part of a sentence prevails: what is conceded weighs less than what is said, and "but" takes back."""

from __future__ import annotations

from qts.market.sentiment.tokens import Tokens

_CONCEDES = {"although", "though", "despite", "notwithstanding"}
_TAKES_BACK = {"but", "however"}
_ENDS = {".", ";"}
_ALL = {"all", "every", "any", "anything", "everything", "none", "nothing"}
_TURNS = _CONCEDES | _TAKES_BACK | {"spite"}

#: What is left of a cue that a sentence concedes, or takes back.
_CONCEDED = 0.4


def weights(tokens: Tokens) -> list[float] | None:
    """How much each token counts, shape (N,), None where all count in full.

    "Although A, B", "B despite A" and "A, but B": B counts in full.
    """
    if _TURNS.isdisjoint(tokens.words):
        return None
    found = [1.0] * len(tokens)
    words, start = tokens.words, 0
    for at, word in enumerate(words):
        if word in _ENDS:
            start = at + 1
        elif word in _CONCEDES or (word == "spite" and at and words[at - 1] == "in"):
            end = next((n for n in range(at, len(words)) if words[n] == "," or words[n] in _ENDS), len(words))
            found[at:end] = [_CONCEDED] * (end - at)
        elif word in _TAKES_BACK and not _takes_nothing(words, start, at):
            found[start:at] = [_CONCEDED] * (at - start)
    return found


def _takes_nothing(words: list[str], start: int, at: int) -> bool:
    """Whether this is the "but" of "not only A but B", or of "all but one"."""
    return "only" in words[start:at] or not _ALL.isdisjoint(words[max(at - 3, start) : at])
