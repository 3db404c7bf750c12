"""Whether to follow a listing to its next page.  Pure: what was seen goes in, a decision comes out.

Page numbers mean nothing here, because listings shift while they are read: a page is known again by
what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pipelines.entry import Entry
from pipelines.identity import host_of, is_tracking
from pipelines.run import Scope

# No listing that people write goes on for longer; a calendar or a trap does.
MOST_PAGES: Final = 1_000
_BLOCK: Final = 5  # known entries in a row, at the end of a page, after which all is known
_WITHOUT_NEWS: Final = 2  # pages in a row that show nothing that earlier pages did not
_PAST_WINDOW: Final = 3  # pages in a row before the window, where dates have no order
_IN_ORDER: Final = 0.9  # of neighbouring dates, at least, in a listing that goes back in time
_AHEAD: Final = timedelta(days=31)  # what a listing announces; a calendar goes on for ever

Mark = tuple[str | None, str | None, str | None]


class StopReason(StrEnum):
    """Why a listing was not followed further."""

    LAST_PAGE = "there is no next page"
    KNOWN = "what follows is stored already"
    REPEATED = "the page shows nothing that an earlier page did not"
    CYCLE = "the next page was read already"
    MAX_PAGES = "as many pages as were asked for"
    CAP = "no listing is as long as this"
    WINDOW = "the page is older than the window"
    ELSEWHERE = "the next page is on another host"
    OTHER_LISTING = "the next page is one of another listing"
    CALENDAR = "all entries lie far in the future"
    CHANGED = "the page is not what it was"
    NO_ENTRIES = "no entries were found on the page"
    FAILED = "a page could not be had or read"
    INTERRUPTED = "the run was interrupted"

    @property
    def whole(self) -> bool:
        """Whether the listing was read to its end, or to where an earlier run had read it whole."""
        return self in _WHOLE


_WHOLE: Final = frozenset(
    (StopReason.LAST_PAGE, StopReason.KNOWN, StopReason.REPEATED, StopReason.CYCLE, StopReason.CAP)
)
_NUMBER: Final = re.compile(r"[\d,.:-]*")
# The end of a path that names a page: /2, /page-2, /p2.html; /page before it.
_PAGE_SEGMENT: Final = re.compile(r"(?:[a-z]{1,10}[-_]?)?\d{1,3}(?:\.\w{1,5})?")
_WORD_SEGMENT: Final = re.compile(r"[a-z]{1,10}")


@dataclass(frozen=True, slots=True)
class Follow:
    """Go on to this address."""

    url: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Go no further."""

    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A page that was read: its address, the digest of its body, its entries, the next page.

    ``known_tail`` counts the entries at its end that are stored already, unchanged, where an earlier
    run had read on from there.
    """

    url: str
    digest: bytes
    entries: Sequence[Entry]
    next_url: str | None
    fetched_on: date | None = None
    known_tail: int = 0


@dataclass(slots=True)
class Chain:
    """The pages that were read from one start address, so far."""

    start_url: str
    pages: int = 0
    urls: set[str] = field(default_factory=set)
    marks: set[Mark] = field(default_factory=set)
    digests: set[bytes] = field(default_factory=set)
    last_day: datetime | None = None
    pairs: int = 0
    pairs_in_order: int = 0
    without_news: int = 0
    past_window: int = 0

    @property
    def is_ordered(self) -> bool:
        """Whether dates go back in time, a few pinned entries aside."""
        return self.pairs >= _BLOCK and self.pairs_in_order >= _IN_ORDER * self.pairs

    def saw(self, page: Seen, scope: Scope) -> None:
        """Remember a page that was read, and how many like it came in a row."""
        marks = set(map(_mark, page.entries))
        if page.digest in self.digests:
            self.without_news = _WITHOUT_NEWS
        elif self.pages and marks <= self.marks:
            self.without_news += 1
        else:
            self.without_news = 0
        self.past_window = self.past_window + 1 if _is_past(page.entries, scope) else 0
        for day in filter(None, (entry.published for entry in page.entries)):
            if self.last_day is not None:
                self.pairs += 1
                self.pairs_in_order += self.last_day >= day
            self.last_day = day
        self.pages += 1
        self.urls.add(page.url)
        self.digests.add(page.digest)
        self.marks |= marks


def same_listing(url: str, start_url: str) -> bool:
    """Whether an address is the listing at ``start_url``, or a page of it, as far as it shows.

    Same host (but for ``www``) and path, same words in the query; numbers say which page it is.
    """
    if host_of(url) != host_of(start_url):  # nor is an address that cannot be parsed
        return False
    one, other = urlsplit(url), urlsplit(start_url)
    if _words(one.query) != _words(other.query):
        return False
    path, start = _segments(one.path), _segments(other.path)
    pages, starts = _listings(path), _listings(start)
    return (
        path == start
        or start in pages
        or path in starts
        or bool(pages and path[:-1] == start[:-1] and starts)
    )


def _words(query: str) -> frozenset[tuple[str, str]]:
    return frozenset(pair for pair in parse_qsl(query) if not _NUMBER.fullmatch(pair[1]))


def _segments(path: str) -> list[str]:
    return [segment for segment in path.lower().split("/") if segment]


def _listings(path: list[str]) -> list[list[str]]:
    """The paths that a path may be a page of."""
    if not path or not _PAGE_SEGMENT.fullmatch(path[-1]):
        return []
    worded = len(path) > 1 and _WORD_SEGMENT.fullmatch(path[-2])
    return [path[:-1], path[:-2]] if worded else [path[:-1]]


def decide(page: Seen, chain: Chain, scope: Scope, hosts: frozenset[str]) -> Follow | Stop:
    """What to do after a page, which ``chain`` saw last.  ``hosts`` are the source's own."""
    if not page.entries:
        return Stop(StopReason.NO_ENTRIES)
    if chain.without_news >= _WITHOUT_NEWS:
        return Stop(StopReason.REPEATED)
    if not scope.full and page.known_tail >= _block(page, chain):
        return Stop(StopReason.KNOWN)
    if page.next_url is None:
        return Stop(StopReason.LAST_PAGE)
    if page.next_url in chain.urls:
        return Stop(StopReason.CYCLE)
    if scope.max_pages and chain.pages >= scope.max_pages:
        return Stop(StopReason.MAX_PAGES)
    if chain.pages >= MOST_PAGES:
        return Stop(StopReason.CAP)
    if chain.past_window >= (1 if chain.is_ordered else _PAST_WINDOW):
        return Stop(StopReason.WINDOW)
    if _is_calendar(page):
        return Stop(StopReason.CALENDAR)
    if host_of(page.next_url) not in hosts | {host_of(page.url)}:
        return Stop(StopReason.ELSEWHERE)
    if _leaves(page.next_url, chain.start_url):
        return Stop(StopReason.OTHER_LISTING)
    return Follow(page.next_url)


