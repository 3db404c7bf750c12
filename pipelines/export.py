"""The ``entries`` table in other forms, for those who do not read Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from pipelines.entry import Record

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
