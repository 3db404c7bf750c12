"""The tables on disk: Parquet files that every reader loads without a further word.

The only user of pandas and pyarrow, both loaded when first needed.  Every file has the one schema
made from ``entry.COLUMNS``: readers take a missing or all-null column of another type for an error,
or drop it silently.  Staging, locks and ledgers lie beside the table folders, never inside, because
readers also choke on foreign files.

    output/
      entries/source=<name>/entries.parquet     one row per distinct entry
      runs/<run>.json                           one ledger per run
      archive/<source>/<run>.warc.gz            every answer as it came (written by harvester)
      .lock/<source>  .staging/
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

from pipelines.entry import COLUMNS, PARTITION, Record, row_order
from pipelines.run import SOURCE_NAME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

CONTRACT_VERSION: Final = "1"


class DatasetError(Exception):
    """The data set cannot be used as it is; the message names the file and what to do."""


class Locked(DatasetError):
    """Another process is working on this source."""


class Damaged(DatasetError):
    """A file of the data set cannot be read."""


class CannotCreate(DatasetError):
    """The output folder cannot be written."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data set in one output folder."""

    root: Path

    def entries_file(self, source: str) -> Path:
        """Where the rows of one source lie."""
        return self._inside("entries", f"{PARTITION.name}={_checked(source)}", "entries.parquet")

    def ledger_file(self, run_id: str) -> Path:
        """Where the ledger of a run lies."""
        return self._inside("runs", f"{run_id}.json")

    def archive_folder(self, source: str) -> Path:
        """Where the archive of one source lies."""
        return self._inside("archive", _checked(source))

    def _inside(self, *names: str) -> Path:
        return self.root.joinpath(*names)

    @contextmanager
    def lock(self, source: str) -> Iterator[None]:
        """Hold the source, and be sure that its output can be written, or raise at once.

        The lock is the kernel's: it goes with its process, however that ends.
        """
        try:
            folder = self._inside(".lock")
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / _checked(source), timeout=0)
            lock.acquire()
        except Timeout:
            raise Locked(f"{source}: another process is working on it in {self.root}") from None
        except OSError as error:
            raise CannotCreate(f"cannot write to {self.root}: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    def sources(self) -> list[str]:
        """The sources that have rows."""
        prefix = f"{PARTITION.name}="
        folders = sorted(self._inside("entries").glob(prefix + "*"))
        return [folder.name.removeprefix(prefix) for folder in folders]

    def records(self, source: str) -> list[Record]:
        """All rows of one source; none when it has no file yet.  Raises ``Damaged``."""
        path = self.entries_file(source)
        if not path.exists():
            return []
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path, page_checksum_verification=True).read()
        except (pa.ArrowException, OSError) as error:
            raise Damaged(
                f"{path}: {error}; move it away and run `harvester replay {source}`"
            ) from error
        if table.schema.names != list(_names()):
            raise Damaged(
                f"{path}: not written by contract version {CONTRACT_VERSION}; "
                f"move it away and run `harvester replay {source}`"
            )
        columns: dict[str, list[Any]] = {n: table.column(n).to_pylist() for n in table.schema.names}
        columns["urls"] = [tuple(urls) for urls in columns["urls"]]
        names = list(columns)
        return [
            Record(source=source, **dict(zip(names, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]

    def commit(self, source: str, records: Iterable[Record]) -> Path:
        """Put these rows in the place of the source's rows, all or nothing.

        Rows stand in the order of their first sighting, so equal rows make equal files.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = sorted(records, key=row_order)
        names = tuple(_names())
        columns = zip(*map(attrgetter(*names), rows), strict=True) if rows else [()] * len(names)
        table = pa.table(dict(zip(names, columns, strict=True)), schema=_schema())
        path = self.entries_file(source)
        with self.replacing(path) as staged:
            pq.write_table(table, staged, compression="zstd", write_page_checksum=True)
        return path

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """A staging file that takes the place of ``path``, durably, when the block ends well."""
        staging = self._inside(".staging")
        staging.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=staging, suffix=path.suffix)
        os.close(handle)
        staged = Path(name)
        try:
            yield staged
            staged.chmod(0o644)
            _sync(staged)
            staged.replace(path)
            _sync(path.parent)
        except OSError as error:
            number = error.errno or errno.EIO
            raise OSError(number, os.strerror(number), str(path)) from error
        finally:
            staged.unlink(missing_ok=True)

    def read(self) -> pd.DataFrame:
        """The whole ``entries`` table as a pandas frame, ``source`` a column like the others."""
        import pandas as pd

        folder = self._inside("entries")
        if not folder.exists():
            raise DatasetError(f"{folder}: no data set here yet; run `harvester crawl` first")
        frame = pd.read_parquet(folder)
        return frame.astype({PARTITION.name: "str"})


def _checked(source: str) -> str:
    """The name, if it is fit to be a folder's: a slug that no reader takes for a number."""
    if not SOURCE_NAME.fullmatch(source):
        raise DatasetError(
            f"{source!r} is no source name: it must begin with a-z and hold only a-z, 0-9, _ and -"
        )
    return source


def _names() -> Iterator[str]:
    return (column.name for column in COLUMNS)


@cache
def _schema() -> pa.Schema:
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "string": pa.string(),
        "strings": pa.list_(pa.field("element", pa.string(), nullable=False)),
        "wall_clock": pa.timestamp("us"),
        "instant": pa.timestamp("us", tz="UTC"),
        "integer": pa.int32(),
        "boolean": pa.bool_(),
    }
    fields = [pa.field(c.name, types[c.type], nullable=c.nullable) for c in COLUMNS]
    metadata: dict[Any, Any] = {"harvester.contract": CONTRACT_VERSION}
    return pa.schema(fields, metadata=metadata)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
