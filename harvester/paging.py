"""Whether to follow a listing to its next page.  Pure: what was seen goes in, a decision comes out.

Page numbers mean nothing here, because listings shift while they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipelines.entry import Entry
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
