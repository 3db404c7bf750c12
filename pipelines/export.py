"""The data set in other forms, for those who do not read Parquet."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pipelines.dataset import TABLES, Dataset
from pipelines.entry import PARTITION, Record
from pipelines.feed import as_atom
from pipelines.table import DatasetError

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NAMES: Final = tuple(field.name for field in fields(Record))


def as_csv(rows: Iterable[Record]) -> Iterator[str]:
    """Lines of CSV, the head first: RFC 4180, addresses of one entry separated by blanks.

    A text that a spreadsheet would run as a formula is preceded by an apostrophe.
    """
    yield _line(_NAMES)
    for row in rows:
        yield _line(_cell(getattr(row, name)) for name in _NAMES)


def as_jsonl(rows: Iterable[Record]) -> Iterator[str]:
    """One JSON object a line; what is unknown is null, moments are ISO 8601."""
    for row in rows:
        values = {name: _plain(getattr(row, name)) for name in _NAMES}
        yield json.dumps(values, ensure_ascii=False) + "\n"


def as_feed(dataset: Dataset, source: str) -> str:
    """The Atom feed of one source."""
    edited = {v.entry_id: v.since for v in dataset.versions(source) if v.revision > 1}
    return as_atom(source, dataset.records(source), edited)


def write_duckdb(dataset: Dataset, sources: Sequence[str], file: Path) -> None:
    """A DuckDB database with all tables.  Raises ``DatasetError`` where DuckDB is not installed."""
    try:
        import duckdb
    except ImportError:
        reason = "DuckDB is not installed; pip install 'harvester[duckdb]'"
        raise DatasetError(reason) from None
    with new_file(file) as draft, duckdb.connect(draft) as database:
        for table in TABLES:
            parts = ((s, part) for s in sources for part in dataset.stored(table, s).parts_read())
            for n, (source, part) in enumerate(parts):
                database.register("part", part)
                query = f"SELECT *, ?::VARCHAR AS {PARTITION.name} FROM part"  # noqa: S608
                into = f"INSERT INTO {table.name}" if n else f"CREATE TABLE {table.name} AS"
                database.execute(f"{into} {query}", [source])


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A place to write what becomes ``file`` when all is written.

    Raises ``FileExistsError``: nothing is overwritten.
    """
    if file.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
    draft = file.with_name(f".{file.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, str):
        return f"'{plain}" if plain.startswith(_FORMULA) else plain
    if isinstance(plain, tuple):
        return " ".join(plain)
    return "" if plain is None else json.dumps(plain)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
