"""Log returns with the same bits wherever a value stands in an array."""

from __future__ import annotations

import numpy as np
from scipy.special import log1p

from qts.market.bar import Array


def log_return(last: Array, close: Array) -> Array:
    """ln(close / last), NaN where either is missing.

    By SciPy's scalar log1p: NumPy's vectorised log may round differently with another length or stride of its input,
    that is with other buckets or batches.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = (close - last) / last
        returns: Array = log1p(np.where(rise > -1.0, rise, np.nan))
    return returns
