"""Every table of QTS, declared once: schema, key, the one job that writes it, clustering, checks."""

from __future__ import annotations

from qts.errors import StoreError, did_you_mean
from qts.store.tables import learning, market, operations, trading
from qts.store.tables.base import Layer, Table

__all__ = ["TABLES", "Layer", "Table", "table"]

_GROUPS = (market, learning, trading, operations)

TABLES: dict[str, Table] = {declared.name: declared for group in _GROUPS for declared in group.DECLARED}


def table(name: str) -> Table:
    """The declaration of a table.

    Raises:
        StoreError: no such table; the message names the nearest one.
    """
    try:
        return TABLES[name]
    except KeyError:
        raise StoreError(
            f"There is no table {name!r}; the tables are {', '.join(sorted(TABLES))}.{did_you_mean(name, TABLES)}"
        ) from None
