"""What a text says of figures: which went up or down, and how an amount stands to the one before."""

from __future__ import annotations

from qts.market.sentiment import words as w
from qts.market.sentiment.tokens import Tokens

#: How far from its verb a figure may stand, before and after, in tokens.
_BEFORE, _AFTER = 12, 5
_PLAIN, _PROFIT, _UNNAMED = 1.0, 1.2, 0.7
_COMPARED = 1.5
#: A smaller difference than this share is none: "at the previous year's level".
_LEVEL = 0.005

_STANDING = w.word_set("was is were are went closed ended traded be been gone going stood edged inched ticked crept")
_GO_ON = {"", *w.word_set(", . on in a sharply slightly strongly significantly almost nearly about some over more")}

#: A sentence's verb: what stands before it is no older amount of what comes after.
_STATES = w.word_set("was is were are totalled totaled amounted")


def figure_at(tokens: Tokens, at: int) -> float:
    """Whether a token names a figure: 1 for one that should be high (1.2 for profits), -1 for low, 0 for none."""
    word = tokens.words[at]
    if word in {"tax", "taxes"} and at and tokens.words[at - 1] in {"before", "after"}:
        return 0.0  # a profit before taxes is a profit
    if word in w.PROFIT:
        return _PROFIT
    if word in w.LOSS:
        return -_PROFIT
    if word in {"price", "prices"}:
        return -_PLAIN if w.INPUTS & set(tokens.words[max(at - 3, 0) : at]) else _PLAIN
    return _PLAIN if word in w.GOOD else -_PLAIN if word in w.BAD else 0.0


def change(tokens: Tokens, at: int) -> tuple[float, int]:
    """What the change that token `at` tells is worth, and the token of its figure.

    Positive is good news; 0 where it tells none. The figure is `at` itself where it has no name.
    """
    word = tokens.words[at]
    direction = _direction(tokens, at)
    if not direction or _of_ownership(tokens, at):
        return 0.0, at
    if word.startswith("rais") and _raises_money(tokens, at):
        return 0.0, at
    if word.startswith("exceed") and w.WORTH & set(tokens.words[max(at - 6, 0) : at]):
        return 0.0, at  # the value of a deal exceeds a sum: that is its size
    if word == "growth" and at + 1 < len(tokens) and tokens.words[at + 1] in w.NAMED_FOR_GROWTH:
        return 0.0, at
    figure, place = _object(tokens, at)
    if not figure:
        figure, place = _subject(tokens, at)
    if figure:
        return direction * figure, place
    named = word not in w.NEEDS_FIGURE or _by_a_share(tokens, at)
    return (direction * _UNNAMED if named else 0.0), at


def _by_a_share(tokens: Tokens, at: int) -> bool:
    """Whether a change is of so many percent: "footfall was 9% lower than" tells one of whatever it is."""
    return any(
        amount is not None and amount.percent
        for amount in (*tokens.amounts[max(at - 1, 0) : at], *tokens.amounts[at + 1 : at + 2])
    )


def _direction(tokens: Tokens, at: int) -> int:
    word = tokens.words[at]
    if word in {"up", "down"}:
        after = tokens.words[at + 1] if at + 1 < len(tokens) else ""
        before = tokens.words[at - 1] if at else ""
        told = after in {"#", "from", "by"} or (before in _STANDING and after in _GO_ON)
        return (1 if word == "up" else -1) if told else 0
    if word in w.OTHERWISE and (at + 1 == len(tokens) or tokens.words[at + 1] not in _GO_ON | {"#", "by"}):
        return 0
    return 1 if word in w.UP else -1 if word in w.DOWN else 0


def _of_ownership(tokens: Tokens, at: int) -> bool:
    before, after = tokens.words[max(at - 6, 0) : at], tokens.words[at + 1 : at + 6]
    if any("number" in near and "shares" in near for near in (before, after)):
        return True
    return _owned(tokens, max(at - 6, 0), at) or _owned(tokens, at + 1, at + 6)


def _owned(tokens: Tokens, first: int, last: int) -> bool:
    """Whether these tokens tell of owning; the return on capital does not."""
    words = tokens.words
    return any(
        words[n] in w.OWNED and not (words[n] == "capital" and n and words[n - 1] == "on")
        for n in range(first, min(last, len(words)))
    )


def _raises_money(tokens: Tokens, at: int) -> bool:
    """Whether an amount is the object itself: "raise some EUR 5 mn", not "raised by 5 %"."""
    after = tokens.words[at + 1 : at + 5]
    return "#" in after and not {"to", "by", "from"} & set(after[: after.index("#")])


def _object(tokens: Tokens, at: int) -> tuple[float, int]:
    """The figure right behind and its token: "higher costs", "increase in sales", "cut its forecast"."""
    start = at + 1
    if start < len(tokens) and tokens.words[start] in {"in", "of"}:
        start += 1
    found, where, paid = 0.0, at, False
    for place in range(start, min(start + _AFTER, len(tokens))):
        if tokens.words[place] in w.STOPS or _counts(tokens, place):
            break
        if figure := figure_at(tokens, place):
            found, where = figure, place  # the last one is the head: "sales costs"
        paid = paid or tokens.words[place] in w.INPUTS
    return found or (-_PLAIN if paid else 0.0), where


def _subject(tokens: Tokens, at: int) -> tuple[float, int]:
    """The figure before and its token: "profit for the period rose", "sales growth"."""
    far = 2 if tokens.words[at] in w.CHANGE_NOUNS else _BEFORE
    for place in range(at - 1, max(at - far, 0) - 1, -1):
        if tokens.words[place] in w.CLAUSE:
            break
        figure = figure_at(tokens, place)
        if figure and not (place and tokens.words[place - 1] == "per"):
            return figure, place
    return 0.0, at


