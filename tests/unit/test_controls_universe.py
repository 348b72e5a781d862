"""Manual overrides folded, and the universe from its table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qts.errors import DataError
from qts.trading.controls import ACTIONS, fold, none
from qts.trading.universe import Universe

NAMES = ("AAA", "BBB", "CCC")


def rows(*actions: tuple[str, str]) -> list[dict]:
    return [
        {"control_id": f"{i:03}", "at": i, "action": action, "scope": scope}
        for i, (action, scope) in enumerate(actions)
    ]


def test_the_later_row_wins():
    held = fold(rows(("halt", "*"), ("resume", "BBB"), ("flatten", "CCC"), ("halt", "XXX")), NAMES)
    assert held.state == "halted"
    assert held.halted_instruments.tolist() == [True, False, False]
    assert held.states.tolist() == [2, 0, 1]
    assert held.flattened.tolist() == [False, False, True]
    assert (held.flatten, held.resumes) == (True, 0)


def test_a_resume_of_the_account_clears_everything_and_is_counted():
    held = fold(rows(("flatten", "*"), ("halt", "AAA"), ("resume", "AAA"), ("resume", "*")), NAMES)
    assert (held.state, held.states.tolist(), held.flatten, held.resumes) == ("active", [0, 0, 0], False, 1)


def test_no_rows_no_controls():
    assert fold([], NAMES).states.tolist() == none(3).states.tolist() == [0, 0, 0]


def test_an_unknown_action_names_the_nearest():
    with pytest.raises(DataError, match="Did you mean 'resume'"):
        fold(rows(("resum", "*")), NAMES)


@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from(["*", *NAMES]))), st.randoms())
@settings(deadline=None, max_examples=60)
def test_the_order_of_reading_does_not_matter(actions, random):
    log = rows(*actions)
    shuffled = log[:]
    random.shuffle(shuffled)
    one, two = fold(log, NAMES), fold(shuffled, NAMES)
    assert (one.state, one.resumes, one.states.tolist()) == (two.state, two.resumes, two.states.tolist())
    assert one.flattened.tolist() == two.flattened.tolist()


COLUMNS = {
    "instrument": ["ZZZ", "AAA", "ZZZ"],
    "currency": ["USD", "EUR", "USD"],
    "multiplier": [1.0, 2.0, 5.0],
    "inverse": [False, True, False],
    "lot_size": [1.0, 0.1, 1.0],
    "tick_size": [0.01, None, 0.0],
    "tradable": [True, True, True],
}


def test_a_universe_is_sorted_and_the_last_row_of_a_name_counts():
    universe = Universe.from_columns(COLUMNS)
    assert universe.names == ("AAA", "ZZZ")
    assert universe.multiplier.tolist() == [2, 5]
    assert universe.inverse.tolist() == [True, False]
    assert np.isnan(universe.tick_size[0])
    assert universe.tradable.tolist() == [True, True]
    assert Universe.from_columns(COLUMNS, currency="USD").tradable.tolist() == [False, True]


def test_exposure_and_worth():
    universe = Universe.from_columns(COLUMNS)
    price = np.array([4.0, 4.0])
    assert universe.exposure(price).tolist() == [0.5, 20]
    assert universe.worth(price).tolist() == [-0.5, 20]
    assert universe.whole_lots(np.array([-0.37, 2.99])).tolist() == pytest.approx([-0.3, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lot_size": [1.0, 0.0, 1.0]}, "'AAA' has lot_size 0.0"),
        ({"multiplier": [1.0, 1.0, np.nan]}, "'ZZZ' has multiplier nan"),
    ],
)
def test_nonsense_in_the_instruments_table_is_named(change, message):
    with pytest.raises(DataError, match=message):
        Universe.from_columns(COLUMNS | change)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="lot_size"):
        Universe.from_columns({name: values for name, values in COLUMNS.items() if name != "lot_size"})


def test_names_have_to_be_sorted():
    with pytest.raises(DataError, match="sorted"):
        Universe(("B", "A"), *[np.ones(2)] * 5)
