"""Whether to follow a listing to its next page.  Pure: what was seen goes in, a decision comes out.

Page numbers mean nothing here, because listings shift while they are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pipelines.entry import Entry
from pipelines.identity import host_of
from pipelines.run import Scope

# No listing that people write goes on for longer; a calendar or a trap does.
MOST_PAGES = 1_000

Mark = tuple[str | None, str | None, str | None]


class StopReason(StrEnum):
    """Why a listing was not followed further."""

    LAST_PAGE = "there is no next page"
    KNOWN = "everything on the page is stored already"
    REPEATED = "the page shows nothing that an earlier page did not"
    MAX_PAGES = "as many pages as were asked for"
    WINDOW = "the page is older than the window"
    ELSEWHERE = "the next page is on another host"
    NO_ENTRIES = "no entries were found on the page"
    FAILED = "a page could not be had or read"
    INTERRUPTED = "the run was interrupted"

    @property
    def whole(self) -> bool:
        """Whether the listing was read to its end, or to where an earlier run had read it whole."""
        return self in (StopReason.LAST_PAGE, StopReason.KNOWN, StopReason.REPEATED)


# The end of a path that names a page: /2, /page-2, /p2.html; /page before it.
_PAGE_SEGMENT: Final = re.compile(r"(?:[a-z]{1,10}[-_]?)?\d{1,3}(?:\.\w{1,5})?")
_WORD_SEGMENT: Final = re.compile(r"[a-z]{1,10}")
_NUMBER: Final = re.compile(r"[\d,.:-]*")


@dataclass(frozen=True, slots=True)
class Follow:
    """Go on to this address."""

    url: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Go no further."""

    reason: StopReason


@dataclass(slots=True)
class Chain:
    """The pages that were read from one start address, so far."""

    start_url: str
    pages: int = 0
    urls: set[str] = field(default_factory=set)
    marks: set[Mark] = field(default_factory=set)

    def saw(self, url: str, entries: Sequence[Entry]) -> None:
        """Remember a page that was read."""
        self.pages += 1
        self.urls.add(url)
        self.marks.update(map(_mark, entries))


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


def decide(
    entries: Sequence[Entry],
    next_url: str | None,
    chain: Chain,
    scope: Scope,
    *,
    all_known: bool,
    same_site: bool,
) -> Follow | Stop:
    """What to do after a page that shows ``entries`` and links to ``next_url``.

    ``chain`` holds the pages before this one.  ``all_known``: this page adds nothing to the data set,
    and an earlier run read on from here.  ``same_site``: the next page is on a host of the source.
    """
    if not entries:
        return Stop(StopReason.NO_ENTRIES)
    if chain.pages and chain.marks.issuperset(map(_mark, entries)):
        return Stop(StopReason.REPEATED)
    if all_known and not scope.full:
        return Stop(StopReason.KNOWN)
    if next_url is None:
        return Stop(StopReason.LAST_PAGE)
    if next_url in chain.urls:
        return Stop(StopReason.REPEATED)
    if chain.pages + 1 >= (scope.max_pages or MOST_PAGES):
        return Stop(StopReason.MAX_PAGES)
    if scope.since and _is_past(entries, scope):
        return Stop(StopReason.WINDOW)
    if not same_site:
        return Stop(StopReason.ELSEWHERE)
    return Follow(next_url)


def _is_past(entries: Sequence[Entry], scope: Scope) -> bool:
    """Whether every dated entry lies before the window: one pinned old entry proves nothing."""
    since = Scope(since=scope.since)
    dated = [entry for entry in entries if entry.published]
    return bool(dated) and not any(since.covers(entry) for entry in dated)


def _mark(entry: Entry) -> Mark:
    return (entry.title, entry.url, None if entry.title or entry.url else entry.teaser)