def _block(page: Seen, chain: Chain) -> int:
    """How many known entries at the end of a page say that all after it are known.

    Only where the dates go back in time: a new entry may stand anywhere in a listing without order.
    """
    whole = len(page.entries)
    return min(whole, max(_BLOCK, whole // 2)) if chain.is_ordered else whole


def _is_past(entries: Sequence[Entry], scope: Scope) -> bool:
    """Whether every dated entry lies before the window: one pinned old entry proves nothing."""
    since = Scope(since=scope.since)
    dated = [entry for entry in entries if entry.published]
    return bool(scope.since and dated) and not any(since.covers(entry) for entry in dated)


def _is_calendar(page: Seen) -> bool:
    """Whether all that a page lists is announced for a far day."""
    days = [entry.published.date() for entry in page.entries if entry.published]
    if not days or page.fetched_on is None:
        return False
    return min(days) > page.fetched_on + _AHEAD


def _leaves(next_url: str, start_url: str) -> bool:
    """Whether a pager gives up a word of the query that was asked for: another country, another tag."""
    kept = dict(parse_qsl(urlsplit(next_url).query))
    return any(
        kept.get(name) != value and not is_tracking(name)
        for name, value in _words(urlsplit(start_url).query)
    )


def _mark(entry: Entry) -> Mark:
    return (entry.title, entry.url, None if entry.title or entry.url else entry.teaser)
