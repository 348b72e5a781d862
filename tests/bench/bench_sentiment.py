"""Texts a second through the finance lexicon, beside a plain count of its tone words.

The texts are sentences of company news of the usual length, composed for the tests; one process, one core.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from harness import alternate, options, publish, record_of

from qts.market.sentiment import words
from qts.market.sentiment.lexicon import Lexicon

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit"))
from finance_sentences import labelled


def main() -> None:
    given = options(__doc__, {"texts": (20_000, 2_000)})
    sentences = [text for text, _ in labelled()]
    texts = [sentences[n % len(sentences)] for n in range(given.texts)]
    up, down = words.UP | words.POSITIVE.keys(), words.DOWN | words.NEGATIVE.keys()

    def count() -> list[int]:
        return [sum((word in up) - (word in down) for word in text.lower().split()) for text in texts]

    measured = alternate(lambda: Lexicon().score(texts), count, repetitions=5, clock=time.process_time)
    rates = [len(texts) / seconds for seconds in measured.subject]
    details = {
        "times the plain count": sum(measured.subject) / sum(measured.peer),
        "plain count, texts/s": len(texts) * len(measured.peer) / sum(measured.peer),
    }
    publish(record_of("sentiment_rate", rates, source="simulated", details=details), given)


if __name__ == "__main__":
    main()
