"""Read a listing: page in, entries and the next page's address out.  The public door of the package.

    page --text--> tree --pattern--> records --fields--> entries --dates, as columns--> Listing

Without a pattern, one is learned from the page first; learning and reading stay separate steps, and
the pattern that was used is part of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from selectolax.lexbor import LexborHTMLParser

from harvester.page import Page
from harvester.parsers.dates import read_column
from harvester.parsers.fields import ReadDates, read_entries
from harvester.parsers.induction import Evidence, learn
from harvester.parsers.pagination import find_next
from harvester.parsers.pattern import ListingPattern
from harvester.parsers.records import Record, find_records
from harvester.parsers.tree import Unreadable, absolute, base_url, parse
from pipelines.entry import Entry

if TYPE_CHECKING:
    from bs4 import Tag

LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")

ReadRecord = Callable[["Tag"], Entry | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a listing page shows.

    ``entries`` stand in page order, copies included.  ``next_url`` is absolute, ``None`` on the last
    page.  ``language`` is what the page says of itself (BCP 47).  ``pattern`` is the one that was
    used; ``None`` with no entries means that the page is no listing.  ``evidence`` says why, in words.
    """

    entries: tuple[Entry, ...] = ()
    next_url: str | None = None
    language: str | None = None
    pattern: ListingPattern | None = None
    evidence: Evidence = field(default_factory=partial(Evidence, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: ``{"entries": [{"title", "url", "date", "teaser", "kind"}], "next_url"}``.

        ``date`` is an ISO day, or ``None`` where the page prints less than a day.
        """
        entries = [
            {
                "title": entry.title,
                "url": entry.url,
                "date": entry.day.isoformat() if entry.day else None,
                "teaser": entry.teaser,
                "kind": entry.kind,
            }
            for entry in self.entries
        ]
        return {"entries": entries, "next_url": self.next_url}


def read_listing(
    html: bytes | str,
    url: str,
    pattern: ListingPattern | None = None,
    *,
    language: str | None = None,
    timezone: str | None = None,
    fetched_at: datetime | None = None,
    hint: Mapping[str, Any] | None = None,
) -> Listing:
    """Read one listing page.  Pure: the same arguments give the same answer.

    ``html`` is the page, as bytes (the encoding is found) or text.  ``url`` is its address, which
    relative links need.  ``pattern`` names its records and fields; without one it is learned.
    ``hint`` are fields of a pattern that learning has to keep, ``{"title": "h3 a"}``.
    ``language`` (BCP 47) is how dates are written, by default as the page declares.  Relative dates
    ("3 hours ago") are read only with ``fetched_at`` (aware), as the local time in ``timezone``.

    Never raises for what a page holds; a page that is no listing gives no entries.
    """
    body = html.encode("utf-8", "replace") if isinstance(html, str) else html
    labels = {"content-type": "text/html; charset=utf-8"} if isinstance(html, str) else {}
    page = Page(url, body, headers=labels, fetched_at=fetched_at)
    return read(page, pattern, language=language, timezone=timezone, hint=hint)


def read(
    page: Page,
    pattern: ListingPattern | None = None,
    *,
    language: str | None = None,
    timezone: str | None = None,
    read_record: ReadRecord | None = None,
    hint: Mapping[str, Any] | None = None,
    examples: Sequence[Entry] = (),
) -> Listing:
    """Read a fetched page; see ``read_listing``.

    ``examples`` are entries that the listing is known to show; where a pattern is learned, it is one
    that finds these.

    ``read_record`` replaces the reading of single records: it gets each as a BeautifulSoup tag and
    returns an entry (its address may be relative, its date may be left as text in ``published_raw``)
    or ``None`` to leave the record out.
    """
    try:
        tree = parse(page.utf8)
    except Unreadable as error:
        return Listing(evidence=Evidence(1.0, (str(error),)))
    base = base_url(tree, page.url)
    declared = _declared_language(tree)
    evidence = Evidence(1.0, ("the pattern was given",))
    if pattern is None:
        learned = learn(tree, language or declared, hint, page.url, examples)
        pattern, evidence = learned.pattern, learned.evidence
        if pattern is None:
            return Listing(language=declared, evidence=evidence)
    read_dates = partial(
        read_column,
        language=language or declared,
        date_format=pattern.date_format,
        clock=_clock(page, timezone),
    )
    records = find_records(tree, pattern)
    if not records:
        evidence = Evidence(
            evidence.confidence, (*evidence.reasons, f"no record matches {pattern.record!r}")
        )
    if read_record is None:
        entries = read_entries(tree, records, pattern, base, read_dates)
    else:
        entries = _read_by_hand(records, read_record, base, read_dates)
    return Listing(
        entries=tuple(entries),
        next_url=find_next(tree, pattern.next_page, page.url, base),
        language=declared,
        pattern=pattern,
        evidence=evidence,
    )


def _read_by_hand(
    records: Sequence[Record], read_record: ReadRecord, base: str, read_dates: ReadDates
) -> list[Entry]:
    from bs4 import BeautifulSoup, Tag

    tags = (BeautifulSoup(_html(record), "html.parser").find(True) for record in records)
    read = (read_record(tag) for tag in tags if isinstance(tag, Tag))
    entries = [replace(e, url=absolute(e.url, base)) for e in read if e is not None]
    readings = read_dates([e.published_raw if e.published is None else None for e in entries])
    return [
        entry
        if reading.value is None
        else replace(
            entry,
            published=reading.value,
            published_precision=reading.precision,
            published_relative=reading.relative,
        )
        for entry, reading in zip(entries, readings, strict=True)
    ]


def _html(record: Record) -> str:
    html = "".join(node.html or "" for node in record.nodes)
    return html if len(record.nodes) == 1 else f"<div>{html}</div>"


def _declared_language(tree: LexborHTMLParser) -> str | None:
    root = tree.root
    declared = (root.attributes.get("lang") or "").strip() if root else ""
    declared = declared.replace("_", "-")
    return declared if LANGUAGE.fullmatch(declared) else None


def _clock(page: Page, timezone: str | None) -> datetime | None:
    if page.fetched_at is None:
        return None
    local = page.fetched_at.astimezone(ZoneInfo(timezone or "UTC"))
    return local.replace(tzinfo=None)


def addresses(page: Page) -> frozenset[str]:
    """All that a page leads to, as absolute addresses."""
    try:
        tree = parse(page.utf8)
    except Unreadable:
        return frozenset()
    base = base_url(tree, page.url)
    found = (absolute(link.attributes.get("href"), base) for link in tree.css("a[href]"))
    return frozenset(filter(None, found))
