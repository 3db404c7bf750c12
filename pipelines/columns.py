"""Python values as Arrow arrays, made from their buffers, and back.

``pyarrow.array`` imports pandas, whatever it is given, and so do moments with a zone on their way back:
a fifth of a second and 33 MB in every run.  The layouts are those of the Arrow columnar format, version 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipelines.entry import ColumnType

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_EPOCH: Final = datetime(1970, 1, 1)
_EPOCHS: Final[dict[ColumnType, datetime]] = {
    "wall_clock": _EPOCH,
    "instant": _EPOCH.replace(tzinfo=UTC),
}
_TICK: Final = timedelta(microseconds=1)


def type_of(name: ColumnType) -> pa.DataType:
    """The Arrow type of a column's type."""
    import pyarrow as pa

    types: dict[ColumnType, pa.DataType] = {
        "string": pa.string(),
        "strings": pa.list_(pa.field("element", pa.string(), nullable=False)),
        "wall_clock": pa.timestamp("us"),
        "instant": pa.timestamp("us", tz="UTC"),
        "integer": pa.int32(),
        "boolean": pa.bool_(),
    }
    return types[name]


def array_of(name: ColumnType, values: Sequence[Any]) -> pa.Array[Any]:
    """Values of a column's type, ``None`` for those that are not there."""
    made: pa.Array[Any] = _MAKERS[name](type_of(name), values)
    return made


def values_of(name: ColumnType, column: pa.ChunkedArray[Any]) -> list[Any]:
    """The values of an array of a column's type."""
    if name == "strings":
        return [tuple(values or ()) for values in column.to_pylist()]
    if name not in _EPOCHS:
        return column.to_pylist()
    import pyarrow as pa

    epoch = _EPOCHS[name]
    ticks = column.cast(pa.int64()).to_pylist()
    return [None if tick is None else epoch + tick * _TICK for tick in ticks]


def places(rows: Sequence[int]) -> pa.Array[Any]:
    """Row numbers, to take rows by."""
    import numpy as np
    import pyarrow as pa

    return _array(pa.int64(), rows, None, np.fromiter(rows, dtype=np.int64, count=len(rows)))


def _strings(kind: pa.DataType, values: Sequence[str | None]) -> pa.Array[Any]:
    texts = [b"" if value is None else value.encode() for value in values]
    return _array(kind, values, _valid(values), _offsets(texts), b"".join(texts))


def _lists(kind: Any, values: Sequence[Sequence[str]]) -> pa.Array[Any]:
    import pyarrow as pa

    inner = _strings(kind.value_type, [text for value in values for text in value])
    buffers = [None, pa.py_buffer(_offsets(values))]  # type: ignore[arg-type]
    return pa.Array.from_buffers(kind, len(values), buffers, children=[inner])


def _numbers(kind: pa.DataType, values: Sequence[int | None]) -> pa.Array[Any]:
    import numpy as np

    plain = (value or 0 for value in values)
    return _array(kind, values, _valid(values), np.fromiter(plain, np.int32, count=len(values)))


def _moments(kind: pa.DataType, values: Sequence[datetime | None]) -> pa.Array[Any]:
    import numpy as np

    ticks = (0 if value is None else _ticks(value) for value in values)
    return _array(kind, values, _valid(values), np.fromiter(ticks, np.int64, count=len(values)))


def _ticks(value: datetime) -> int:
    plain = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    return (plain - _EPOCH) // _TICK


def _flags(kind: pa.DataType, values: Sequence[bool | None]) -> pa.Array[Any]:
    return _array(kind, values, _valid(values), _bits(map(bool, values), len(values)))


_MAKERS: Final[dict[ColumnType, Callable[[Any, Sequence[Any]], Any]]] = {
    "string": _strings,
    "strings": _lists,
    "wall_clock": _moments,
    "instant": _moments,
    "integer": _numbers,
    "boolean": _flags,
}


def _array(
    kind: pa.DataType, values: Sequence[Any], *buffers: np.ndarray[Any, Any] | bytes | None
) -> pa.Array[Any]:
    import pyarrow as pa

    kept = [None if each is None else pa.py_buffer(each) for each in buffers]  # type: ignore[arg-type]
    return pa.Array.from_buffers(kind, len(values), kept)


def _offsets(values: Sequence[Sequence[Any]]) -> np.ndarray[Any, Any]:
    import numpy as np

    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int64, count=len(values)), out=offsets[1:])
    return offsets


def _valid(values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """Which values are there; ``None`` for all."""
    if None not in values:
        return None
    return _bits((value is not None for value in values), len(values))


def _bits(flags: Any, count: int) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.packbits(np.fromiter(flags, np.bool_, count=count), bitorder="little")
