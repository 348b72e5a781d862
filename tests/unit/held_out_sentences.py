"""Sentences of company news, composed and labelled blind: what the sentiment scorer is tested on, never tuned to.

A label is the view of somebody who holds the shares: positive and negative where the sentence by itself should move
the holding's value, neutral otherwise, a figure without a comparison and news that cancel out included; what prevails
decides mixed news. Classes come in the usual mix of such corpora, 60% neutral, 28% positive and 12% negative. The
companies are invented.

The first 240 were written before their author had seen the scorer, its word lists or the sentences of the other tests;
the later ones with its rules known, but no verdict on any of them. Every lot was committed before a scorer was run on
it, and no label changed since. What the scorer got wrong in lots 1 to 4 has led to changes of it, one lot after the
other. Nobody read its errors in lot 5, but a later change was only kept where that lot got no worse; lot 6, in the
manner of Nordic companies' releases and spaced as tokenised corpora are, came after the last of these changes and must
lead to none.
"""

from __future__ import annotations

import csv
from pathlib import Path

#: In the order of writing; the last is the one that no scorer has learnt from.
LOTS = (1, 2, 3, 4, 5, 6)
_FILE = Path(__file__).with_suffix(".csv")


def held_out(*lots: int) -> list[tuple[str, str]]:
    """(label, text) of the sentences of some lots."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["text"]) for row in csv.DictReader(file) if int(row["lot"]) in lots]
