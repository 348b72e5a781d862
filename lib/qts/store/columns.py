"""Arrays to Arrow in a table's declared types, and state to bytes and back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from qts.store.tables import table


def to_arrow(name: str, columns: Mapping[str, npt.NDArray[Any]]) -> pa.Table:
    """Columns of a declared table as Arrow.

    Times may be int64 nanoseconds (the table keeps microseconds), lists may be two-dimensional arrays. NaN stays NaN.
    """
    declared = table(name).schema
    return pa.table({key: _array(values, declared.field(key).type) for key, values in columns.items()})


def _array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and values.dtype.kind == "i":
        return pa.array(values // 1000, pa.int64()).cast(kind)
    if pa.types.is_list(kind) and values.ndim == 2:
        offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind.value_type))
    return pa.array(values, kind, from_pandas=False)


def table_bytes(rows: pa.Table, compression: str | None = None) -> bytes:
    """Rows as an Arrow IPC stream.

    Args:
        compression: zstd for what is kept; what only goes from process to process is quicker without.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def table_of(data: bytes) -> pa.Table:
    """What `table_bytes` wrote."""
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


def frame_bytes(frame: pd.DataFrame) -> bytes:
    """A data frame as an Arrow IPC stream."""
    return table_bytes(pa.Table.from_pandas(frame, preserve_index=False))


def frame_of(data: bytes) -> pd.DataFrame:
    """What `frame_bytes` wrote."""
    return table_of(data).to_pandas()


def arrays_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays as an npz; no object arrays, so reading it back can run no code."""
    sink = io.BytesIO()
    np.savez(sink, **arrays)  # type: ignore[arg-type]
    return sink.getvalue()


def arrays_of(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """What `arrays_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
