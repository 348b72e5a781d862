"""How an amount stands to the one before."""

from __future__ import annotations

from qts.market.sentiment import words as w
from qts.market.sentiment.figures import belongs, counts, figure_at, owned
from qts.market.sentiment.tokens import Tokens

_COMPARED = 1.5
#: A smaller difference than this share is none: "at the previous year's level".
_LEVEL = 0.005
#: Amounts of which one is this many times the other are not of one figure.
_APART = 100

#: A sentence's verb: what stands before it is no older amount of what comes after.
_STATES = w.word_set("was is were are totalled totaled amounted been stood came")
_ENDS_IT = _STATES | {"and"}
#: "A year ago", "twelve months earlier".
_AGO = w.word_set("ago earlier before previously")
#: Before "the" and an amount: "less than the EUR 2 mn of last year", "an improvement on the EUR 2 mn loss".
_BESIDE = w.word_set("than over above below on")
_RESULTS = w.LOSS | w.PROFIT
#: "In the range from 4 to 6 mn", "5 mn came from Spain": nothing changes.
_SPANS = w.word_set("range ranges ranged ranging vary varies varied varying anything came come comes coming")
#: Verbs that say themselves whether a change is for the better.
_JUDGES = w.word_set("improved weakened worsened deteriorated strengthened")


def comparisons(tokens: Tokens) -> list[tuple[int, float]]:
    """Amounts set beside older ones, as (token, worth).

    "Profit rose to EUR 13 mn from EUR 8 mn", "EUR 1 mn, compared to a loss of EUR 2 mn", "grew from 4 to 6 million",
    "EUR 1 mn, whereas a year ago it was EUR 2 mn".
    """
    found = []
    for at, word in enumerate(tokens.words):
        start, apart = _older(tokens, at, word), False
        if not start and word in _AGO and at and tokens.words[at - 1] in w.PERIODS:
            start, apart = at + 1, True
        if start and (worth := _compare(tokens, at, start, apart)):
            found.append((at, worth))
    return found


def _older(tokens: Tokens, at: int, word: str) -> int:
    """Where the older amount may begin, 0 where token `at` compares nothing."""
    before, following = tokens.words[at - 1] if at else "", tokens.words[at + 1] if at + 1 < len(tokens) else ""
    if word in w.COMPARES:
        return 0 if before in _SPANS else at + 1
    if word == "been" and before in {"had", "having"}:
        return at + 1
    if word == "(" and _bracketed_share(tokens, at):
        return at + 1
    if word == "after" and following in {"a", "an"}:  # "a profit of EUR 1 mn, after a loss of EUR 2 mn"
        return 0 if _RESULTS.isdisjoint(tokens.words[at + 2 : at + 4]) else at + 2
    if word in _BESIDE and following == "the":
        amount = tokens.amounts[at + 2] if at + 2 < len(tokens) else None
        return 0 if amount is None or amount.bare else at + 2
    return at + 2 if word in {"compared", "compares", "comparing", "opposed"} and following in {"to", "with"} else 0


def _bracketed_share(tokens: Tokens, at: int) -> bool:
    """Whether a bracket holds a percentage behind another one: "17.8% (12.1%)"."""
    if not at or at + 2 >= len(tokens) or tokens.words[at + 2] != ")":
        return False
    new, old = tokens.amounts[at - 1], tokens.amounts[at + 1]
    return new is not None and old is not None and new.percent and old.percent


def _compare(tokens: Tokens, at: int, start: int, apart: bool) -> float:
    old = next((n for n in range(start, min(start + 10, len(tokens))) if counts(tokens, n)), None)
    if old is None or not (_of_its_own if apart else _follows)(tokens, start, old):
        return 0.0
    new = _new(tokens, at, old, apart)
    if new is None:
        return 0.0
    first, last = max(min(new, at) - 6, 0), max(new, old)
    if owned(tokens, first, last) or not w.PEOPLE.isdisjoint(tokens.words[first:last]):
        return 0.0
    if not _JUDGES.isdisjoint(tokens.words[max(new - 3, 0) : new]):
        return 0.0  # "weakened to 97 % from 92 %": the verb knows what is good
    new_sign, figure, unsaid = _sign(tokens, new, 0)
    if not figure:  # of no figure with a name; a bracket alone tells too little then
        figure = 0.0 if tokens.words[at] == "(" else 1.0
    old_sign = _own_sign(tokens, start, old) or unsaid
    new_amount, old_amount = tokens.amounts[new], tokens.amounts[old]
    if new_amount is None or old_amount is None:
        return 0.0
    new_value, old_value = new_amount.value, old_amount.value
    if old_amount.bare and old_value * new_amount.unit < _APART * abs(new_value):
        old_value *= new_amount.unit  # "from 4 to 6 million", but not "from 900,000 to 1.2 million"
    rise = new_sign * new_value - old_sign * old_value
    if abs(rise) <= _LEVEL * max(abs(new_value), abs(old_value)):
        return 0.0
    return _COMPARED * figure * (1 if rise > 0 else -1)


