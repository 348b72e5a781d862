"""How often the finance lexicon gives a sentence the label of its author, beside counts of its tone words.

The sentences were composed and labelled blind (tests/unit/held_out_sentences.py). The figure is that of the last lot,
which came after the scorer's last change; the earlier ones, of which most led to changes, stand beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from harness import options, publish, record_of

from qts.market.sentiment.scorer import LABELS

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from held_out_sentences import LOTS, held_out
from sentiment_measures import DRAWS, Judged, interval, judged


def main() -> None:
    given = options(__doc__)
    rows = held_out(LOTS[-1])
    results = judged(rows)
    lexicon = results.pop("lexicon")
    details = {"sentences": len(rows), "macro F1": lexicon.macro_f1}
    for name, other in results.items():
        details |= beside(name, lexicon, other)
    for true, row in zip(LABELS, lexicon.confusion, strict=True):
        details |= {f"{true} found {found}": count for found, count in zip(LABELS, row, strict=True)}
    for lot in LOTS[:-1]:
        details[f"lot {lot}, earlier"] = judged(held_out(lot))["lexicon"].right.mean()
    record = record_of(
        "sentiment_accuracy",
        list(interval(lexicon.right)),
        value=lexicon.right.mean(),
        source="simulated",
        details={name: float(figure) for name, figure in details.items()},
        repetitions=DRAWS,
    )
    publish(record, given)


def beside(name: str, lexicon: Judged, other: Judged) -> dict[str, float]:
    """A baseline's figures, and how far the lexicon is ahead, with the interval of the paired difference."""
    ahead = lexicon.right.astype(np.int8) - other.right
    low, high = interval(ahead)
    return {
        name: other.right.mean(),
        f"{name}, macro F1": other.macro_f1,
        f"ahead of {name}": ahead.mean(),
        f"ahead of {name}, from": low,
        f"ahead of {name}, to": high,
    }


if __name__ == "__main__":
    main()
