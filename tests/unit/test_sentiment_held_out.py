"""The finance lexicon on sentences composed blind, beside counts of the same words that take no heed of context."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from finance_sentences import labelled
from held_out_sentences import LOTS, held_out
from sentiment_measures import Judged, count_of_tone, count_with_directions, interval, judged


@pytest.mark.parametrize(
    ("rows", "floor"),
    [
        ([(label, text) for text, label in labelled()], 0.95),  # written for the tests, and learnt from
        (held_out(*LOTS[:-1]), 0.88),  # blind, but learnt from
        (held_out(LOTS[-1]), 0.77),  # blind still
    ],
    ids=["composed_for_the_tests", "learnt_from", "unseen"],
)
def test_more_right_than_counts(rows, floor):
    """Above a floor, and by a paired bootstrap above every baseline."""
    results = judged(rows)
    right = results.pop("lexicon").right
    assert right.mean() > floor
    for other in results.values():
        low, _ = interval(right.astype(int) - other.right)
        assert low > 0


def test_no_label_is_given_up():
    found = judged(held_out(LOTS[-1]))["lexicon"].confusion
    assert (np.diag(found) / found.sum(axis=1) > 0.5).all()
    assert (np.diag(found) / found.sum(axis=0) > 0.5).all()


@pytest.mark.parametrize(("lot", "size"), [(1, 240), (2, 120), (3, 150), (4, 120), (5, 200), (6, 200)])
def test_the_lots_have_the_usual_mix(lot, size):
    rows = held_out(lot)
    shares = {label: count / size for label, count in Counter(label for label, _ in rows).items()}
    assert len({text for _, text in rows}) == size
    assert shares == pytest.approx({"neutral": 0.6, "positive": 0.28, "negative": 0.12}, abs=0.005)


def test_measures_by_hand():
    """Three labels: 1 of 2 negative right, both neutral, the positive one missed."""
    made = Judged(truth=np.array([0, 0, 1, 1, 2]), found=np.array([0, 1, 1, 1, 1]))
    assert made.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 1, 0]]
    assert made.macro_f1 == pytest.approx((2 / 3 + 4 / 6 + 0) / 3)
    assert count_of_tone("A strong quarter, though weak margins and no problems.") == "negative"
    assert count_with_directions("Costs rose.") == "positive"