def _follows(tokens: Tokens, start: int, old: int) -> bool:
    """Whether an older amount follows in the same clause: "from a loss of EUR 2 mn"."""
    return not any(tokens.words[n] in w.CLAUSE or tokens.words[n] in _ENDS_IT for n in range(start, old))


def _of_its_own(tokens: Tokens, start: int, old: int) -> bool:
    """Whether an older amount has a clause of its own, of the same figure: "a year ago it was EUR 2 mn"."""
    between = range(start, old)
    if any(tokens.words[n] in w.CLAUSE or tokens.words[n] == "now" or figure_at(tokens, n) for n in between):
        return False
    return any(tokens.words[n] in _STATES for n in between)


def _new(tokens: Tokens, at: int, old: int, apart: bool) -> int | None:
    """The newer amount: behind "to" after the older one, or else the last one before that compares with it."""
    for place in range(old + 1, min(old + 5, len(tokens) - 1)):
        if tokens.words[place] == "to" and tokens.words[place - 1] != "compared" and counts(tokens, place + 1):
            return place + 1
    for place in range(at - 1, max(at - 30, 0) - 1, -1):
        if tokens.words[place] in {";", "while"} and not apart:
            return None
        if _of_a_kind(tokens, place, old):
            return place
    return None


def _of_a_kind(tokens: Tokens, new: int, old: int) -> bool:
    """Whether two amounts can be of one figure at two times."""
    newer, older = tokens.amounts[new], tokens.amounts[old]
    if newer is None or older is None or not counts(tokens, new) or newer.percent != older.percent:
        return False
    if newer.bare and not older.bare and (older.currency or _APART * abs(newer.value) < abs(older.value)):
        return False  # a count, or part of a date
    if newer.currency and older.currency and newer.currency != older.currency:  # the same once more, converted
        return False
    if newer.percent and new and tokens.words[new - 1] == "by":  # a change, not a level
        return False
    # what one share earns nobody states in millions
    return not (_per_share(tokens, new) and older.unit > 1) and not (_per_share(tokens, old) and newer.unit > 1)


def _per_share(tokens: Tokens, at: int) -> bool:
    return tokens.words[at + 1 : at + 3] in (["per", "share"], ["a", "share"])


def _own_sign(tokens: Tokens, start: int, at: int) -> int:
    """The sign that words between give an older amount, 0 where they give none."""
    for place in range(at - 1, start - 1, -1):
        word = tokens.words[place]
        if word in w.LOSS or word in {"negative", "minus"}:
            return -1
        if word in w.PROFIT or word == "positive":
            return 1
    return 0


def _sign(tokens: Tokens, at: int, stop: int) -> tuple[int, float, int]:
    """Of a newer amount: its sign; 1 for a figure that should be high, -1 for low, 0 without a name; the older sign.

    The older sign is that of an amount without a word of its own: a loss is compared with a loss, "a negative EUR 1 mn"
    with an amount above zero.
    """
    head = 0.0
    for place in range(at - 1, max(at - 25, stop) - 1, -1):
        word = tokens.words[place]
        if word in w.CLAUSE and word != "." and place < at - 1:
            break
        if word in w.LOSS or word in {"negative", "minus"}:
            return -1, 1.0, -1 if word in w.LOSS else 1
        figure = figure_at(tokens, place)
        if figure and not (place and tokens.words[place - 1] == "per"):
            head = 1.0 if figure > 0 else -1.0
            if not belongs(tokens, place):
                break
    return 1, head, 1


def in_comparison(tokens: Tokens, at: int) -> bool:
    """Whether a word belongs to the older side: the loss in "compared to a loss of"."""
    for place in range(at - 1, max(at - 8, 0) - 1, -1):
        word = tokens.words[place]
        if word in w.COMPARES or word == "compared" or (word == "after" and at - place <= 2):
            return True
        if tokens.amounts[place] is not None or word in w.CLAUSE:
            return False
    return False
