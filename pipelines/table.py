"""The rows of one table and source on disk: Parquet files of a bounded size, and where to find a row.

A file is written once and never changed; its name ends in a part of its digest.  A row stays in the
file that it was first written to.  A run writes anew only the files with rows that it changed, and
the last one, until that is full.  So a run costs what it touches, however much there is.

Beside each file lies an index of the keys of its rows (``.index/``), which is only a cache: it is made
anew when it is missing, damaged, or by an earlier version.  All keys are 64-bit digests, so a match
must be looked at.
"""

from __future__ import annotations

import hashlib
import io
import mmap
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from xxhash import xxh3_64_digest, xxh3_64_intdigest

from pipelines.columns import array_of, places, type_of, values_of
from pipelines.commit import Staging, write
from pipelines.entry import PARTITION, Column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

Row = TypeVar("Row")

CONTRACT_VERSION: Final = "3"
FULL: Final = 2048  # rows of a file to which none are added any more
_AT_HAND: Final = 4_000_000  # bytes of files that are held in memory, about
_KEYS_AT_HAND: Final = 100_000
_ROOM: Final = 8  # a set of keys fills an eighth of its bits
_INDEX_MARK: Final = b"HKEYS002"  # another one for other keys, or another form
_INDEX_HEAD: Final = len(_INDEX_MARK) + 8  # a digest follows the mark
_WIDTH: Final = 12  # bytes of a key and a row number


class DatasetError(Exception):
    """The data set cannot be used as it is; the message names the file and what to do."""


class Damaged(DatasetError):
    """A file of the data set cannot be read."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a table.  ``newest`` is the last date in it."""

    file: str
    rows: int
    bytes: int
    sha256: str
    newest: datetime | None


class Place(NamedTuple):
    """Where a row lies: in which part, and there in which row."""

    part: int
    row: int


@dataclass(frozen=True, slots=True)
class Found:
    """Where keys were found, as arrays: the key by its number among those asked for, the part, the row."""

    keys: Array
    parts: Array
    rows: Array

    def places(self) -> list[Place]:
        """Where each lies."""
        return list(map(Place, self.parts.tolist(), self.rows.tolist()))


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """What one table is: its columns, what makes its rows, the keys that find a row, a column of dates.

    ``keys`` gives those of many rows, and the number of the row that each is of; no row has one twice.
    ``times``: how much larger its files are than others'.
    """

    name: str
    columns: tuple[Column, ...]
    make: Callable[..., Row]
    keys: Callable[[Sequence[Row]], tuple[Array, Array]]
    dated: str = "published"
    times: int = 1

    def folder(self, source: str) -> str:
        """Where the rows of a source lie, relative to the output folder."""
        return f"{self.name}/{PARTITION.name}={source}"


def key(kind: str, *values: object) -> int:
    """The key of something that a row is looked up by; kinds do not meet."""
    return xxh3_64_intdigest("\0".join([kind, *map(str, values)]).encode())


def of_each(
    keys: Callable[[Row], Iterable[int]],
) -> Callable[[Sequence[Row]], tuple[Array, Array]]:
    """The keys of many rows, where ``keys`` are those of one."""

    def of_all(rows: Sequence[Row]) -> tuple[Array, Array]:
        import numpy as np

        found = [{*keys(row)} for row in rows]
        counts = [len(each) for each in found]
        every = np.fromiter(chain.from_iterable(found), dtype=np.uint64, count=sum(counts))
        return every, np.repeat(np.arange(len(rows)), counts)

    return of_all


