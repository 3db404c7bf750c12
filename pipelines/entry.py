"""The words of this house: an entry as a listing prints it, as it is stored, and why one is refused.

Everything that travels between rooms is one of these frozen values.  They hold no behaviour beyond
their own shape, and the table's columns are declared here once, for the writer, the reader and the
data dictionary alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, Literal

ColumnType = Literal["string", "strings", "wall_clock", "instant", "integer", "boolean"]
Precision = Literal["year", "month", "day", "minute", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record of a listing, as printed there.  What the page does not say is ``None``.

    ``published`` is the wall-clock time at the source, without a zone; ``published_precision`` says
    how much of it was printed, and ``published_raw`` is the text it was read from, kept also where
    it could not be read.  ``published_relative`` marks "3 hours ago" and the like, which depend on
    the moment of reading.
    """

    title: str | None = None
    url: str | None = None
    published: datetime | None = None
    published_precision: Precision | None = None
    published_raw: str | None = None
    published_relative: bool = False
    teaser: str | None = None
    teaser_truncated: bool = False
    kind: str | None = None

    @property
    def day(self) -> date | None:
        """The calendar day, or ``None`` where the page prints less than a day."""
        if self.published is None or self.published_precision in ("year", "month"):
            return None
        return self.published.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting(Entry):
    """An entry, and where and when it was seen: one record of one fetch of one page.

    ``fetched_at`` carries UTC.  ``position`` counts from 0 in page order.  ``warc_file`` is relative
    to the output folder, and with ``warc_record_id`` names the bytes that prove the entry;
    ``published_record_id`` names those that prove its date, where the listing does not print it.
    """

    source: str
    language: str | None
    page_url: str
    position: int
    fetched_at: datetime
    run_id: str
    warc_file: str
    warc_record_id: str
    published_record_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleDate:
    """When an entry was published, as its own page says; ``url`` is the entry's canonical address."""

    url: str
    published: datetime
    published_precision: Precision
    published_raw: str
    warc_record_id: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The sightings of one page, as one item: Scrapy's price is per item."""

    sightings: tuple[Sighting, ...]


class Reason(StrEnum):
    """Why an entry was refused."""

    EMPTY = "neither title nor teaser nor address"
    NO_IDENTITY = "nothing tells it from other entries: no title, no teaser, a shared address"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sighting that does not become a row; both the reason and what was seen are kept."""

    sighting: Sighting
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the data set.  The meaning of each field stands in ``COLUMNS``."""

    entry_id: str
    source: str
    kind: str | None
    title: str | None
    url: str | None
    urls: tuple[str, ...]
    published: datetime | None
    published_precision: Precision | None
    published_raw: str | None
    published_record_id: str | None
    teaser: str | None
    teaser_truncated: bool
    language: str | None
    story_id: str
    repeats: int
    revision: int
    first_seen: datetime
    last_seen: datetime
    missing_since: datetime | None
    page_url: str
    position: int
    warc_file: str
    warc_record_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What an entry said for some time.  The meaning of each field stands in ``VERSION_COLUMNS``."""

    entry_id: str
    source: str
    revision: int
    kind: str | None
    title: str | None
    published: datetime | None
    published_precision: Precision | None
    published_raw: str | None
    teaser: str | None
    teaser_truncated: bool
    since: datetime
    until: datetime | None
    warc_file: str
    warc_record_id: str
    run_id: str


def row_order(row: Record) -> tuple[datetime, str, int, str]:
    """The order of rows in a table: as they were first seen."""
    return (row.first_seen, row.page_url, row.position, row.entry_id)


def version_order(version: Version) -> tuple[str, int]:
    """The order of versions: those of an entry follow each other."""
    return (version.entry_id, version.revision)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; ``type`` is one of the six shapes that tables know.

    ``default`` is what rows have that were written before there was the column.
    """

    name: str
    type: ColumnType
    nullable: bool
    meaning: str
    default: Callable[[Mapping[str, Any]], Any] | None = None


PARTITION: Final = Column("source", "string", False, "the spider's name; the folder `source=NAME`")

COLUMNS: Final = (
    Column("entry_id", "string", False, "stable for ever: survives edits, new slugs, new hosts"),
    Column("kind", "string", True, "the label as printed: Press Release"),
    Column("title", "string", True, "NFC, white space folded"),
    Column("url", "string", True, "canonical address"),
    Column(
        "urls",
        "strings",
        False,
        "every address the entry was seen under",
        lambda row: [row["url"]] if row["url"] else [],
    ),
    Column("published", "wall_clock", True, "wall-clock date or time as printed at the source"),
    Column("published_precision", "string", True, "year, month, day, minute or second"),
    Column("published_raw", "string", True, "the date exactly as printed"),
    Column(
        "published_record_id",
        "string",
        True,
        "the archive record of the entry's own page, where that gave the date; null: the listing did",
    ),
    Column("teaser", "string", True, "without its cut mark"),
    Column("teaser_truncated", "boolean", False, "the source cut the teaser", lambda row: False),
    Column("language", "string", True, "BCP 47 tag of the listing"),
    Column(
        "story_id",
        "string",
        False,
        "the entry that told the story first, across sources too",
        lambda row: row["entry_id"],
    ),
    Column("repeats", "integer", False, "most copies of it on one listing page", lambda row: 1),
    Column("revision", "integer", False, "1 for an entry never edited", lambda row: 1),
    Column("first_seen", "instant", False, "when a fetched page first showed it"),
    Column("last_seen", "instant", False, "when a fetched page last showed it"),
    Column("missing_since", "instant", True, "gone from a listing that still shows older entries"),
    Column("page_url", "string", False, "the page where it was first seen"),
    Column("position", "integer", False, "its place on that page, from 0"),
    Column("warc_file", "string", False, "the archive file that proves it, relative to the output"),
    Column("warc_record_id", "string", False, "the record in that file that proves it"),
    Column("run_id", "string", False, "the last run that saw it"),
)

VERSION_COLUMNS: Final = (
    Column("entry_id", "string", False, "the entry; with `revision` it names one version"),
    Column("revision", "integer", False, "counts the versions of an entry from 1"),
    Column("kind", "string", True, "the label as printed then"),
    Column("title", "string", True, "the title as printed then"),
    Column("published", "wall_clock", True, "the date as printed then"),
    Column("published_precision", "string", True, "year, month, day, minute or second"),
    Column("published_raw", "string", True, "the date exactly as printed then"),
    Column("teaser", "string", True, "the teaser as printed then, without its cut mark"),
    Column("teaser_truncated", "boolean", False, "the source cut the teaser", lambda row: False),
    Column("since", "instant", False, "when a fetched page first showed this version"),
    Column("until", "instant", True, "when the next version was first seen; null for the latest"),
    Column("warc_file", "string", False, "the archive file that proves it, relative to the output"),
    Column("warc_record_id", "string", False, "the record in that file that proves it"),
    Column("run_id", "string", False, "the first run that saw this version"),
)
