"""Reading the arrays of a `State`, which says of them only that they are arrays."""

from __future__ import annotations

import numpy as np

from qts.market.bar import Array, State


def read(state: State, name: str) -> Array:
    """One array of a state as floats; not a copy."""
    return state[name].astype(np.float64, copy=False)