class Stored(Generic[Row]):
    """The rows of one source in one table, as its manifest lists them."""

    def __init__(self, root: Path, table: Table[Row], source: str, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self._root = root
        self.table = table
        self._source = source
        self._read: dict[int, pa.Table] = {}
        self._known: dict[str, tuple[Array, Array]] = {}  # some of the indices, by part
        self._whole: set[str] = set()  # parts of which the index was looked at

    def remember(self, other: Stored[Row]) -> None:
        """Take over what was read of the same table before a commit, of parts that stayed."""
        for n, (part, before) in enumerate(zip(self.parts, other.parts, strict=False)):
            if part == before and n in other._read:
                self._read[n] = other._read[n]
        self._known |= {p.file: other._known[p.file] for p in self.parts if p.file in other._known}
        self._whole |= other._whole

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(part.rows for part in self.parts)

    def all(self) -> list[Row]:
        """Every row, in the order of the files."""
        return [row for n in range(len(self.parts)) for row in self._rows(n)]

    def parts_read(self) -> Iterator[pa.Table]:
        """The rows as they lie in the files, one after the other, each as it was written."""
        return (self._arrow(n) for n in range(len(self.parts)))

    def find(self, keys: Iterable[int]) -> dict[Place, Row]:
        """The rows that have one of these keys (and, once in 2 ** 64 times, one that has not)."""
        return self.rows_at({*self.places_of(keys)})

    def places_of(self, keys: Iterable[int]) -> list[Place]:
        """Where these rows lie; a row is named for each of the keys that it has."""
        import numpy as np

        return self.where(np.sort(np.fromiter({*keys}, dtype=np.uint64))).places()

    def where(self, wanted: Array) -> Found:
        """The places of the rows that have a key, for each of these, which are in order."""
        import numpy as np

        none = np.zeros(0, dtype=np.intp)
        found = [(none, none, none)]
        if wanted.size:
            shift = np.uint64(64 - (_ROOM * wanted.size).bit_length())
            taken = np.zeros(1 << 64 - int(shift), dtype=bool)
            taken[wanted >> shift] = True
            for n, (known, numbers) in enumerate(self._indices):
                if known.size < _ROOM * wanted.size:
                    near = np.flatnonzero(taken[known >> shift])
                else:
                    first = np.searchsorted(known, wanted)
                    near = _ranges(first, np.searchsorted(known, wanted, "right"))
                at = np.searchsorted(wanted, known[near])
                at[at == wanted.size] = 0
                hits = wanted[at] == known[near]
                rows = numbers[near[hits]].astype(np.intp)
                found.append((at[hits], np.full(rows.size, n), rows))
        return Found(*map(np.concatenate, zip(*found, strict=True)))

    def rows_at(self, places: Collection[Place]) -> dict[Place, Row]:
        """The rows at some places."""
        by_part: dict[int, list[int]] = defaultdict(list)
        for place in sorted(places):
            by_part[place.part].append(place.row)
        return {place: row for n, rows in by_part.items() for place, row in self._some(n, rows)}

    def newer(self, moment: datetime, below: tuple[str, str]) -> Iterator[tuple[Place, Row]]:
        """The rows with a date after a moment, where a column has a value below another."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        column, value = below
        for n, part in enumerate(self.parts):
            if part.newest is not None and part.newest > moment:
                table = read_part(self.path(part), part, self.table)  # not kept: there may be many
                late = pc.greater(table[self.table.dated], pa.scalar(moment))
                wanted = pc.and_(late, pc.less(table[column], pa.scalar(value)))
                if rows := np.flatnonzero(wanted.fill_null(False).to_numpy()).tolist():
                    made = self._made(table.take(places(rows)))
                    yield from zip((Place(n, row) for row in rows), made, strict=True)

    def stage(
        self, change: Staging, changed: Mapping[Place, Row], new: Sequence[Row]
    ) -> tuple[Part, ...]:
        """Prepare the table with some rows changed and some added; what is untouched stays."""
        import pyarrow as pa

        if not changed and not new:
            return self.parts
        by_part: dict[int, dict[int, Row]] = defaultdict(dict)
        for place, row in changed.items():
            by_part[place.part][place.row] = row
        rest = list(new)
        folder = change.folder(self.table.folder(self._source))
        parts = list(self.parts)
        last = len(parts) - 1
        full = FULL * self.table.times
        if rest and parts and parts[last].rows < full:
            by_part[last]  # it takes the first of the new rows
        kept = [part.file for n, part in enumerate(parts) if n not in by_part]
        try:
            change.keep(self.table.folder(self._source), kept)
        except FileNotFoundError as error:
            raise Damaged(_damage(Path(error.filename), "is missing")) from error
        for n, rows in sorted(by_part.items()):
            base = self._arrow(n)
            room = full - base.num_rows if n == last else 0
            added, rest = rest[: max(room, 0)], rest[max(room, 0) :]
            order = list(range(base.num_rows))
            for at, number in enumerate(rows):
                order[number] = base.num_rows + at
            order += range(base.num_rows + len(rows), base.num_rows + len(rows) + len(added))
            fresh = self._as_arrow([*rows.values(), *added])
            table = pa.concat_tables([base, fresh]).take(places(order)).combine_chunks()
            parts[n] = self._written(folder, n, table)
            self._reindex(n, parts[n], rows, added, base.num_rows)
        for start in range(0, len(rest), full):
            rows_here = rest[start : start + full]
            n = len(parts)
            parts.append(self._written(folder, n, self._as_arrow(rows_here)))
            self._write_index(parts[n], *self._keyed(rows_here, 0))
        return tuple(parts)

    # -------------------------------------------------------------- files
    def path(self, part: Part) -> Path:
        """Where a part lies."""
        return self._root / self.table.folder(self._source) / part.file

    def _arrow(self, n: int) -> pa.Table:
        if n not in self._read:
            while sum(table.nbytes for table in self._read.values()) > _AT_HAND:
                del self._read[next(iter(self._read))]
            self._read[n] = read_part(self.path(self.parts[n]), self.parts[n], self.table)
        return self._read[n]

    def _rows(self, n: int) -> list[Row]:
        return self._made(self._arrow(n))

    def _some(self, n: int, rows: Sequence[int]) -> Iterator[tuple[Place, Row]]:
        made = self._made(self._arrow(n).take(places(rows)))
        return zip((Place(n, row) for row in rows), made, strict=True)

    def _made(self, table: pa.Table) -> list[Row]:
        return list(made(table, self.table, self._source))

    def _as_arrow(self, rows: Sequence[Row]) -> pa.Table:
        import pyarrow as pa

        names = [column.name for column in self.table.columns]
        values = zip(*map(attrgetter(*names), rows), strict=True) if rows else [()] * len(names)
        arrays = [array_of(c.type, v) for c, v in zip(self.table.columns, values, strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema(self.table))

    def _written(self, folder: Path, n: int, table: pa.Table) -> Part:
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        data = sink.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        file = f"part-{n:05}-{digest[:12]}.parquet"
        write(folder / file, data)
        dated = next(c.type for c in self.table.columns if c.name == self.table.dated)
        days = (day for day in values_of(dated, table[self.table.dated]) if day is not None)
        return Part(file, table.num_rows, len(data), digest, max(days, default=None))

    # -------------------------------------------------------------- index
    @property
    def _indices(self) -> Iterator[tuple[Array, Array]]:
        return (self._index(n) for n in range(len(self.parts)))

    def _index(self, n: int) -> tuple[Array, Array]:
        """The keys of a part, sorted, and the row of each."""
        import numpy as np

        part = self.parts[n]
        if part.file in self._known:
            return self._known[part.file]
        data = _mapped(self.index_path(part))
        if part.file in self._whole or index_is_whole(data):
            count = (len(data) - _INDEX_HEAD) // _WIDTH
            keys = np.frombuffer(data, dtype="<u8", count=count, offset=_INDEX_HEAD)
            rows = np.frombuffer(data, dtype="<u4", count=count, offset=_INDEX_HEAD + 8 * count)
        else:
            keys, rows = self._keyed(self._rows(n), 0)
            self._write_index(part, keys, rows)
        self._whole.add(part.file)
        # The rest is mapped anew each time: the system has it at hand, and this process need not.
        if sum(len(known) for known, _ in self._known.values()) < _KEYS_AT_HAND:
            self._known[part.file] = keys, rows
        return keys, rows

    def index_path(self, part: Part) -> Path:
        """Where the index of a part lies."""
        folder = self._root / ".index" / self.table.folder(self._source)
        return folder / part.file.replace(".parquet", ".keys")

    def _reindex(
        self, n: int, part: Part, changed: Mapping[int, Row], added: Sequence[Row], start: int
    ) -> None:
        """The index of a part after some of its rows changed."""
        import numpy as np

        keys, rows = self._index(n)
        numbers = np.fromiter(changed, dtype=np.uint32, count=len(changed))
        if changed:
            stays = ~np.isin(rows, numbers)
            keys, rows = keys[stays], rows[stays]
        again, places = self._keyed(list(changed.values()), 0)
        more, after = self._keyed(added, start)
        for fresh, its in ((again, numbers[places]), (more, after)):
            at = np.searchsorted(keys, fresh)
            keys, rows = np.insert(keys, at, fresh), np.insert(rows, at, its)
        self._write_index(part, keys, rows)

    def _keyed(self, rows: Sequence[Row], start: int) -> tuple[Array, Array]:
        """The keys of some rows, sorted, and the number of the row of each."""
        import numpy as np

        keys, numbers = self.table.keys(rows)
        order = np.argsort(keys)
        return keys[order], (numbers[order] + start).astype(np.uint32)

    def _write_index(self, part: Part, keys: Array, rows: Array) -> None:
        """Best effort: what is not there, or torn, is made anew."""
        self._known[part.file] = keys, rows
        body = keys.astype("<u8").tobytes() + rows.astype("<u4").tobytes()
        path = self.index_path(part)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_INDEX_MARK + xxh3_64_digest(body) + body)
        except OSError:
            path.unlink(missing_ok=True)

    def sweep(self, parts: Sequence[Part]) -> None:
        """Remove the indices of all but these parts."""
        folder = self._root / ".index" / self.table.folder(self._source)
        stays = {self.index_path(part).name for part in parts}
        for path in folder.glob("*.keys"):
            if path.name not in stays:
                path.unlink(missing_ok=True)


def _mapped(path: Path) -> bytes | mmap.mmap:
    """The bytes of a file, as far as they are looked at; none where there is none."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # it is empty
        return b""


def index_is_whole(data: bytes | mmap.mmap) -> bool:
    """Whether the bytes of an index are those that were written."""
    head, body = data[:_INDEX_HEAD], memoryview(data)[_INDEX_HEAD:]
    return len(body) % _WIDTH == 0 and head == _INDEX_MARK + xxh3_64_digest(body)


def read_part(path: Path, part: Part, table: Table[Any]) -> pa.Table:
    """A part, every bit as it was written.  Raises ``Damaged``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise Damaged(_damage(path, "it is not what was written"))
        found = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(_damage(path, str(error))) from error
    if not found.schema.equals(schema(table)):
        raise Damaged(
            _damage(path, f"it does not follow version {CONTRACT_VERSION} of the contract")
        )
    return found


def salvage(folder: Path, table: Table[Row], source: str) -> list[Row]:
    """The rows in the files of a folder that are as they were written, as their names tell.

    Files by earlier versions of the contract are read too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            data = path.read_bytes()
            file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
            found = file.read(use_threads=False)
        except (pa.ArrowException, OSError):
            continue
        digest = path.stem.rpartition("-")[2]
        named = path.name.startswith("part-")
        if named and not hashlib.sha256(data).hexdigest().startswith(digest):
            continue
        if (upgraded := _upgraded(found, table)) is not None:
            rows += made(upgraded, table, source)
    return rows


def _upgraded(found: pa.Table, table: Table[Any]) -> pa.Table | None:
    """A table by an earlier version of the contract as today's has it; ``None`` where that cannot be.

    Columns that came later are null, or what their ``default`` says of rows from before.
    """
    import pyarrow as pa

    columns: list[Any] = []
    for column, field in zip(table.columns, schema(table), strict=True):
        if column.name in found.schema.names:
            columns.append(found[column.name])
        elif column.default is not None:
            columns.append([column.default(row) for row in found.to_pylist()])
        elif column.nullable:
            columns.append(pa.nulls(found.num_rows, field.type))
        else:
            return None
    try:
        return pa.table(columns, names=schema(table).names).cast(schema(table))
    except pa.ArrowException:
        return None


def _damage(path: Path, reason: str) -> str:
    source = path.parent.name.partition("=")[2]
    return f"{path}: {reason}; `harvester check --repair {source}` rebuilds it from the archive"


def _ranges(starts: Array, ends: Array) -> Array:
    """All numbers from each start to its end."""
    import numpy as np

    counts = ends - starts
    numbers: Array = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    numbers += np.arange(numbers.size)
    return numbers


def made(found: pa.Table, table: Table[Row], source: str) -> Iterator[Row]:
    """The rows of an Arrow table."""
    columns = {c.name: values_of(c.type, found.column(c.name)) for c in table.columns}
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield table.make(source=source, **dict(zip(names, values, strict=True)))


def schema(table: Table[Any]) -> pa.Schema:
    """The one schema of all files of a table."""
    import pyarrow as pa

    fields = [pa.field(c.name, type_of(c.type), nullable=c.nullable) for c in table.columns]
    return pa.schema(fields, metadata={"harvester.contract": CONTRACT_VERSION})