def comparisons(tokens: Tokens) -> list[tuple[int, float]]:
    """Amounts set beside older ones, as (token, worth).

    "Profit rose to EUR 13 mn from EUR 8 mn", "EUR 1 mn, compared to a loss of EUR 2 mn", "grew from 4 to 6 million".
    """
    found = []
    for at, word in enumerate(tokens.words):
        start = _older(tokens, at, word)
        if start:
            worth = _compare(tokens, at, start)
            if worth:
                found.append((at, worth))
    return found


def _older(tokens: Tokens, at: int, word: str) -> int:
    """Where the older amount may begin, 0 where token `at` compares nothing."""
    if word in w.COMPARES or (word == "been" and at and tokens.words[at - 1] in {"had", "having"}):
        return at + 1
    if word == "(" and _bracketed_share(tokens, at):
        return at + 1
    following = tokens.words[at + 1] if at + 1 < len(tokens) else ""
    return at + 2 if word in {"compared", "compares", "comparing", "opposed"} and following in {"to", "with"} else 0


def _bracketed_share(tokens: Tokens, at: int) -> bool:
    """Whether a bracket holds a percentage behind another one: "17.8% (12.1%)"."""
    if not at or at + 2 >= len(tokens) or tokens.words[at + 2] != ")":
        return False
    new, old = tokens.amounts[at - 1], tokens.amounts[at + 1]
    return new is not None and old is not None and new.percent and old.percent


def _compare(tokens: Tokens, at: int, start: int) -> float:
    old = next((n for n in range(start, min(start + 10, len(tokens))) if _counts(tokens, n)), None)
    if old is None or any(tokens.words[n] in w.CLAUSE or tokens.words[n] in _STATES for n in range(start, old)):
        return 0.0
    new = _new(tokens, at, old)
    if new is None:
        return 0.0
    first, last = max(min(new, at) - 6, 0), max(new, old)
    if _owned(tokens, first, last) or not w.PEOPLE.isdisjoint(tokens.words[first:last]):
        return 0.0
    new_sign, figure = _sign(tokens, new, 0)
    if not figure:  # of no figure with a name; a bracket alone tells too little then
        figure = 0.0 if tokens.words[at] == "(" else 1.0
    old_sign = _own_sign(tokens, start, old) or new_sign
    new_amount, old_amount = tokens.amounts[new], tokens.amounts[old]
    if new_amount is None or old_amount is None:
        return 0.0
    rise = new_sign * new_amount.value - old_sign * old_amount.value
    if abs(rise) <= _LEVEL * max(abs(new_amount.value), abs(old_amount.value)):
        return 0.0
    return _COMPARED * figure * (1 if rise > 0 else -1)


def _counts(tokens: Tokens, at: int) -> bool:
    """Whether a token is an amount, not a year or a day."""
    amount = tokens.amounts[at]
    if amount is None or not amount.bare:
        return amount is not None
    return not (1900 <= amount.value <= 2100 or w.MONTHS & set(tokens.words[max(at - 1, 0) : at + 2]))


def _new(tokens: Tokens, at: int, old: int) -> int | None:
    """The newer amount: behind "to" after the older one, or else the last one before."""
    older = tokens.amounts[old]
    for place in range(old + 1, min(old + 5, len(tokens) - 1)):
        if tokens.words[place] == "to" and tokens.words[place - 1] != "compared" and _counts(tokens, place + 1):
            return place + 1
    for place in range(at - 1, max(at - 30, 0) - 1, -1):
        if tokens.words[place] in {";", "while"}:
            return None
        amount = tokens.amounts[place]
        if amount is None or older is None or not _counts(tokens, place) or amount.percent != older.percent:
            continue
        if amount.currency and older.currency and amount.currency != older.currency:  # the same once more, converted
            continue
        if amount.percent and place and tokens.words[place - 1] == "by":  # a change, not a level
            continue
        return place
    return None


def _own_sign(tokens: Tokens, start: int, at: int) -> int:
    """The sign that words between give an older amount, 0 where they give none."""
    for place in range(at - 1, start - 1, -1):
        word = tokens.words[place]
        if word in w.LOSS or word in {"negative", "minus"}:
            return -1
        if word in w.PROFIT or word == "positive":
            return 1
    return 0


def _sign(tokens: Tokens, at: int, stop: int) -> tuple[int, float]:
    """The sign of a newer amount, and whether its figure should be high (1) or low (-1); 0 for one without a name."""
    for place in range(at - 1, max(at - 25, stop) - 1, -1):
        word = tokens.words[place]
        if word in w.CLAUSE and word != "." and place < at - 1:
            break
        if word in w.LOSS or word in {"negative", "minus"}:
            return -1, 1.0
        figure = figure_at(tokens, place)
        if figure and not (place and tokens.words[place - 1] == "per"):
            return 1, 1.0 if figure > 0 else -1.0
    return 1, 0.0


def in_comparison(tokens: Tokens, at: int) -> bool:
    """Whether a word belongs to the older side: the loss in "compared to a loss of"."""
    for place in range(at - 1, max(at - 8, 0) - 1, -1):
        word = tokens.words[place]
        if word in w.COMPARES or word == "compared":
            return True
        if tokens.amounts[place] is not None or word in w.CLAUSE:
            return False
    return False
