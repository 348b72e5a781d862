"""The offline scorer: words, figures that rose or fell, amounts compared, and what usually is news."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qts.market.sentiment import words as w
from qts.market.sentiment.figures import change, comparisons, in_comparison
from qts.market.sentiment.scorer import Scores, labels_of
from qts.market.sentiment.tokens import Tokens, tokenise

#: Weight from which a text is more than neutral. A plain statement weighs 1, a hint less than one half.
_THRESHOLD = 0.5
#: A longer text needs more cues: they are divided by the root of how often this many tokens go into it.
_TOKENS = 60

_GETS = (
    r"(?:won|wins|win|winning|awarded|secured|secures|landed|received|receives|receiving|obtained|bagged|clinched|"
    r"granted)"
)
_DEAL = r"(?:orders?|contracts?|deals?|tender|bid|permits?|approval|patents?|award|mandate|licen[cs]e)"
_SIGNS = r"(?:sign|signs|signed|signing|inked|concluded|enters? into|entered into|sealed)"
_PACT = r"(?:contracts?|agreements?|deals?|partnership|cooperation|co-operation|letter of intent|memorandum|order)"
_MONEY = (
    r"(?:acquire|acquisition|sell|divest|buy|lease|rent|loan|credit|facility|financing|transfer|shareholder|merger|"
    r"sale)"
)
_PEOPLE = r"(?:jobs?|workers|employees|staff|personnel|workforce|people|posts|positions|man-years)"
_EXPECTED = r"(?:expect(?:ed|ations?)|forecasts?|estimates?|estimated|consensus|guidance|anticipated)"
_WORKS = r"(?:plants?|factory|factories|mill|mills|units?|site|sites|office|offices|store|stores|shop|line|machine)"

#: Phrases by what they are worth. Each counts once.
_PHRASES: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern), worth)
    for pattern, worth in (
        (rf"\b{_GETS}\b[^;.]{{0,60}}\b{_DEAL}\b", 1.0),
        (rf"\b{_DEAL}\b[^;.]{{0,25}}\b(?:was|were|been|is) (?:won|awarded|granted)\b", 0.8),
        (r"\b(?:placed|places|placing)\b[^;.]{0,20}\border", 0.7),
        (rf"\b{_SIGNS}\b(?![^;.]*\b{_MONEY}\b)[^;.]{{0,60}}\b{_PACT}\b", 0.7),
        (rf"\b{_PACT}\b(?![^;.]*\b{_MONEY}\b)[^;.]{{0,120}}(?<!to have )\b(?:was|were|been|is) signed\b", 0.6),
        (
            r"\b(?:selected|chosen|picked|chose|appointed)\b[^;.]{0,40}\b(?:supplier|supply|deliver|provide|partner)",
            0.8,
        ),
        (r"\bextend(?:s|ed)?\b[^;.]{0,30}\b(?:contract|agreement|cooperation|partnership)\b", 0.6),
        (rf"\b(?:above|better than|ahead of|exceed\w*|beat\w*|topp\w+|surpass\w*)\b[^;.]{{0,40}}\b{_EXPECTED}", 1.2),
        (rf"\b(?:below|short of|worse than|miss\w*|lower than|less than)\b[^;.]{{0,40}}\b{_EXPECTED}", -1.4),
        (r"\b(?:all-time|record) (?:high|sales|profit|result|year|quarter|level|order|orders|earnings)\b", 0.9),
        (r"\b(?:all-time|record|year) low\b", -0.9),
        (r"\b(?:back|return\w*) (?:to|in) (?:profit|the black|growth)\b|\bturn\w* (?:to )?(?:a )?profit\b", 1.0),
        (r"\b(?:swung|slipp?ed|fell|turned|moved|plunged|sank|swing) (?:in)?to (?:an? )?[^;.]{0,30}\bloss", -1.2),
        (r"\b(?:lay|lays|laying|laid) off\b|\b(?:made|make|making) redundant\b|\btemporary lay-?offs?\b", -1.2),
        (rf"\b(?:cut|cuts|cutting|axe|axed|shed|dismiss\w*|slash\w*|reduc\w+)\b[^;.]{{0,40}}\b{_PEOPLE}\b", -1.0),
        (r"\b(?:personnel|codetermination|co-determination|employee|statutory|co-?operation) negotiations\b", -0.7),
        (rf"\b(?:clos(?:e|es|ed|ing|ure)|shut(?:s|ting)?|shut down)\b[^;.]{{0,30}}\b{_WORKS}\b", -0.8),
        (rf"\b{_WORKS}\b[^;.]{{0,40}}\b(?:be|been|is|was|were) (?:closed|shut)\b", -0.8),
        (r"\bprofit warning\b|\bgoing concern\b|\bbad debts?\b|\bclass action\b", -1.2),
        (r"\b(?:perform|develop|progress|go|goes|went|sell|sold)\w* (?:very |quite )?well\b", 0.5),
        (r"\bpick(?:ed|s|ing)? up\b", 0.7),
        (r"\bin the red\b|\bred ink\b", -0.8),
        (r"\b(?:recruit|hire)\w*\b[^;.]{0,30}\b(?:more|new|additional|people|employees|staff)\b", 0.5),
        (r"\bcost[- ]?(?:savings?|efficien\w+|effective\w*)\b|\bsav(?:e|es|ing|ings)\b[^;.]{0,30}\bcosts?\b", 0.7),
        (r"\bdue to\b[^;.]{0,30}\b(?:weak|lower|crisis|decreas\w+|declin\w+)\b", -0.3),
    )
)


@dataclass(frozen=True)
class Lexicon:
    """Adds up what a text's cues are worth and squashes the sum into [-1, 1].

    The cues are words with a tone of their own; figures that rose or fell, where a falling cost is good; amounts set
    beside older ones ("to EUR 5 mn from EUR 6 mn", a profit after a loss); and events such as orders won or staff laid
    off. A negation turns a cue and takes some of its weight, intensity scales it, conjecture takes some. A text without
    cues is neutral, as most company news is. English only: of another language it knows no words.

    Source of the approach: P. Malo, A. Sinha, P. Korhonen, J. Wallenius, P. Takala, "Good debt or bad debt: Detecting
    semantic orientations in economic texts", JASIST 65 (2014), where the direction of an entity decides.

    >>> Lexicon().score(["Operating loss narrowed to EUR 1.2 mn from EUR 3.4 mn."]).label
    ['positive']
    """

    name: str = "lexicon-2"

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
    worth = sum(value for _, value in comparisons(tokens))
    changes = 0.0
    for at, word in enumerate(tokens.words):
        turned = change(tokens, at)
        if turned:
            changes += turned * _manner(tokens, at)
        elif word in w.POSITIVE:
            worth += w.POSITIVE[word] * _manner(tokens, at)
        elif word in w.NEGATIVE:
            worth -= w.NEGATIVE[word] * _manner(tokens, at)
        elif word in w.LOSS and not in_comparison(tokens, at):
            worth -= 0.7 * _manner(tokens, at)
    flat = " ".join(tokens.words)
    worth += changes + sum(value for pattern, value in _PHRASES if pattern.search(flat))
    uncertain = sum(word in w.UNCERTAIN for word in tokens.words)
    return worth / math.sqrt(max(1.0, len(tokens) / _TOKENS)), min(1.0, 8 * uncertain / len(tokens))


def _manner(tokens: Tokens, at: int) -> float:
    """What the words around a cue do to it."""
    before = tokens.words[max(at - 4, 0) : at]
    near = [*before[-2:], *tokens.words[at + 1 : at + 3]]
    factor = 1.0
    if any(word in w.NEGATIONS for word in before[-3:]):
        factor *= -0.6
    if any(word in w.BOOSTERS for word in near):
        factor *= 1.3
    if any(word in w.DAMPENERS for word in near):
        factor *= 0.7
    if any(word in w.MODALS for word in before):
        factor *= 0.7
    return factor
