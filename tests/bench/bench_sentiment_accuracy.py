"""How often the finance lexicon gives a sentence the label of its author, beside a plain count of tone words.

The sentences were composed and labelled before their author had seen the scorer (tests/unit/held_out_sentences.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from harness import options, publish, record_of

from qts.market.sentiment.scorer import LABELS

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from held_out_sentences import HELD_OUT
from sentiment_measures import DRAWS, interval, judged


def main() -> None:
    given = options(__doc__)
    results = judged(HELD_OUT)
    lexicon = results.pop("lexicon")
    details = {"sentences": len(HELD_OUT), "macro F1": lexicon.macro_f1}
    for name, other in results.items():
        ahead = lexicon.right.astype(np.int8) - other.right
        low, high = interval(ahead)
        details |= {name: other.right.mean(), f"{name}, macro F1": other.macro_f1}
        details |= {f"ahead of {name}": ahead.mean(), f"ahead of {name}, from": low, f"ahead of {name}, to": high}
    for true, row in zip(LABELS, lexicon.confusion, strict=True):
        details |= {f"{true} found {found}": count for found, count in zip(LABELS, row, strict=True)}
    record = record_of(
        "sentiment_accuracy",
        list(interval(lexicon.right)),
        value=lexicon.right.mean(),
        source="simulated",
        details={name: float(figure) for name, figure in details.items()},
        repetitions=DRAWS,
    )
    publish(record, given)


if __name__ == "__main__":
    main()
