"""What a text says of figures that went up or down."""

from __future__ import annotations

import math

from qts.market.sentiment import words as w
from qts.market.sentiment.tokens import Tokens

#: How far from its verb a figure may stand, before and after, in tokens.
_BEFORE, _AFTER = 12, 5
_VERBS = w.UP | w.DOWN | w.POSITIVE.keys() | w.NEGATIVE.keys()
_PLAIN, _PROFIT, _UNNAMED = 1.0, 1.2, 0.7
_STANDING = w.word_set("was is were are closed ended traded be been stood")
_MOVES = w.word_set(
    "go goes going gone went edge edges edged inched ticked crept headed push pushes pushed pushing drive drives drove "
    "driven driving bring brings brought bringing"
)
_GO_ON = {
    "",
    *w.word_set(", . on in a almost nearly about some over more y-y yoy year-on-year"),
    *w.BOOSTERS,
    *w.DAMPENERS,
}


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
    if not direction or _of_ownership(tokens, at) or _of_a_yardstick(tokens, at):
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
    told = word not in w.NEEDS_FIGURE or (word.endswith("ing") and tokens.words[max(at - 1, 0)] in w.GOES_ON)
    named = told or _by_a_share(tokens, at) or {"than", "expected"} <= set(tokens.words[at + 1 : at + 6])
    return (direction * _UNNAMED if named else 0.0), at


def _by_a_share(tokens: Tokens, at: int) -> bool:
    """Whether a change is of so many percent: "footfall was 9% lower than" tells one of whatever it is."""
    return any(
        amount is not None and amount.percent
        for amount in (*tokens.amounts[max(at - 1, 0) : at], *tokens.amounts[at + 1 : at + 2])
    )


def _direction(tokens: Tokens, at: int) -> int:
    word = tokens.words[at]
    if word in {"lower", "higher"} and tokens.words[at + 1 : at + 2] == ["of"]:
        return 0  # "the lower of cost and value"
    if word in {"up", "down"}:
        after = tokens.words[at + 1] if at + 1 < len(tokens) else ""
        before = tokens.words[at - 1] if at else ""
        stands = before in _STANDING or (at > 0 and figure_at(tokens, at - 1))  # "profit down" is a headline's
        told = (after in {"#", "from", "by"} and before not in w.SET_UP) or (stands and after in _GO_ON)
        return (1 if word == "up" else -1) if told or before in _MOVES else 0
    if word == "change":  # "a change of -0.4 %" has its direction in the sign
        following = tokens.amounts[at + 2] if tokens.words[at + 1 : at + 3] == ["of", "#"] else None
        return int(math.copysign(1, following.value)) if following and following.percent else 0
    if word == "more":  # "11 % more passengers"
        ahead = tokens.amounts[at - 1] if at else None
        return 1 if ahead and ahead.percent and tokens.words[at + 1 : at + 2] != ["than"] else 0
    if word in {"added", "adds"}:  # "the index added 2 %", but not "he added"
        following = tokens.amounts[at + 1] if at + 1 < len(tokens) else None
        return 1 if following and following.percent else 0
    if word in {"declined", "declines"} and tokens.words[at + 1 : at + 2] == ["to"] != tokens.words[at + 2 : at + 3]:
        return -1 if tokens.words[at + 2 : at + 3] == ["#"] else 0  # "it declined to comment"
    if word in w.OTHERWISE and (at + 1 == len(tokens) or tokens.words[at + 1] not in _GO_ON | {"#", "by"}):
        return 0
    return 1 if word in w.UP else -1 if word in w.DOWN else 0


def _of_ownership(tokens: Tokens, at: int) -> bool:
    before, after = tokens.words[max(at - _BEFORE, 0) : at], tokens.words[at + 1 : at + 6]
    if any("shares" in near and not w.COUNTED.isdisjoint(near) for near in (before, after)):
        return True
    return owned(tokens, max(at - _BEFORE, 0), at) or owned(tokens, at + 1, at + 6)


def _of_a_yardstick(tokens: Tokens, at: int) -> bool:
    """Whether something else changed, by which this is measured: "compared with the index, which rose"."""
    return tokens.words[at - 1 : at] == ["which"] and "compared" in tokens.words[max(at - 10, 0) : at]


def owned(tokens: Tokens, first: int, last: int) -> bool:
    """Whether these tokens tell of owning; the return on capital does not."""
    words = tokens.words
    return any(
        words[n] in w.OWNED and not (words[n] == "capital" and n and words[n - 1] == "on")
        for n in range(first, min(last, len(words)))
    )


def _raises_money(tokens: Tokens, at: int) -> bool:
    """Whether an amount is the object itself: "raise some EUR 5 mn", not "raised by 5 %"."""
    for place in range(at + 1, min(at + 5, len(tokens))):
        if tokens.words[place] in {"to", "by", "from"}:
            return False
        if counts(tokens, place):
            return True
    return False


def _object(tokens: Tokens, at: int) -> tuple[float, int]:
    """The figure right behind and its token: "higher costs", "increase in sales", "cut its forecast"."""
    start = at + 1
    if start < len(tokens) and tokens.words[start] in {"in", "of"}:
        start += 1
    elif tokens.words[start : start + 2] == ["than", "expected"]:
        start += 2
    found, where, paid = 0.0, at, False
    for place in range(start, min(start + _AFTER, len(tokens))):
        word = tokens.words[place]
        if word in w.STOPS or counts(tokens, place) or (found and word in _VERBS):
            break  # "lower costs improved the margin": the costs are lower
        if figure := figure_at(tokens, place):
            found, where = figure, place  # the last one is the head: "sales costs"
        paid = paid or word in w.INPUTS
    return found or (-_PLAIN if paid else 0.0), where


def _subject(tokens: Tokens, at: int) -> tuple[float, int]:
    """The figure before and its token: "profit for the period rose", "sales growth", "the costs of the sales unit"."""
    far = 2 if tokens.words[at] in w.CHANGE_NOUNS else _BEFORE
    head = (0.0, at)
    for place in range(at - 1, max(at - far, 0) - 1, -1):
        if tokens.words[place] in w.CLAUSE or tokens.words[place] in w.SUBORDINATES:
            break
        figure = figure_at(tokens, place)
        if not figure or (place and tokens.words[place - 1] == "per"):
            continue
        head = (figure, place)
        if not belongs(tokens, place):
            break
    return head


def belongs(tokens: Tokens, at: int) -> bool:
    """Whether a figure belongs to one that may stand before it: the unit in "the costs of the unit"."""
    return not w.BELONGS.isdisjoint(tokens.words[max(at - 3, 0) : at])


def counts(tokens: Tokens, at: int) -> bool:
    """Whether a token is an amount, not a year or a day."""
    amount = tokens.amounts[at]
    if amount is None or not amount.bare:
        return amount is not None
    return not (1900 <= amount.value <= 2100 or w.MONTHS & set(tokens.words[max(at - 1, 0) : at + 2]))
