"""Arrays to tables and states to bytes: nothing is rounded, reordered or retyped on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of_numpy

from qts.market import bars, frontier
from qts.store.columns import arrays_bytes, arrays_of, frame_bytes, frame_of, to_arrow
from qts.store.ledger import conform
from qts.store.tables import table

ARRAYS = st.one_of(
    arrays_of_numpy.arrays(
        kind, arrays_of_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4), fill=st.nothing()
    )
    for kind in (np.float64, np.int64, np.bool_, np.uint64)
)


@given(arrays=st.dictionaries(st.sampled_from(["a", "policy/x/sum", "open.limit", "b"]), ARRAYS))
def test_arrays_come_back_bit_for_bit_and_in_order(arrays):
    back = arrays_of(arrays_bytes(arrays))
    assert list(back) == list(arrays)
    for name, values in arrays.items():
        assert back[name].dtype == values.dtype
        assert back[name].shape == values.shape
        assert back[name].tobytes() == values.tobytes()


def test_arrays_of_objects_are_refused_when_read():
    with pytest.raises(ValueError, match="allow_pickle"):
        arrays_of(arrays_bytes({"a": np.array([{"b": 1}], dtype=object)}))


@pytest.mark.parametrize("empty", [bars.no_partials(), bars.no_open_bars(), frontier.no_pairs()])
def test_empty_frames_keep_their_types(empty):
    pd.testing.assert_frame_equal(frame_of(frame_bytes(empty)), empty)


@given(
    floats=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5),
    data=st.data(),
)
def test_frames_come_back_bit_for_bit(floats, data):
    count = len(floats)
    whole = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count))
    names = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=count, max_size=count))
    frame = pd.DataFrame({"name": pd.Series(names, dtype=object), "whole": whole, "float": floats})
    frame["flag"] = frame["whole"] % 2 == 0
    frame = frame.set_axis(range(7, 7 + count))  # an index that means nothing
    pd.testing.assert_frame_equal(frame_of(frame_bytes(frame)), frame.reset_index(drop=True), check_exact=True)


def test_nanoseconds_become_microseconds_downwards():
    rows = to_arrow("signals", {"bar_time": np.array([1_999, 2_000, 1_700_000_000_123_456_789], dtype=np.int64)})
    assert rows["bar_time"].cast(pa.int64()).to_pylist() == [1, 2, 1_700_000_000_123_456]
    assert rows.schema.field("bar_time").type == table("signals").schema.field("bar_time").type


def test_missing_numbers_stay_nan_and_do_not_become_null():
    rows = to_arrow("decisions", {"propensity": np.array([np.nan, 0.5])})
    assert rows["propensity"].null_count == 0
    assert np.isnan(rows["propensity"].to_pylist()[0])


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_two_dimensional_arrays_become_lists(rows):
    context = np.arange(2.0 * rows).reshape(rows, 2)
    assert to_arrow("decisions", {"context": context})["context"].to_pylist() == context.tolist()


def test_columns_of_a_record_fit_their_table():
    codes = np.empty(2, dtype=object)
    codes[:] = [[], ["cash", "collar"]]
    rows = to_arrow(
        "orders",
        {
            "order_id": np.array(["a", "b"], dtype=object),
            "bar_time": np.array([1000, 2000]),
            **{name: np.array(["x", "y"], dtype=object) for name in ("instrument", "strategy", "side", "type")},
            **{name: np.array([1.0, np.nan]) for name in ("requested", "quantity", "price", "limit_price")},
            "verdict": np.array(["accept", "deny"], dtype=object),
            "codes": codes,
        },
    )
    assert conform(rows, table("orders"))["codes"].to_pylist() == [[], ["cash", "collar"]]


def test_a_column_that_the_table_does_not_have_is_an_error():
    with pytest.raises(KeyError):
        to_arrow("signals", {"colour": np.array([1.0])})
